"""A report as one self-contained HTML file, or as Markdown: what changed, why, and the proof.

Text from data is escaped in both. The HTML file carries plotly's script (about 5 MB), so that it
opens offline and can be mailed. Layout only: what it says comes from `gather`.
"""

import re
from collections.abc import Callable, Iterator
from html import escape

import pandas as pd
import plotly.graph_objects as go

from core.intervention.edits.predict import agreement
from core.report.figures import agreement_chart, rates_chart, seeds_chart
from core.report.findings import EditStory, Story

STYLE = """
body { font: 16px/1.5 sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
       color: #1C2733; background: #fff }
table { border-collapse: collapse; font-size: 14px; margin: 1rem 0 }
th, td { text-align: left; padding: .25rem .7rem; border-bottom: 1px solid #D7DCE2 }
pre { background: #F2F4F7; padding: .8rem; overflow-x: auto; font-size: 13px }
"""
INTERVALS = (
    "Rates with 95% intervals: over prompts where there is one evaluation, over training seeds "
    "where there are three or more, none for two seeds. n counts judged completions."
)
CONTROL = (
    "The random control removes or flips as many pairs, from the same sources, chosen at random: "
    "what it changes, retraining changes by itself. A flip is twice the dose of a removal."
)

Write = Callable[[str, str], str]  # kind of element, text → markup


def to_html(story: Story) -> str:
    """One file that needs nothing else."""
    body = "\n".join(_parts(story, _html, _html_table, _html_figure()))
    title = escape(f"PairTrace: {story.project.name}")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>'
        f"<style>{STYLE}</style></head><body>\n{body}\n</body></html>\n"
    )


def to_markdown(story: Story) -> str:
    """The same without figures."""
    return "\n\n".join(part for part in _parts(story, _markdown, _markdown_table, None) if part)


def _parts(
    story: Story,
    write: Write,
    table: Callable[[pd.DataFrame], str],
    figure: Callable[[go.Figure], str] | None,
) -> Iterator[str]:
    yield write("h1", f"What preference training taught: {story.project.name}")
    yield write("p", INTERVALS)
    yield write("h2", "What changed")
    if story.changes.empty:
        yield write("p", "Not measured: no generate run is finished.")
    else:
        changes = story.changes.rename(columns={"model": "arm"})
        yield figure(rates_chart(changes)) if figure else ""
        yield table(readable(changes))
    yield write("h2", "Which pairs taught it")
    yield table(story.rankings) if len(story.rankings) else write("p", "Nothing is ranked.")
    yield write("h2", "What retraining on edited pairs did")
    yield write("p", CONTROL if story.edits else "Nothing was edited.")
    for edit in story.edits:
        yield from _edit(edit, write, table, figure)
    if len(story.predictions):
        yield write("h2", "Predicted and measured")
        yield write("p", _agreement(story.predictions))
        yield figure(agreement_chart(story.predictions)) if figure else ""
        yield table(_predicted(story.predictions))
    yield write("h2", "How it was made")
    yield table(story.environment) if len(story.environment) else write("p", "No run is finished.")


def _edit(
    edit: EditStory,
    write: Write,
    table: Callable[[pd.DataFrame], str],
    figure: Callable[[go.Figure], str] | None,
) -> Iterator[str]:
    yield write("h3", "; ".join(edit.words))
    yield write("p", f"{edit.touched}. Run {edit.run}.")
    if not edit.rates.empty:
        order = list(dict.fromkeys(edit.seeds["behavior"]))
        yield figure(seeds_chart(edit.seeds, order)) if figure else ""
        yield table(readable(edit.rates))
    yield write("p", "The recipe, and the commands that make every run of it again:")
    yield write("pre", edit.recipes)
    yield write("pre", "\n".join(edit.commands))


def _agreement(predictions: pd.DataFrame) -> str:
    found = agreement(predictions)
    return (
        f"{found.n} predictions made before training, of behaviors that are ranked, against what "
        f"retraining measured. Spearman's rank correlation {found.rank_correlation:.2f}; slope of "
        f"measured on predicted {found.slope:.2f} (1 is calibrated); mean error "
        f"{100 * found.mean_error:.1f} points."
    )


def _predicted(predictions: pd.DataFrame) -> pd.DataFrame:
    points = {
        name: [f"{100 * value:+.1f}" for value in predictions[name]]
        for name in ("predicted change", "measured change")
    }
    shown = predictions[["behavior", "arm", "seed", "train"]].assign(**points)
    return shown.rename(columns={"train": "run"})


def readable(rates: pd.DataFrame) -> pd.DataFrame:
    """Behaviors down, arms across, each cell a rate with its interval and n."""
    cells = [
        f"{rate:.1%}" + ("" if pd.isna(low) else f" [{low:.1%}, {high:.1%}]") + f", n = {n:,}"
        for rate, low, high, n in rates[["rate", "low", "high", "n"]].itertuples(index=False)
    ]
    named = rates["behavior"] + rates["wanted"].map({True: " (wanted)", False: " (unwanted)"})
    long = pd.DataFrame({"behavior": named, "arm": rates["arm"], "cell": cells})
    arms = list(dict.fromkeys(long["arm"]))
    wide = long.pivot(index="behavior", columns="arm", values="cell")
    wide = wide.loc[list(dict.fromkeys(named)), arms].fillna("")
    return wide.rename_axis(columns=None).reset_index()


def _html(kind: str, text: str) -> str:
    return f"<{kind}>{escape(text)}</{kind}>"


def _html_table(table: pd.DataFrame) -> str:
    return str(table.to_html(index=False, border=0, escape=True))


def _html_figure() -> Callable[[go.Figure], str]:
    """Plotly's script goes into the first figure only."""
    scripts = iter([True])

    def figure(chart: go.Figure) -> str:
        chart.update_layout(template="plotly_white")
        return str(chart.to_html(full_html=False, include_plotlyjs=next(scripts, False)))

    return figure


def _markdown(kind: str, text: str) -> str:
    heads = {"h1": "# ", "h2": "## ", "h3": "### ", "p": ""}
    if kind == "pre":
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
        return f"{fence}\n{text}\n{fence}"
    return heads[kind] + _plain(text)


def _markdown_table(table: pd.DataFrame) -> str:
    rows = [list(map(str, table.columns)), ["---"] * len(table.columns)]
    rows += [[str(cell) for cell in row] for row in table.itertuples(index=False)]
    return "\n".join(f"| {' | '.join(map(_plain, row))} |" for row in rows)


def _plain(text: str) -> str:
    """Markdown and HTML in data stay text."""
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#!~$" else c for c in " ".join(text.split()))
