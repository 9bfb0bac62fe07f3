"""Parts of the Results page.

- `charts`: Charts of arms, conditions, sizes, predictions and sources
- `spot_check`: Completions labelled blinded by people, and their agreement with the judge
"""
