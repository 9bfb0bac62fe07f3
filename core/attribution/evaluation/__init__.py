"""How good a ranking is: against known truth, another ranking, or retraining.

- `metrics`: Average precision, precision, recall, enrichment; agreement of two rankings
- `lds`: Linear datamodeling score
- `tail_patch`: One training step on the top pairs
"""
