"""How good a ranking is, where the truth is known.

- `metrics`: How well a ranking finds the pairs at fault, where these are known (organisms only)
- `lds`: Does the sum of scores foretell what training on a subset gives? The linear datamodeling
- `tail_patch`: Tail-patch
- `agreement`: How far two methods agree on the same pairs, without knowing which pairs are at fault
"""
