"""A report as one self-contained HTML file, or as Markdown: what changed, why, and the proof.

The HTML file is five cards, which are slides as well (keys: S, arrows, D, Esc), and an appendix. It
has its own small script (map, slides) and style, asks no other machine for anything, and prints.
Text from data is escaped in both. Layout only: the content comes from `findings.gather`, the
wording is in the templates beside this module.
"""

import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from core.intervention.edits.predict import agreement
from core.report.figures import COLORS
from core.report.findings import Story

INTERVALS = (
    "Rates with 95% intervals: over prompts where there is one evaluation, over training seeds "
    "where there are three or more, none for two seeds. n counts judged completions."
)
LINES = 200  # of a table at most
LIMITS = (
    "Scores of pairs are first-order stand-ins for their effect: a claim, which retraining tests.",
    "Only what the prompts bring out, and the judge reads rightly, is measured.",
    "The verdict is about this model, these prompts and this training. Edits that were tried "
    "before this one are not corrected for.",
    "That a cluster and a change coincide is a hint; the retrained arms are the evidence.",
)
CONTROL = (
    "The random control removes or flips as many pairs, from the same sources, chosen at random: "
    "what it changes, retraining changes by itself. A flip is twice the dose of a removal."
)


def to_html(story: Story) -> str:
    """One file that needs no other file and no connection."""
    environment = _environment(autoescape=True)
    environment.globals |= {
        "table": lambda table: Markup(table.to_html(index=False, border=0, escape=True)),
        "rows": _rows,
        "colors": COLORS,
        "data": partial(htmlsafe_json_dumps, dumps=partial(json.dumps, ensure_ascii=False)),
    }
    return environment.get_template("report.html.j2").render(_content(story))


def to_markdown(story: Story) -> str:
    """The same without figures."""
    environment = _environment(finalize=_escaped)
    environment.globals |= {"table": _markdown_table, "fenced": _fenced}
    return environment.get_template("report.md.j2").render(_content(story))


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


def _environment(**options: Any) -> Environment:
    return Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        **options,
    )


def _content(story: Story) -> dict[str, Any]:
    """The variables of both templates."""
    return {
        "story": story,
        "intervals": INTERVALS,
        "control": CONTROL,
        "limits": [*LIMITS, *(f"Of the pairs: {advice}" for advice in story.advice)],
        "first": story.edits[0] if story.edits else None,
        "changes": story.changes.rename(columns={"model": "arm"}),
        "readable": readable,
        "agreement": agreement(story.predictions) if len(story.predictions) else None,
        "predictions": _predictions(story.predictions).head(LINES),
        "environment": story.environment.head(LINES),
        "lines": LINES,
    }


def _predictions(predictions: pd.DataFrame) -> pd.DataFrame:
    if predictions.empty:
        return predictions
    points = {
        name: [f"{100 * value:+.1f}" for value in predictions[name]]
        for name in ("predicted change", "measured change")
    }
    table = predictions[["behavior", "arm", "seed", "train"]].assign(**points)
    return table.rename(columns={"train": "run"})


def _rows(rates: pd.DataFrame) -> list[list[dict[Any, Any]]]:
    """The rates of every behavior, a record per arm; `bounded` where it has an interval."""
    bounded = rates.assign(bounded=rates["low"].notna())
    return [part.to_dict("records") for _, part in bounded.groupby("behavior", sort=False)]


def _markdown_table(table: pd.DataFrame) -> Markup:
    rows = [list(map(str, table.columns)), ["---"] * len(table.columns)]
    rows += [[str(cell) for cell in row] for row in table.itertuples(index=False)]
    return Markup("\n".join(f"| {' | '.join(map(_escaped, row))} |" for row in rows))


def _fenced(text: str) -> Markup:
    """A code block, with a fence that is longer than any in the text."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return Markup(f"{fence}\n{text}\n{fence}")


def _escaped(value: object) -> str:
    """Text in which Markdown and HTML mean nothing; markup as it is."""
    if isinstance(value, Markup):
        return value
    return "".join(f"\\{c}" if c in "\\`*_[]<>|#!~$" else c for c in " ".join(str(value).split()))
