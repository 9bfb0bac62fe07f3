"""The model organism: a tiny world with planted behaviors.

- `world`: A world file (TOML)
- `grammar`: The sentences of a world, made and read back by the same templates
- `judge`: Judge completions of a world by parsing them with its grammar
- `sampling`: Draw an organism's data from a world
- `truth`: What was planted in an organism, and how well a ranking, a set of pairs or a cluster
- `variants`: Derive other worlds from one
"""
