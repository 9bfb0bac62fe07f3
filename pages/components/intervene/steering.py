"""Steering: whether the behavior vector moves the behavior at all, in a minute, without training.

The vector is added to the reference, and its direction projected out of the policy, both at the
layer it was read from; both are then measured like every other model.
"""

import pandas as pd
import streamlit as st

from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.specs.steps import EvaluateSpec
from pages.components import cache, completions, jobs

TERMS = """
- **Reference + vector**: at every token, the behavior vector is added to the residual stream that
  the reference reads at that layer. If the behavior appears, the direction is enough to cause it.
- **Policy without it**: the component along the vector is projected out of the policy's residual
  stream at that layer. If the behavior goes, the policy needs the direction to show it.
- Steering changes a running model, not what it learnt from which pairs: it tests the *vector* of
  the ranking. Only retraining tests whether the *pairs* taught the behavior: a preview that shows
  nothing does not refute a ranking, since one direction at one layer may not carry the behavior
  alone. Large coefficients break any model: read the completions, and see what else moved.
"""
MODELS = ("reference", "reference + vector", "policy", "policy without it")


def show(project: Project) -> None:
    """The section: which vector, how strong, then rates and completions side by side."""
    measured = {behavior.name for behavior in project.behaviors}
    ranked = {name: run for run, name in reversed(cache.ranked_behaviors().items())
              if name in measured and cache.store().state(run) == "finished"}  # fmt: skip
    if not ranked:
        st.info("A preview needs a ranked behavior with a flag: its vector is what steers.")
        return
    left, right = st.columns(2, vertical_alignment="bottom")
    name = left.selectbox("Vector of", list(ranked), key="preview-behavior")
    coefficient = right.number_input(
        "Coefficient of the added vector", -10.0, 10.0, 1.0, 0.5, key="preview-coefficient",
        help="1 adds the mean difference between policy and reference completions once.",
    )  # fmt: skip
    run, behavior = ranked[name], project.behavior(name)
    st.caption(f"Read and written at layer {cache.summary(run)['layer']}.")
    specs = models(project, run, coefficient)
    runs = {model: cache.store().run_id(spec) for model, spec in specs.items()}
    missing = [model for model, run in runs.items() if cache.store().state(run) != "finished"]
    for model in missing:
        jobs.panel(specs[model], f"Measure: {model}")
    if not missing:
        _show_rates(runs, project, behavior)
        _show_completions(runs, behavior)
    with st.expander("What this shows, and what it does not"):
        st.markdown(TERMS)


def models(project: Project, rank: str, coefficient: float) -> dict[str, EvaluateSpec]:
    """The four evaluations, in the order in which they are shown."""
    reference, policy = project.evaluate(project.reference), project.evaluate(project.policy)
    added = {"vector": rank, "steering": "add", "coefficient": coefficient}
    out = {"vector": rank, "steering": "project_out"}
    specs = (reference, reference.model_copy(update=added), policy, policy.model_copy(update=out))
    return dict(zip(MODELS, specs, strict=True))


def _show_rates(runs: dict[str, str], project: Project, behavior: Behavior) -> None:
    rates = {model: cache.table(run, "rates").set_index("behavior") for model, run in runs.items()}
    before, added, policy, without = (rates[model].loc[behavior.name, "rate"] for model in MODELS)
    st.info(
        f"Adding the vector takes the reference from {before:.1%} to {added:.1%}; projecting it "
        f"out takes the policy from {policy:.1%} to {without:.1%}."
    )
    rows = [
        {
            "behavior": behavior.name + (" (wanted)" if behavior.wanted else ""),
            **{model: _rate(table.loc[behavior.name]) for model, table in rates.items()},
            "n, each": int(rates[MODELS[0]].loc[behavior.name, "n"]),
        }
        for behavior in project.behaviors
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True)


def _rate(row: pd.Series) -> str:
    if pd.isna(row["rate"]):
        return "nothing scored"
    return f"{row['rate']:.1%} [{row['low']:.1%}, {row['high']:.1%}]"


def _show_completions(runs: dict[str, str], behavior: Behavior) -> None:
    which = st.segmented_control(
        "Completions of", ["reference", "policy"], default="reference", required=True,
        key="preview-side",
    )  # fmt: skip
    before, after = MODELS[:2] if which == "reference" else MODELS[2:]
    completions.compare(
        (before, runs[before]), (after, runs[after]), behavior, key=f"preview-prompt-{which}"
    )
