"""Behavior attribution: which preference pairs taught a behavior (vectors in, scores out).

- `completions`: Activations of the completions of a generate run
- `vectors`: Behavior vectors, the prompts that build them, and Fisher's discriminant
- `similarity`: Scores of pairs, by exact scans over the index
- `contributions`: Each token's part of a pair's score, and the words that contribute most
- `validity`: Tests of behavior vectors against chance
- `concentration`: Sparse or diffuse attribution; where to cut a ranking
- `index`: The vector index of all pairs, on disk
- `selftest`: Whether a model gives the vectors it should, on this device
- `baselines`: Other rankings, for comparison
- `evaluation`: How good a ranking is
"""
