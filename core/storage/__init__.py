"""Bytes on disk; knows no pair and no run.

- `atomic`: Files that are there whole or not at all, whatever ends the process that writes them
- `parse`: JSON and TOML that anybody may have written, read within bounds
- `arrays`: Arrays on disk that are filled in place, through memory
- `tables`: Read what steps wrote
- `object_store`: The files of an index's shards
"""
