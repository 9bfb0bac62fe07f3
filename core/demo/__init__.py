"""The embedded investigation, and how its organism is built.

- `investigation`: The demo's steps on the embedded organism, from prompts to retrained arms
- `organism`: An organism folder built from a world file: data, two models, measured rates
- `smollm2`: The organism in natural English, built from SmolLM2 in four stages
- `sft`: Supervised training of a reference: a tiny OLMo 2 from nothing, or low-rank updates
"""
