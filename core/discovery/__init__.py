"""Similarity matrix in, clusters out.

- `matrix`: The prompt × pair matrix of similarities, on disk
- `prompt_clusters`: Prompt clusters: prompts on which the policy changed in the same way
- `refine`: Refined scores of pairs on prompt clusters
- `features`: Feature vectors by which pairs and prompts are placed on their maps
- `projection`: UMAP embeddings of points in the plane
- `clustering`: HDBSCAN clusters, their condensed tree, and coarser or finer cuts of it
- `heatmap`: The clustered heatmap: leaf order and cell means
- `pipeline`: From the matrix to prompt clusters, clusters of pairs, maps and files
- `cluster_stats`: Scores, sources and shares of attribution of clusters
- `cluster_table`: The table of clusters: words, a suggested name, examples, statistics
- `stability`: Stability of clusters over draws and seeds, and clusters matched between clusterings
- `recut`: A finished map with coarser or finer clusters
- `alarms`: Rate changes by prompt cluster, and the clusters behind unwanted changes
- `raster`: Maps and heatmaps as small PNG images
"""
