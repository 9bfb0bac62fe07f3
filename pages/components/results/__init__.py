"""Parts of the Results page.

- `charts`: What retraining showed, in charts
- `training_curves`: Training as it happens, every arm, from the trainer's own log
- `spot_check`: Read completions blinded and say what they show
"""
