"""Parts of the Rank page.

- `validity`: Whether a ranking can be trusted, and how scores agree
"""
