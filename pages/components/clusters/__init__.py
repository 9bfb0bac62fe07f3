"""Parts of the Clusters page.

- `state`: Clusters as people left them
- `table`: The clusters of a map as a table
- `label_form`: Saying something about a cluster
- `carry_over`: What was said on earlier maps, and in files, offered to the clusters of this one
- `tree`: The clusters as a tree
- `profile`: What a cluster says, does and comes from, as its discover run found it
- `suggestions`: Suggested names for clusters
- `history`: Who changed what, when and why
- `alarms`: What nobody asked about
"""
