"""Parts of the Map page.

- `coloring`: What the map is colored and filtered by; the colors are in `theme`
- `widgets`: Facets with bars, cards, clicks and zooms, in JavaScript
- `figure`: Figures of the maps of pairs and of prompts
- `heatmap`: The clustered heatmap and the selection on it
- `panel`: What is selected, and what can be done with it
"""
