"""Vectors in, scores out.

- `completions`: Every completion of a generate run, read through the reference
- `vectors`: Behavior and context vectors
- `similarity`: How far each pair pushes towards a behavior
- `validity`: Does a behavior vector mean anything? Each layer's vector against itself and against
- `concentration`: Sparse or diffuse
- `threshold`: Where to cut a ranking, from its scores alone
- `enrichment`: Does a source, or a model that wrote completions, stand out among the selected
- `index`: The vector index of all pairs, on disk
- `baselines`: Other ways of ranking pairs, for comparison
- `evaluation`: How good a ranking is, where the truth is known
"""
