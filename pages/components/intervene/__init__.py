"""Parts of the Intervene page.

- `editor`: The entries of the edit, combined, freed of conflicts, saved and compared
- `dry_run`: Weights, predicted rates, covariate shift and examples of an edit
- `steering`: A preview without training: rates with the vector added or projected out
- `arms`: Cost, progress and cancellation of the arms' runs
"""
