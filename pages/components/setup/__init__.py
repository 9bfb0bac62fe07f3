"""Parts of the Set up page.

- `costs`: Estimated time, memory and disk of each step
- `models`: Fields for a path and for the two models, checked as they are typed
"""
