"""Parts of the Map page.

- `coloring`: Colors of the map's points, by cluster, category, number or similarity
- `figure`: Figures of the maps of pairs and of prompts
- `heatmap`: The clustered heatmap and the selection on it
- `selection_panel`: The selected pairs, and what can be done with them
"""
