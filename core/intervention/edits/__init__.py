"""Edits of preference pairs.

- `select`: The pairs that a recipe selects: a top k, a cluster, inside a drawn region
- `votes`: A judge's votes on pairs, for relabelling
- `checks`: Size, conflicts, overlap and covariate shift of edits
- `apply`: Actions on pairs, and their random control
- `predict`: Predicted behavior rates after an edit, and their agreement with measured ones
"""
