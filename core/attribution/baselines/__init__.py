"""Other ways of ranking pairs, for comparison.

- `registry`: Every way to order pairs by a behavior, under one call
- `gradient`: The gradient baseline
- `gradient_cache`: Projected gradients on disk
- `lora`: Low-rank updates at their start
- `ekfac`: EK-FAC: the gradient baseline, each direction divided by how much the loss bends along it
- `lexical`: Baselines that read words, not activations
- `llm_rating`: The judge as a baseline
"""
