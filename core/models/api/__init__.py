"""OpenAI-compatible endpoints: questions out, answers kept.

- `client`: One question to an OpenAI-compatible endpoint
- `batch`: Ask a language model many questions at a time, and keep every answer
- `cache`: Answers of a language model on disk, found again by the content of the question
- `url_guard`: Where questions may be sent
- `rating`: Let a language model rate completions from 0 to 100 by an instruction
- `cluster_names`: Let a language model suggest a name and one sentence for a group of preference
"""
