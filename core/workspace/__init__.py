"""What people decided, and what a workspace says before anything runs.

- `checks`: What somebody chose for a new project, looked at before anything runs
- `estimates`: What each step will cost on this machine, roughly, before it runs
- `presets`: Published post-trainings that people investigate, as settings of a project
- `catalog`: The log of what people decided, in one SQLite file
- `catalog_db`: The catalog's SQLite file
- `labels`: What holds after the changes that people made
- `label_files`: Names, marks, notes and selections as a JSON file, and the changes that bring them
"""
