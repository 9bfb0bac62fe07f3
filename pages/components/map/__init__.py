"""Parts of the map.

- `figure`: The map's figures
- `coloring`: What the points of the map are colored by
- `heatmap`: The clustered heatmap
- `selection_panel`: What a selection on the map is, in words, numbers and pairs, and what can be
"""
