"""Other ways of ranking pairs, for comparison.

- `registry`: All methods by name, under one call
- `gradient`: Cosine of DPO gradients, of all weights or low-rank updates; their cache on disk
- `ekfac`: EK-FAC influence functions
- `texts`: TF-IDF, BM25, and ratings by a language model
"""
