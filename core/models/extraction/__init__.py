"""Mean residual-stream activations from one packed forward pass.

- `activations`: Mean residual streams of prompts and completions
- `batch`: One forward pass over prompts and completions packed without padding
- `attention`: A prefix tree of token sequences, and attention over its rows in tiles
- `llama`: Decoder blocks of the Llama family in our own code, faster for small models
"""
