"""The embedded investigation, and how its organism is built.

- `investigation`: The demo's steps on the embedded organism, from prompts to retrained arms
- `organism`: An organism folder built from a world file: data, two models, measured rates
- `pretraining`: The reference of an organism: a word-level tokenizer and a tiny OLMo 2
"""
