"""What an edit does before anything is trained: actions, predictions, shifts; kept in memory.

Asked of the functions that the edit step and the results use, so that what is shown here is what
will be trained on and compared later.
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
from pages.components import arm_table, cache, selection, text

PREDICTION_TERMS = """
To first order every pair moves the *log-odds* of a behavior by its attribution. **Taken back** is
the share of all positive attribution to a behavior that the edit takes away (a flip counts twice);
the predicted rate goes back that share of the way from policy to reference. Above 100% it goes
beyond. For behaviors without a ranking of their own, the map's matrix is read: how far *whatever
changed on these prompts* is taken back. A prediction knows nothing of what other pairs make up
for, nor of how much retraining varies by itself: the Results page shows how far such predictions
held here.
"""
SHIFT_TERMS = """
Difference is in standard deviations over all pairs. Where it is large, retraining without these
pairs also changes how long (or how strongly marked) the training completions are, and the random
control does not share that.
"""


def actions(edits: Sequence[Edit]) -> pd.DataFrame:
    """What is done to which pair; `UserError` where the edit cannot be."""
    return selection.actions(cache.project().pairs, edits)


def attributions(project: Project) -> list[predict.Attribution]:
    """How far each pair pushes each behavior, of all that anything is known of."""
    store = cache.store()
    known = (*store.finished("rank"), *store.finished("discover"))
    return _attributions(str(store.workspace), known, project)


def most_touched(project: Project, run: str) -> str | None:
    """The ranked behavior of whose attribution a finished edit takes back most."""
    touched = cache.table(run, "actions")
    shares = {
        one.behavior.name: predict.undone(one.values, touched)
        for one in attributions(project)
        if one.run.startswith("rank-")
    }
    return max(shares, key=lambda name: abs(shares[name]), default=None)


def show_predictions(project: Project, edits: Sequence[Edit]) -> None:
    """The predicted rate of every behavior that anything is known of, wanted ones too."""
    st.subheader("What it should do, and what would move with it")
    known = attributions(project)
    if not known:
        st.info("Nothing is ranked or mapped yet, so nothing is predicted.")
        return
    table = predict.predict(actions(edits), known, arm_table.all_measured(project))
    st.dataframe(
        pd.DataFrame(
            {
                "behavior": table["behavior"],
                "kind": table["wanted"].map({True: "wanted", False: "unwanted"}),
                "taken back": (100 * table["undone"]).round() + 0.0,  # no -0
                "reference": 100 * table["reference"],
                "now": 100 * table["before"],
                "predicted": 100 * table["predicted"],
                "change, points": (100 * (table["predicted"] - table["before"])).round(1) + 0.0,
                "read from": table["read from"]
                .str.partition("-")[0]
                .map({"rank": "its ranking", "discover": "the map"}),
            }
        ),
        hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(format=form)
            for name, form in {
                "taken back": "%.0f %%",
                "reference": "%.1f %%",
                "now": "%.1f %%",
                "predicted": "%.1f %%",
                "change, points": "%+.1f",
            }.items()
        },
    )
    unknown = [b.name for b in project.behaviors if b.name not in set(table["behavior"])]
    if unknown:
        said = ", ".join(map(text.escape, unknown))
        st.caption("Not predicted, for nothing is known of their prompts: " + said)
    if table["before"].isna().any():
        st.caption("Rates appear once reference and policy are measured on the held-out prompts.")
    with st.expander("How this is predicted"):
        st.markdown(PREDICTION_TERMS)


def show_shift(project: Project, edits: Sequence[Edit]) -> None:
    """Length and norm of the touched pairs against the rest."""
    found = actions(edits)
    touched = found.loc[found["action"] != "keep", "uid"]
    pairs = cache.pairs(project.pairs)
    own = np.zeros(len(pairs), bool)
    own[pairs.positions(touched)] = True
    table = covariate_shift(pairs.lengths, own, _norms(edits))
    notable = table[table["difference"].abs() >= NOTABLE]
    if len(notable):
        far = [f"{row.what} {row.difference:+.1f}" for row in notable.itertuples()]
        st.text("Unlike the other pairs, in standard deviations: " + "; ".join(far) + ".")
    with st.expander(
        "Length and norm of the touched pairs against the rest"
        + ("" if len(notable) else ": alike")
    ):
        st.dataframe(table.round(2), hide_index=True)
        st.caption(SHIFT_TERMS)


def show_examples(project: Project, edits: Sequence[Edit]) -> None:
    """A few of the touched pairs, to read before training on the edit."""
    found = actions(edits)
    touched = found[found["action"] != "keep"]
    with st.expander(f"Read some of the {len(touched):,} touched pairs"):
        number = st.number_input("Touched pair", 1, len(touched), 1, key="touched-pair")
        row = touched.iloc[number - 1]
        st.text(text.visible(f"{row['action']}: {row['why'] or 'no reason given'}"))
        pairs = cache.pairs(project.pairs)
        text.show_pair(pairs.rows(pairs.positions([row["uid"]])).iloc[0])


def _norms(edits: Sequence[Edit]) -> NDArray[np.float64] | None:
    """Norms of the datapoint vectors, from a ranking that the edit reads, or the newest."""
    read = [run for edit in edits for run in edit.recipe.runs() if run.startswith("rank-")]
    ranked = [*read, *cache.store().finished("rank")]
    return selection.by_pair(ranked[0], "norm", cache.project().pairs) if ranked else None


@st.cache_resource(show_spinner=False, max_entries=4, hash_funcs={Project: Project.model_dump_json})
def _attributions(
    workspace: str, finished: tuple[str, ...], project: Project
) -> list[predict.Attribution]:
    return predict.attributions(cache.store(), project)
