"""Parts of the Results page.

- `charts`: Charts of arms, conditions, sizes, predictions and sources
- `training_curves`: Training curves of every arm, live
- `spot_check`: Completions labelled blinded by people, and their agreement with the judge
"""
