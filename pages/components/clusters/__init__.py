"""Parts of the Clusters page.

- `state`: Clusters as they are now, with people's changes, and suggested names
- `table`: The table of clusters, and each one's words, score, behaviors and sources
- `label_form`: Forms to name, mark, merge, split and move
- `carry_over`: Labels of earlier maps and files, offered to this map
- `tree`: The condensed tree, as an icicle and to cut
- `history`: The log of changes, undo and redo, export and import
- `alarms`: Clusters to look at first
"""
