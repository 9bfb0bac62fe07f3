"""Edits of preference pairs.

- `select`: The pairs that a recipe selects: a top k, a cluster, inside a drawn region
- `apply`: Actions on pairs, their random control, and their size in numbers
- `checks`: Conflicts, overlap and covariate shift of edits
- `predict`: Predicted behavior rates after an edit, and their agreement with measured ones
"""
