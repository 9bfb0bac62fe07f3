"""How good a ranking is: against known truth, another ranking, or retraining.

- `metrics`: Average precision, precision, recall, enrichment; agreement of two rankings
- `counterfactual`: Linear datamodeling score; tail-patch, one training step on the top pairs
"""
