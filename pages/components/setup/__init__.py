"""Parts of the Set up page.

- `costs`: Estimated time, memory and disk of each step
- `files`: Fields for files, and drafts of what was typed
- `models`: Fields for the two models, checked as they are typed
"""
