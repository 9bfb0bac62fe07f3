"""Model organisms: a tiny world with planted behaviors, and one in natural English.

- `world`: World files (TOML): schema, checks and reading
- `grammar`: Templates that write a world's sentences and parse them back
- `sampling`: SFT examples, pairs, prompts and ground truth drawn from a world, and its judge
- `natural`: What is asked, taught, rated and paired in natural English
- `variants`: Worlds derived from another by rewording and resizing
"""
