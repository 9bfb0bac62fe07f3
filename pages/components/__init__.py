"""Parts that pages share, then those of one page, by page.

- `cache`: Cached reading of the workspace
- `access`: Login and permissions
- `text`: Untrusted text as plain text
- `words`: A pair's words colored by their part of a score, and other texts tried
- `theme`: Colors of the map and of charts, markers, layouts of charts and tables
- `glossary`: The words that pages use, each explained once
- `shortcuts`: Keyboard shortcuts
- `lazy`: Expanders and tabs that draw nothing while they are closed
- `jobs`: Runs on a page
- `plan`: The steps of an investigation up to retraining
- `tour`: The guided tour, and the bar that walks along
- `pickers`: Choices that several pages offer
- `reading`: A table of pairs, and one of them in full beside it
- `region`: The region that was drawn on a map
- `selection`: Selections of pairs and trial edits, asked of `core` and cached
- `cart`: The edit cart
- `rates`: Behavior rates in words, tables and charts
- `completions`: Completions of the same prompt by two models
- `validity`: Whether a ranking can be trusted, and how scores agree
- `enrichment`: Sources and models that stand out among selected pairs
- `arm_table`: Measured rates of an edit's arms
- `map`: Parts of the Map page
- `clusters`: Parts of the Clusters page
- `intervene`: Parts of the Intervene page
- `results`: Parts of the Results page
- `setup`: Parts of the Set up page
"""
