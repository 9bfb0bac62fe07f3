"""Model organisms: a tiny world with planted behaviors, and one in natural English.

- `world`: World files (TOML): schema, checks and reading
- `grammar`: Templates that write a world's sentences and parse them back
- `sampling`: SFT examples, preference pairs, prompts and ground truth drawn from a world
- `natural`: What is asked, taught, rated and paired in natural English
- `judge`: A judge that parses completions with the world's grammar
- `variants`: Worlds derived from another by rewording and resizing
"""
