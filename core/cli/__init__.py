"""The command line, `pairtrace`.

- `main`: Entry point, and the commands made from the steps' specs
- `terminal`: Shared options, progress bars and tables of a terminal
- `inputs`: `pairtrace data`, `fetch` and `presets`
- `judge`: `pairtrace judge`
- `runs`: `pairtrace runs` and `discover show`
- `arms`: `pairtrace intervene`, `adopt` and `elsewhere`
- `demo`: `pairtrace demo`, `app` and `organism`; starting the browser app
- `bench`: `pairtrace selftest` and `bench`
"""
