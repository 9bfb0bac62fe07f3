"""The steps of an investigation: one `run(spec, store, output, progress)` each.

- `shared`: Inputs, sampling and outputs that steps share
- `check`: Quality of the pairs
- `convert`: Pairs of any shape as one canonical Parquet file
- `generate`: Judged completions of reference and policy
- `contrast`: Completions that show a behavior and others that do not
- `index`: The vector index of the pairs
- `rank`: Behavior vectors, and the pairs in the order of their scores
- `explain`: The words that a pair's score comes from
- `discover`: The map and clusters of the prompt × pair matrix
- `suggest`: Cluster names that a language model suggests
- `edit`: The pairs of one arm
- `train`: One DPO training on an arm's pairs
- `evaluate`: Behavior rates of one model, steered or not
"""
