"""OpenAI-compatible endpoints: questions out, answers kept on disk.

- `served`: Completions of a model at a server, which is checked against the model's folder
- `questions`: Ratings of completions and names of clusters, asked of a language model
- `batch`: Many questions at a time; every answer is kept on disk and asked for once
- `client`: One question to an OpenAI-compatible endpoint, with retries
- `url_guard`: Addresses that questions may be sent to
"""
