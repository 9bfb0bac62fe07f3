"""Parts of the Set up page.

- `behaviors`: What is measured, and in which direction
- `files`: Fields for files, and drafts of what was typed
- `judge`: The judge: ready flags, a file, or none
- `models`: The two models, checked as they are typed, and what each step will cost
"""
