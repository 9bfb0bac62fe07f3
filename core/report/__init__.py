"""What leaves PairTrace: figures, the report, exports.

- `figures`: Charts of behavior rates that mean the same in the app and in reports
- `findings`: What a report says, read from finished runs
- `html`: A report as one self-contained HTML file, or as Markdown
- `export_pairs`: An arm's pairs as files that other tools read, with where they came from
- `export_training`: A folder from which an arm can be trained on another machine, without PairTrace
- `edit_sizes`: What removing and flipping did at several sizes, as `pairtrace bench intervention`
- `performance`: The figures that `pairtrace bench all` measured for this version, as rows to show
- `scoreboard`: How the methods compare, over worlds
"""
