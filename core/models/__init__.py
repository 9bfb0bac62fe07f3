"""Hugging Face models; knows nothing of pairs.

- `folder`: Low-rank adapters as models
- `loading`: Model folders in memory
- `devices`: Where models are computed, and in which arithmetic
- `hub`: Fetch published checkpoints and data sets, at a commit that somebody chose
- `residual`: Read and write the residual stream
- `generation`: Sample completions of many prompts, each drawn from its own seeded stream of random
- `batch_size`: How many tokens go through a model at once
- `classifier`: Probabilities of a sequence classifier's labels, for many texts
- `malloc`: Freed memory stays with the process, in pages of 2 MB, so that the next batch finds it
- `extraction`: Residual-stream activations in one packed forward pass
- `api`: OpenAI-compatible endpoints
"""
