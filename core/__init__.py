"""PairTrace's engine. Importing it imports nothing heavy: only the modules that use torch do.

- `errors`: The error that a user can fix
- `stats`: Confidence intervals and exact tests
- `geometry`: Lengths, cosines, principal components, nearest neighbors
- `environment`: The process environment
- `storage`: Bytes on disk
- `data`: Preference pairs, prompts and completions
- `models`: Hugging Face models
- `specs`: Every frozen record of what can be asked for
- `runs`: Content-addressed runs and the processes that make them
- `attribution`: Vectors in, scores out
- `discovery`: Similarity matrix in, clusters out
- `organism`: The model organism
- `intervention`: Edit the pairs, train again, measure again
- `workspace`: What people decided, and what a workspace says before anything runs
- `steps`: The steps of an investigation
- `report`: What leaves PairTrace
- `demo`: The embedded investigation, and how its organism is built
- `cli`: The command line, `pairtrace`
"""
