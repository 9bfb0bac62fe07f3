"""Parts of the Map page.

- `coloring`: What the map's points are colored by; the colors are in `theme`
- `figure`: Figures of the maps of pairs and of prompts
- `heatmap`: The clustered heatmap and the selection on it
- `selection_panel`: The selected pairs, and what can be done with them
"""
