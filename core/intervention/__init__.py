"""Interventions: edit the pairs, train again, measure again.

- `edits`: Edits of preference pairs
- `training`: DPO training of arms
- `evaluation`: Behavior rates and what they prove
- `arms`: The arms of an intervention
"""
