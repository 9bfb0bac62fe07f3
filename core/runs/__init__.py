"""Content-addressed runs and the processes that make them.

- `store`: Runs on disk
- `jobs`: Start and stop steps as processes of their own, which outlive browser and server
- `forecast`: How long runs will take, from how long such runs took in this workspace
- `execute`: Run one spec in this process
- `progress`: What a running step tells the outside
- `workers`: Where independent tasks are computed
- `subprocess_call`: Blocking calls in a process of their own, while this one tells progress and
- `commands`: A spec as a shell command, and back
- `hashing`: Names for content
"""
