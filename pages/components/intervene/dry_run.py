"""What an edit does before it is trained on: weights, predicted rates, covariate shift, examples.

Uses the functions of the edit step and of the results, so that what is shown here is what will be
trained on and compared later.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray
from streamlit.delta_generator import DeltaGenerator

from core.intervention.edits import predict
from core.intervention.edits.checks import NOTABLE, covariate_shift, weights_by_score
from core.intervention.edits.select import WEIGHT, fading
from core.report import figures
from core.specs.project import Project
from core.specs.recipes import Curve, Edit, edit_of
from core.workspace.labels import Entry
from pages.components import arm_table, cache, cart, selection, text, theme, words

PREDICTION_TERMS = """
To first order every pair moves the *log-odds* of a behavior by its attribution. **Undone** is the
share of all positive attribution to a behavior that the edit takes away (a flip counts twice); the
predicted rate goes back that share of the way from policy to reference. Above 100% it goes beyond.
For behaviors without a ranking of their own, the map's matrix is read: how far *whatever changed on
these prompts* is undone. A prediction knows neither what other pairs make up for, nor how much
retraining varies by itself: the Results page compares predictions with what was measured.
"""
SHIFT_TERMS = """
Difference is in standard deviations over all pairs. Where it is large, retraining without these
pairs also changes how long (or how large in norm) the training completions are, which the random
control does not share.
"""
ONE, CURVE = "the same", "by score"
PERCENTAGES = {
    "undone": "%.0f %%",
    "reference": "%.1f %%",
    "now": "%.1f %%",
    "predicted": "%.1f %%",
    "change, points": "%+.1f",
}


def actions(edits: Sequence[Edit]) -> pd.DataFrame:
    """What is done to which pair; `UserError` where the edit cannot be made."""
    return selection.actions(cache.project().pairs, edits)


def attributions(project: Project) -> list[predict.Attribution]:
    """Each pair's attribution to every behavior that was ranked or mapped."""
    store = cache.store()
    runs = (*store.finished("rank"), *store.finished("discover"))
    return _attributions(str(store.workspace), runs, project)


def most_touched(project: Project, run: str) -> str | None:
    """The ranked behavior whose attribution a finished edit undoes most of."""
    touched = cache.table(run, "actions")
    shares = {
        attribution.behavior.name: predict.undone(attribution.values, touched)
        for attribution in attributions(project)
        if attribution.run.startswith("rank-")
    }
    return max(shares, key=lambda name: abs(shares[name]), default=None)


def show_predictions(project: Project, edits: Sequence[Edit]) -> None:
    """The predicted rate of every ranked or mapped behavior, wanted ones too."""
    st.subheader("What it should do, and what would move with it")
    attributed = attributions(project)
    if not attributed:
        st.info("Nothing is ranked or mapped yet, so nothing is predicted.")
        return
    table = predict.predict(actions(edits), attributed, arm_table.all_measured(project))
    change = table["predicted"] - table["before"]
    step = table["read from"].str.partition("-")[0]
    shown = {
        "behavior": table["behavior"],
        "wanted?": table["wanted"].map({True: "wanted", False: "unwanted"}),
        "undone": (100 * table["undone"]).round() + 0.0,  # no -0
        "reference": 100 * table["reference"],
        "now": 100 * table["before"],
        "predicted": 100 * table["predicted"],
        "change, points": (100 * change).round(1) + 0.0,
        "read from": step.map({"rank": "its ranking", "discover": "the map"}),
    }
    config = theme.columns({}, PERCENTAGES)
    st.dataframe(pd.DataFrame(shown), hide_index=True, column_config=config)
    heldout = text.escape(Path(project.heldout).name)
    st.caption(f"Rates are on the held-out prompts of {heldout}; Overview's are on all others.")
    rest = [b.name for b in project.behaviors if b.name not in set(table["behavior"])]
    if rest:
        st.caption("Not predicted, neither ranked nor mapped: " + ", ".join(map(text.escape, rest)))
    if table["before"].isna().any():
        st.caption("Rates appear once reference and policy are measured on the held-out prompts.")
    with st.expander("How this is predicted"):
        st.markdown(PREDICTION_TERMS)


def show_shift(project: Project, edits: Sequence[Edit]) -> None:
    """Length and norm of the touched pairs against the rest."""
    pairs = cache.pairs(project.pairs)
    touched = np.zeros(len(pairs), bool)
    touched[pairs.positions(_touched(edits)["uid"])] = True
    table = covariate_shift(pairs.lengths, touched, _norms(edits))
    notable = table[table["difference"].abs() >= NOTABLE]
    if len(notable):
        differences = [f"{row.what} {row.difference:+.1f}" for row in notable.itertuples()]
        st.text(f"Unlike the other pairs, in standard deviations: {'; '.join(differences)}.")
    suffix = "" if len(notable) else ": similar"
    with st.expander(f"Length and norm of the touched pairs against the rest{suffix}"):
        st.dataframe(table.round(2), hide_index=True)
        st.caption(SHIFT_TERMS)


def show_examples(project: Project, edits: Sequence[Edit]) -> None:
    """A few of the touched pairs, to read before training on the edit."""
    touched = _touched(edits)
    with st.expander(f"Read some of the {len(touched):,} touched pairs"):
        number = st.number_input("Touched pair", 1, len(touched), 1, key="touched-pair")
        row = touched.iloc[number - 1]
        st.text(text.visible(f"{row['action']}: {row['why'] or 'no reason given'}"))
        pairs = cache.pairs(project.pairs)
        text.show_pair(pairs.rows(pairs.positions([row["uid"]])).iloc[0])


def show_weights(number: int, entry: Entry) -> None:
    """One weight for all pairs of an entry, or a curve over a score with its preview."""
    edit, ranked = entry.edit, words.rankings()
    kinds = [ONE, CURVE] if ranked or edit.curve else [ONE]
    row = st.container(horizontal=True, vertical_alignment="bottom")
    kind = row.segmented_control(
        f"Weights of entry {number}", kinds, default=CURVE if edit.curve else ONE, required=True,
        key=f"weights-{entry.id}", help="By score: the more a pair pushes, the less it counts.",
    )  # fmt: skip
    if (kind == CURVE) != (edit.curve is not None):
        with text.refusing():
            cart.put([entry], [_with_curve(edit) if kind == CURVE else _with_weight(edit, WEIGHT)])
    if edit.curve is not None:
        _show_curve(number, entry, edit.curve, row)
        return
    weight = row.number_input(
        f"Weight of entry {number}", 0.0, 100.0, edit.weight, 0.05, key=f"weight-{entry.id}",
        width=220, help="Factor on each pair's part of the loss: 0 removes it, 1 changes nothing, "
        "2 counts it twice.",
    )  # fmt: skip
    if weight != edit.weight:
        cart.put([entry], [_with_weight(edit, weight)])


def _with_weight(edit: Edit, weight: float) -> Edit:
    return edit.model_copy(update={"weight": weight, "curve": None})


def _with_curve(edit: Edit) -> Edit:
    """Weights by the score of the ranking that an edit reads, or of the newest."""
    rank = next((r for r in edit.recipe.runs() if r in cache.ranked_behaviors()), None)
    uids = cache.pairs(cache.project().pairs).index[selection.mask(edit.recipe)]
    curve = fading(rank or next(iter(words.rankings().values())), uids, cache.store())
    return edit.model_copy(update={"weight": None, "curve": curve})


def _show_curve(number: int, entry: Entry, curve: Curve, row: DeltaGenerator) -> None:
    """The two ends of a curve, and what it leaves of the pairs at each score."""
    (low, first), (high, last) = curve.points[0], curve.points[-1]
    if len(curve.points) == 2:
        low, first, high, last = (
            row.number_input(
                f"{name} of entry {number}", least, None, value, 0.05, format="%.4g", width=150,
                key=f"curve-{name}-{entry.id}",
            )
            for name, least, value in (
                ("From score", None, low), ("weight", 0.0, first),
                ("to score", None, high), ("weight there", 0.0, last),
            )
        )  # fmt: skip
    points = ((low, first), *curve.points[1:-1], (high, last))
    if points != curve.points:
        changed = curve.model_dump() | {"points": points}
        with text.refusing():
            new = edit_of("weight", entry.edit.recipe, entry.edit.why, curve=changed)
            cart.put([entry], [new])
    uids = cache.pairs(cache.project().pairs)["uid"][selection.mask(entry.edit.recipe)]
    table = weights_by_score(entry.edit, uids, cache.store())
    st.plotly_chart(figures.weights_chart(table), key=f"curve-{entry.id}",
                    alt="Pairs by score, and what is left of them by weight.")  # fmt: skip


def _touched(edits: Sequence[Edit]) -> pd.DataFrame:
    table = actions(edits)
    return table[table["action"] != "keep"]


def _norms(edits: Sequence[Edit]) -> NDArray[np.float64] | None:
    """Norms of the datapoint vectors, from a ranking that the edit reads, or the newest."""
    read = [run for edit in edits for run in edit.runs() if run.startswith("rank-")]
    rankings = [*read, *cache.store().finished("rank")]
    return selection.by_pair(rankings[0], "norm", cache.project().pairs) if rankings else None


@st.cache_resource(show_spinner=False, max_entries=4, hash_funcs={Project: Project.model_dump_json})
def _attributions(
    workspace: str, finished: tuple[str, ...], project: Project
) -> list[predict.Attribution]:
    return predict.attributions(cache.store(), project)
