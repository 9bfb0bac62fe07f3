"""What leaves PairTrace: figures, the report, exports.

- `figures`: Charts of behavior rates, the same in the app and in reports
- `quotes`: What a report quotes: pairs, completions, and points of the map
- `findings`: The content of a report, read from finished runs
- `html`: A report and slides as one self-contained HTML file, or as Markdown
- `export`: An arm's pairs as files for other tools, and to train from on another machine
- `bench_results`: Shipped results of `pairtrace bench`, as tables
"""
