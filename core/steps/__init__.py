"""The steps of an investigation: one `run(spec, store, progress)` each.

- `check`: The check step
- `convert`: The convert step
- `generate`: The generate step
- `index`: Turn preference pairs into vectors on disk
- `rank`: Build a behavior's vector from completions
- `discover`: Map and cluster the behavior–datapoint matrix
- `suggest`: Ask a language model what it would call each cluster of a discover run
- `edit`: The edit step
- `train`: The train step
- `evaluate`: The evaluate step
"""
