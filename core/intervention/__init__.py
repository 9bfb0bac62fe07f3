"""Edit the pairs, train again, measure again.

- `edits`: What an edit does to the pairs
- `training`: DPO, next to cached reference log-probabilities
- `evaluation`: Behavior rates and what they prove
- `arms`: The arms of an intervention
"""
