"""Parts of the Rank page.

- `validity`: Whether a behavior vector means anything, and whether few pairs taught the behavior
- `score_agreement`: Two orders of the same pairs side by side
"""
