"""Parts of the Clusters page.

- `suggestions`: Suggested names, by typical words or a language model
- `state`: Clusters as they are now, with people's changes
- `profile`: A cluster's words, score, behaviors, sources and stability
- `table`: The table of clusters
- `label_form`: Forms to name, mark, merge, split and move
- `carry_over`: Labels of earlier maps and files, offered to this map
- `tree`: The condensed tree, as an icicle and to cut
- `history`: The log of changes, undo and redo, export and import
- `alarms`: Clusters to look at first
"""
