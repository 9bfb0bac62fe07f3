"""Behavior rates and what they prove.

- `judges`: Who says which flags a completion shows
- `llm_judge`: A language model as judge
- `classifier_judge`: A sequence classifier as judge
- `rates`: From judged completions to the rate of every behavior, with interval, n and what is
- `results`: What every finished evaluation measured, by arm
- `choose_size`: Which size of an edit to adopt, chosen on one half of the held-out prompts, told
- `spot_check`: How far two raters agree beyond chance
- `leakage`: Keep apart the prompts that built a behavior's vector and those that its rate is
"""
