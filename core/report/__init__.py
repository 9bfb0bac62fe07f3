"""What leaves PairTrace: figures, the report, exports.

- `figures`: Charts of behavior rates, the same in the app and in reports
- `findings`: The content of a report, read from finished runs
- `html`: A report as one self-contained HTML file, or as Markdown
- `export_pairs`: An arm's pairs as files for other tools, with their provenance
- `export_training`: A folder from which an arm can be trained on another machine
- `bench_results`: Shipped results of `pairtrace bench`, as tables
"""
