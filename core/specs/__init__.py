"""Every frozen record of what can be asked for.

- `base`: What every spec is
- `steps`: What a step is asked to do
- `project`: What one investigation is about
- `behaviors`: What is measured, and under which prompts
- `scores`: The scores that a ranking holds, and how they are called in a sentence
- `recipes`: Which pairs an edit touches, said as a filter that can be replayed, never as a list of
- `recipe_text`: Recipes in words
- `events`: Changes of the log that concern edits
"""
