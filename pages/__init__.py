"""The browser pages. They look at runs and start jobs; everything that computes is in `core`.

- `overview`: What did preference training change, how far is the investigation, and what comes
- `setup`: A new investigation
- `data`: The preference pairs
- `behaviors`: What do the two models say to the same prompts, and is the difference one direction?
- `rank`: Which preference pairs push the model towards the behavior?
- `map`: What kinds of pairs are there, and which ones act alike?
- `clusters`: Name what was found
- `intervene`: Take pairs out or turn them round, retrain, and see whether the behavior goes away
- `results`: Did retraining on the edited pairs make the behavior go away, and at what price?
- `methods`: Which way of ranking finds the pairs at fault, and what does each cost?
- `performance`: How fast is it, against what, and where do the figures come from?
- `tour`: Find the culprit in ten minutes
- `_shell`: What surrounds every page
- `components`: Parts that pages share, then those of one page, by page
"""
