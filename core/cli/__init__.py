"""The command line, `pairtrace`.

- `main`: The command line
- `terminal`: How a run looks in a terminal
- `runs`: `pairtrace runs …`
- `data`: `pairtrace data …`
- `discover`: `pairtrace discover show`
- `arms`: `pairtrace adopt` and `pairtrace elsewhere`
- `demo`: `pairtrace demo` and `pairtrace intervene`
- `hub`: `pairtrace fetch` and `pairtrace presets`
- `bench`: `pairtrace bench`
"""
