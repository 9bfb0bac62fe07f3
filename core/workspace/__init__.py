"""What people decided, and what a workspace reports before anything runs.

- `measurable`: What a new project can measure, and what is proposed
- `checks`: Checks of a new project's inputs
- `presets`: Published post-trainings as settings of a project
- `estimates`: Time, memory and disk space of each step
- `recent`: Workspaces that the browser app offers, and drafts of projects
- `labels`: The state of the catalog, replayed from its events
- `catalog`: The log of what people decided, in one SQLite file
- `label_files`: Labels as JSON or Parquet files
"""
