"""Parts of the Set up page.

- `models`: What somebody typed for a new project, looked at as it is typed
- `costs`: What each step of an investigation will cost on this machine, shown before any of it runs
"""
