"""Immutable records of everything that can be asked for.

- `base`: Base classes of the records, and the identity of a run
- `behaviors`: Behaviors, and the scores that order pairs for one
- `recipes`: Which pairs an edit selects, as a filter that can be replayed
- `recipe_text`: Recipes and edits in words
- `steps`: The specs of the steps
- `project`: The project file: one investigation's models, data, behaviors and overrides
- `events`: Events of the catalog
"""
