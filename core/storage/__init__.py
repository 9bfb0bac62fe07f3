"""Files on disk and in object stores; knows no pair and no run.

- `atomic`: atomic file writes, and locks between processes
- `parse`: JSON and TOML from anybody, read within bounds
- `tables`: readers for what steps wrote: tables, records, arrays
- `object_store`: the shard files of an index, in a folder or under a URL
"""
