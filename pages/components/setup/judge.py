"""The judge of a project: ready flags, a file, or none, tried at once on completions at hand."""

from pathlib import Path
from typing import NamedTuple

import pandas as pd
import streamlit as st

from core.data import quality
from core.data.pair_table import version
from core.errors import UserError
from core.intervention.evaluation import judge_preview
from core.intervention.evaluation.judges import load_judge
from core.intervention.evaluation.rates import judged
from core.runs.store import Store
from core.specs.behaviors import NO_JUDGE
from core.specs.steps import is_run
from pages.components import cache, rates, text
from pages.components.setup.files import TYPES, choose_file, keep, kept

READY, FILE, NONE = KINDS = ("Ready flags", "A judge file", "No judge")
LIMIT = 400  # completions of a preview, drawn at random
SHOWN = 60  # in its table
PAIRS = "chosen and rejected texts of the pairs"
EXPLAINED = {
    READY: "Flags that ready expressions give. *refusal* gives `refused` and `complied`.",
    FILE: "A TOML file with regular expressions, rules, a classifier, a language model at an "
    "endpoint, or an organism's world. docs/judges.md has an example of each.",
    NONE: "No flags: pairs are mapped and clustered, and no rate is measured.",
}


class Texts(NamedTuple):
    """Completions at hand: a run, a file of completions, or a file of pairs and its columns."""

    source: str
    columns: dict[str, str] | None = None


def choose_judge(key: str = "judge") -> str:
    """What decides which flags a completion gets: `refusal`, `none`, or the path of a file."""
    kind = kept(
        st.segmented_control,
        "What decides which flags a completion gets",
        KINDS,
        default=READY,
        required=True,
        key=f"{key}-kind",
    )
    st.caption(EXPLAINED[kind])
    judge = NO_JUDGE
    with text.refusing():
        if kind == READY:
            judge = _ready(key)
        elif kind == FILE:
            judge = str(choose_file("Judge file", key, ["toml"], ".toml") or "")
        if judge and kind != NONE:
            st.caption(f"It gives the flags: {text.escape(', '.join(load_judge(judge).flags))}.")
        return judge
    return ""


def fields_of(judge: str) -> dict[str, object]:
    """The values of `choose_judge`'s fields that choose this judge."""
    sets = judge_preview.ready_sets_of(judge)
    kind = NONE if judge == NO_JUDGE else FILE if sets is None else READY
    values: dict[str, object] = {"judge-kind": kind, "judge": judge if kind == FILE else ""}
    return values | ({"judge-sets": sets} if sets else {})


def _ready(key: str) -> str:
    """`refusal`, or a judge file of several ready sets, kept in the workspace."""
    options = list(judge_preview.ready_flags())
    sets = kept(st.multiselect, "Flags", options, default=options[:1], key=f"{key}-sets")
    if not sets:
        raise UserError("Choose at least one ready flag, or “No judge”.")
    if sets == ["refusal"]:
        return "refusal"
    name = f"judge-{'-'.join(sets)}.toml"
    content = judge_preview.ready_judge(sets).encode()
    return str(keep(name, content))


@st.fragment
def show_preview(
    judge: str, completions: Path | None, pairs: tuple[Path, dict[str, str]] | None
) -> None:
    """What the judge says of completions at hand, and beside another judge or labels."""
    sources = _sources(completions, pairs)
    if not sources:
        st.info("The judge is tried here as soon as there are completions or pairs above.")
        return
    with st.container(border=True):
        left, right = st.columns(2, vertical_alignment="bottom")
        source = left.selectbox("Try the judge on", list(sources), key="try-on")
        with_other = right.toggle("Compare with another judge", key="try-other")
        other = choose_judge("other") if with_other else ""
        labels = None
        if source != PAIRS:
            hint = "prompt_id or completion, and a yes/no column per flag"
            labels = choose_file("Labels by hand (optional)", "labels", TYPES, hint)
        names = tuple(dict.fromkeys(name for name in (judge, other) if name))
        files = tuple(map(_state, (*names, sources[source].source, str(labels or ""))))
        with text.refusing():
            _show(*_previewed(names, sources[source], labels, files, cache.store().workspace))


def _sources(
    completions: Path | None, pairs: tuple[Path, dict[str, str]] | None
) -> dict[str, Texts]:
    """Completions at hand, by the words that name them: the user's, runs, pairs."""
    sources = {f"the completions of {completions.name}": Texts(str(completions))} if (
        completions
    ) else {}  # fmt: skip
    store = cache.store()
    runs = [run for step in judge_preview.JUDGING for run in store.finished(step)]
    sources |= {f"the completions of {run}": Texts(run) for run in runs}
    return sources | ({PAIRS: Texts(str(pairs[0]), pairs[1])} if pairs else {})


def _state(name: str) -> str:
    """Changes when the file does."""
    return version(Path(name)) if name and Path(name).exists() else name


@st.cache_data(show_spinner="Judging …", max_entries=16)
def _previewed(
    names: tuple[str, ...], texts: Texts, labels: Path | None, files: tuple[str, ...], folder: Path
) -> tuple[judge_preview.Preview, pd.DataFrame]:
    """The preview of at most `LIMIT` completions, and these with each judge's flags."""
    judges = {name: load_judge(name) for name in names}
    for name, judge in judges.items():
        if not judge_preview.is_instant(judge):
            raise UserError(
                f"{name} asks a model or runs code, so it is not tried while you look. In a "
                f"terminal: pairtrace judge preview {name} --completions {texts.source}"
            )
    if texts.columns is None:
        table = judge_preview.read_judged_texts(texts.source, Store(folder))
    else:
        first = quality.preview(Path(texts.source), texts.columns, LIMIT // 2).pairs
        table = judge_preview.texts_of_pairs(first)
    people = None
    if labels is not None:
        people = judge_preview.read_labels(labels, table)
    elif texts.columns is None and not is_run(texts.source):
        flags = [flag for judge in judges.values() for flag in judge.flags]
        people = judge_preview.labels_within(Path(texts.source), flags)
    if len(table) > LIMIT:
        table = table.sample(LIMIT, random_state=0).sort_index()
        people = None if people is None else people.loc[table.index]
    flagged = [judged(table, judge)[list(judge.flags)] for judge in judges.values()]
    short = {name: Path(name).stem for name in names}
    both = [part.add_suffix(f" ({short[name]})" if len(names) > 1 else "")
            for name, part in zip(names, flagged, strict=True)]  # fmt: skip
    answers = pd.concat([table.reset_index(drop=True), *both], axis=1)
    return judge_preview.preview(judges, table, people), answers


def _show(preview: judge_preview.Preview, answers: pd.DataFrame) -> None:
    """Rates, disagreement and agreement with people; then completion by completion."""
    st.caption(f"{len(answers):,} texts; where there are more, a part of them.")
    st.dataframe(_rates(preview.rates), hide_index=True)
    if len(preview.disagreement):
        st.caption("Where the two judges disagree; kappa is 1 for the same answers, 0 for chance.")
        st.dataframe(preview.disagreement.assign(example=preview.disagreement["example"].map(
            text.short)), hide_index=True)  # fmt: skip
    if len(preview.labels):
        st.caption("Against the labels by hand; kappa with its 95% interval over prompts.")
        st.dataframe(preview.labels, hide_index=True)
    if st.toggle("Completion by completion", key="try-texts"):
        _show_texts(answers.head(SHOWN))


def _show_texts(answers: pd.DataFrame) -> None:
    """A row per completion: its beginning, and each flag."""
    flags = answers.drop(columns=judge_preview.COLUMNS).astype(object)
    words = flags.replace({True: "yes", False: "no"}).fillna("unscored")
    words.insert(0, "completion", answers["completion"].map(text.short))
    st.dataframe(words, hide_index=True)


def _rates(table: pd.DataFrame) -> pd.DataFrame:
    """Rates with their intervals in words; columns that are the same everywhere are left out."""
    rows = table[["rate", "low", "high", "n"]].itertuples(index=False)
    words = table.assign(rate=[rates.percent(*row) for row in rows], judge=table["judge"].map(
        lambda name: Path(name).stem)).drop(columns=["low", "high", "n"])  # fmt: skip
    dull = [c for c in ("judge", "model", "group", "condition") if words[c].nunique() == 1]
    return words.drop(columns=dull).rename(columns={"n_unscored": "unscored"})
