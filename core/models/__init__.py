"""Hugging Face models; knows nothing of pairs.

- `folder`: A model folder: its settings, its weights and, of a low-rank adapter, its base
- `hub`: Published checkpoints and data sets, fetched at a commit
- `devices`: Device, arithmetic and batch size
- `loading`: Models and tokenizers loaded from folders
- `gguf`: GGUF files, dequantised once to a model folder; SmolLM2 from its package
- `residual`: The residual stream, read and written by hooks
- `generation`: Seeded sampling of completions
- `memory`: Peak memory of a model's steps, from its shape
- `classifier`: Label probabilities of a sequence classifier
- `extraction`: Mean residual-stream activations from one packed forward pass
- `api`: OpenAI-compatible endpoints
"""
