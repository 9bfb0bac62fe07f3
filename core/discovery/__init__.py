"""Similarity matrix in, clusters out.

- `matrix`: The behavior–datapoint matrix, on disk, and sums over its blocks
- `prompt_clusters`: Kinds of prompts
- `refine`: A second look at every kind of prompts
- `features`: What places pairs and prompts on their maps
- `projection`: Points on a plane
- `clustering`: Groups of points that lie densely together
- `condensed_tree`: HDBSCAN's tree of islands, and cutting it coarser or finer
- `pipeline`: From the matrix to everything that is found in it
- `recut`: A map that exists, cut coarser or finer
- `stability`: Would the same clusters come out again
- `alarms`: Clusters to look at first
- `cluster_stats`: How big a cluster of pairs is, how far it pushes its prompts, and whether that
- `cluster_terms`: What a cluster of pairs is about, in words
- `attribution_share`: Which part of a behavior's attribution a cluster makes up, for every
- `rate_changes`: What the judge saw change on each kind of prompts that discovery found
- `matching`: Which cluster of a new map holds the pairs of a cluster of an earlier one
- `summary`: A row per cluster
- `heatmap`: The paper's clustered heatmap
- `raster`: A map of many points as one small picture, for a chart to lay under its axes
"""
