"""What an edit does to the pairs.

- `select`: Which pairs a recipe selects
- `apply`: What an edit does to the pairs, its random control, and its size in numbers
- `conflicts`: Pairs that one edit flips and another one removes, edit by edit, and ways out
- `dose`: The same edit at several sizes
- `covariate_shift`: Do the pairs that an edit touches differ from the rest in length or norm?
- `predict`: What an edit should do to every behavior before anything is trained, and what it then
"""
