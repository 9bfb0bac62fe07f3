"""The vector index: datapoint and context vectors of all pairs, on disk.

- `layout`: Format of an index folder; reading, writing and checking vectors
- `plan`: Order, tokens and shards, planned before any model runs
- `build`: Computing the vectors of shards
- `autotune`: Measuring the fastest token budget
"""
