"""Untrusted text as plain text: pairs and completions side by side, differences marked.

Prompts and completions are drawn as plain text or as escaped HTML, never as markdown. Control
characters are made visible, and direction marks have no effect outside their box.
"""

import difflib
import html
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pandas as pd
import streamlit as st

from core.attribution.contributions import words
from core.data.chat import display_text
from core.errors import UserError

SIMILAR = 0.5  # below this share of common words a diff only distracts
TOO_MANY = 4_000  # words; a diff of more takes seconds
LONG = 20_000  # characters; the rest is left out, and counted
BOX = (
    "white-space:pre-wrap;overflow-wrap:anywhere;unicode-bidi:isolate;max-height:22rem;"
    "overflow-y:auto;padding:.6rem .8rem;border:1px solid rgba(128,128,128,.35);"
    "border-radius:.4rem;font-size:.9rem;line-height:1.45"
)
COLORED = 2000  # words of a text; the rest is plain
STRONGEST = 0.6  # opacity of the largest part of a pair
COLORS = (
    "Each word is colored by its part of this pair's score, and all parts add up to the score. "
    "In chosen, orange words are what the pair teaches; in rejected, orange words are what it "
    "teaches to avoid. Blue words count against the behavior. The mouse shows a word's part."
)
ESCAPED = {c: f"\\{c}" for c in "\\`*_{}[]()>#+-.!|~$:"} | {"<": "&lt;", "&": "&amp;"}
MARKS = {  # translucent, so that they serve light and dark; underlined, so that color is not alone
    "left": "background:rgba(0,158,115,.28);text-decoration:underline;color:inherit",
    "right": "background:rgba(213,94,0,.28);text-decoration:underline dotted;color:inherit",
}


def show_pair(pair: pd.Series, tokens: pd.DataFrame | None = None) -> None:
    """One preference pair: its prompt, then chosen and rejected side by side.

    `tokens` (`side, text, value`) are the parts of its score, by which words are colored.
    """
    box("prompt", pair["prompt"])
    if tokens is None:
        side_by_side("chosen", pair["chosen"], "rejected", pair["rejected"])
    else:
        colored_sides(tokens)
    rest = pair.drop(["uid", "prompt", "chosen", "rejected"])
    facts = [f"{name}: {value}" for name, value in rest.items()]
    st.text(visible("   ".join([f"uid: {pair['uid']}", *facts])[:500]))


def side_by_side(left_name: str, left: str, right_name: str, right: str) -> None:
    """Two texts in columns; where they are similar, words that only one of them has are marked."""
    bodies = diff(display_text(left), display_text(right))
    for column, name, body in zip(st.columns(2), (left_name, right_name), bodies, strict=True):
        with column:
            _draw(name, body)


def colored_sides(tokens: pd.DataFrame) -> None:
    """Chosen and rejected side by side, words colored by their part of the score."""
    score, largest = tokens["value"].sum(), max(tokens["value"].abs().max(), 1e-9)
    for column, side in zip(st.columns(2), ("chosen", "rejected"), strict=True):
        rows = tokens[tokens["side"].eq(side)]
        with column:
            _draw(f"{side} · {rows['value'].sum():+.3f} of {score:.3f}", _colored(rows, largest))
    st.caption(COLORS)


def box(name: str, text: str) -> None:
    """One text under a label."""
    _draw(name, html.escape(visible(display_text(text))))


def diff(left: str, right: str) -> tuple[str, str]:
    """Both texts as escaped HTML, differing words marked; unmarked where little is in common."""
    words = [re.findall(r"\s+|\w+|[^\w\s]", visible(text)) for text in (left, right)]
    if max(map(len, words)) > TOO_MANY or _similarity(*words) < SIMILAR:
        return html.escape(visible(left)), html.escape(visible(right))
    matcher = difflib.SequenceMatcher(None, *words, autojunk=False)
    parts: tuple[list[str], list[str]] = ([], [])
    for kind, a, b, c, d in matcher.get_opcodes():
        for side, (start, end) in enumerate(((a, b), (c, d))):
            text = html.escape("".join(words[side][start:end]))
            style = MARKS["right" if side else "left"]
            parts[side].append(text if kind == "equal" or not text else _marked(text, style))
    return "".join(parts[0]), "".join(parts[1])


def visible(text: object) -> str:
    """Text with control and direction characters replaced by visible stand-ins."""
    full = str(text)
    cut = full[:LONG] + (f" … ({len(full) - LONG:,} more characters)" if full[LONG:] else "")
    return cut if cut.isprintable() else "".join(map(_stand_in, cut))


def escape(text: object) -> str:
    """Text escaped for places where Streamlit draws markdown."""
    return "".join(ESCAPED.get(c, c) for c in " ".join(visible(text).split()))


def refuse(error: UserError) -> None:
    """Show why what somebody chose or typed cannot be used."""
    st.error(escape(error), icon="⚠️")


@contextmanager
def refusing() -> Iterator[None]:
    """Show why something inside cannot be used, and leave."""
    try:
        yield
    except UserError as error:
        refuse(error)


def short(text: object, length: int = 90) -> str:
    """The beginning of a text in one line, for a table."""
    line = " ".join(visible(display_text(str(text))[: 2 * length]).split())
    return line if len(line) <= length else line[: length - 1] + "…"


def _similarity(left: list[str], right: list[str]) -> float:
    """Share of words, spaces aside, that two texts have in common and in order."""
    words = [[word for word in text if not word.isspace()] for text in (left, right)]
    return difflib.SequenceMatcher(None, *words, autojunk=False).ratio()


def _stand_in(letter: str) -> str:
    if letter in "\n\t" or unicodedata.category(letter) not in ("Cc", "Cf", "Cs"):
        return letter
    return chr(0x2400 + ord(letter)) if ord(letter) < 0x20 else "\ufffd"


def _marked(text: str, style: str) -> str:
    return f'<mark style="{style}">{text}</mark>'


def _colored(tokens: pd.DataFrame, largest: float) -> str:
    """The words of one side as escaped HTML, each with its color and its tokens under the mouse."""
    joined = words(tokens)
    lengths = joined["word"].str.len().cumsum().to_numpy()
    ends = tokens["text"].str.len().cumsum().to_numpy()
    owner = np.searchsorted(lengths, ends)
    hover = [
        " · ".join(
            f"{visible(part).strip()} {value:+.4f}"
            for part, value in zip(rows["text"], rows["value"], strict=True)
        )
        for _, rows in tokens.groupby(owner)
    ]
    spans = zip(joined["word"].head(COLORED), joined["value"], hover, strict=False)
    rest = visible("".join(joined["word"].iloc[COLORED:]))
    return "".join(_word(*span, largest) for span in spans) + html.escape(rest)


def _word(word: str, value: float, hover: str, largest: float) -> str:
    opacity = STRONGEST * abs(value) / largest
    color = "213,94,0" if value > 0 else "0,114,178"
    space = word[: len(word) - len(word.lstrip())]
    return (
        f'{html.escape(visible(space))}<span title="{html.escape(hover)}" '
        f'style="background:rgba({color},{opacity:.2f})">'
        f"{html.escape(visible(word.lstrip()))}</span>"
    )


def _draw(name: str, body: str) -> None:
    st.caption(escape(name))
    st.html(f'<div dir="auto" style="{BOX}">{body or "&nbsp;"}</div>')
