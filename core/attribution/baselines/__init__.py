"""Other ways of ranking pairs, for comparison.

- `registry`: All methods by name, under one call
- `gradient`: Cosine of DPO gradients, and their cache on disk
- `lora`: Low-rank updates at initialisation
- `ekfac`: EK-FAC influence functions
- `lexical`: TF-IDF and BM25
- `llm_rating`: Ratings by an LLM judge
"""
