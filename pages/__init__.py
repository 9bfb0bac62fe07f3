"""The browser pages. They look at runs and start jobs; everything that computes is in `core`.

- `overview`: What changed, how far the investigation is, and what comes next
- `setup`: A new investigation
- `data`: The preference pairs and their quality
- `behaviors`: Completions of both models side by side, and the behavior vector's validity
- `rank`: Pairs ordered by score
- `map`: Pairs and prompts as points, or as a heatmap
- `clusters`: Clusters with words, examples, names, marks and notes
- `intervene`: Edits, their dry run, and training on them
- `results`: Rates after retraining, and what got worse
- `methods`: Quality, cost and speed of the ways of ranking
- `tour`: Guided tour in eight steps
- `_shell`: The shell around every page
- `components`: Parts that pages share, then those of one page, by page
"""
