"""Residual-stream activations in one packed forward pass.

- `activations`: Mean residual streams of prompts and completions
- `batch`: Many prompts with their completions in one forward pass, without padding and without
- `prefix_tree`: Token sequences laid out so that what several begin with is there once
- `attention`: Which rows of a trie of tokens are attended to together, and which keys they see
- `llama`: The blocks of the Llama kin written out, for batches in which calls and copies are the
"""
