"""Behavior rates and what they prove.

- `judges`: Judges: which flags a completion shows, also combined from others
- `text_judge`: Judges written as regular expressions, ready or your own, or verifiable instructions
- `python_judge`: Judges written as a Python function, which the command line has to allow
- `model_judges`: Judges that a judge file names, a language model or a classifier
- `judge_preview`: Preview of judges on completions at hand
- `rates`: Behavior rates of judged completions, measured on held-out prompts
- `results`: Rates of every finished evaluation, by arm
- `edit_sizes`: Sizes of an edit, and which of them to adopt
- `verdict`: The verdict on an edit: worked, did not work, or not yet proven
- `spot_check`: Agreement of a judge with people who read blinded completions
"""
