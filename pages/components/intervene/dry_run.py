"""What an edit does before anything is trained on it: predicted rates, covariate shift, examples.

Uses the functions of the edit step and of the results, so that what is shown here is what will be
trained on and compared later.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from core.intervention.edits import predict
from core.intervention.edits.checks import NOTABLE, covariate_shift
from core.specs.project import Project
from core.specs.recipes import Edit
from pages.components import arm_table, cache, selection, text, theme

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


def _touched(edits: Sequence[Edit]) -> pd.DataFrame:
    table = actions(edits)
    return table[table["action"] != "keep"]


def _norms(edits: Sequence[Edit]) -> NDArray[np.float64] | None:
    """Norms of the datapoint vectors, from a ranking that the edit reads, or the newest."""
    read = [run for edit in edits for run in edit.recipe.runs() if run.startswith("rank-")]
    rankings = [*read, *cache.store().finished("rank")]
    return selection.by_pair(rankings[0], "norm", cache.project().pairs) if rankings else None


@st.cache_resource(show_spinner=False, max_entries=4, hash_funcs={Project: Project.model_dump_json})
def _attributions(
    workspace: str, finished: tuple[str, ...], project: Project
) -> list[predict.Attribution]:
    return predict.attributions(cache.store(), project)
