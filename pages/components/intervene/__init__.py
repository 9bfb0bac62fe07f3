"""Parts of the Intervene page.

- `editor`: The edit itself
- `dry_run`: What an edit does before anything is trained
- `steering`: Does the vector move the behavior at all? Steering answers in a minute, before any
- `arms`: The runs of an intervention's arms
"""
