"""The embedded investigation, and how its organism is built.

- `investigation`: The main job on the embedded organism, as a list of specs
- `organism`: World file → organism folder
- `pretraining`: The reference of an organism
"""
