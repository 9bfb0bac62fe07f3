"""Content-addressed runs and the processes that make them.

- `store`: Runs on disk
- `hashing`: Fingerprints of inputs, and checksums of a run's files
- `progress`: Events of a run, and the stop of a running step
- `execute`: Run one spec in this process
- `commands`: A spec as a shell command, and back
- `jobs`: Start and stop runs as background processes
- `workers`: Child processes for blocking calls, and executors for independent tasks
"""
