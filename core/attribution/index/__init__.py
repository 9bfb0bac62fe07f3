"""The vector index of all pairs, on disk.

- `layout`: Vectors on disk
- `plan`: What an index will hold, decided before any model runs
- `build`: Compute the vectors of one shard, wherever that happens
- `autotune`: The token budget that is fastest on this device, measured once and kept in the
"""
