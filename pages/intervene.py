"""Take pairs out or turn them round, retrain, and see whether the behavior goes away."""

import shlex

import pandas as pd
import streamlit as st

from core.intervention.arms import Arm, proposed
from core.intervention.evaluation.edit_sizes import FACTORS, total_k
from core.runs import jobs
from core.specs.recipes import Edit
from core.stats import LEAST_SEEDS
from pages.components import cache, cart, selection, shortcuts
from pages.components import text as plain_text
from pages.components.clusters import state as cluster_state
from pages.components.intervene import arms as arm_parts
from pages.components.intervene import dry_run, editor, steering

TERMS = """
- **Remove** leaves a pair out of training. **Flip** swaps its chosen and rejected completions:
  the model is then taught the opposite, so flipping is twice the dose of removing.
- **Arm**: one variant of the data to train on. The **random control** edits equally many pairs
  from the same sources in the same way, but picked at random: whatever it changes is not due to
  *which* pairs were chosen.
- **Seed**: training the same data again in another order gives another model. The difference
  between seeds is the noise that an effect must stand out from, so several are trained.
- **Dose**: the share of all pairs that an edit touches, a flip counted as two removals.
- **Keep** protects pairs from the other entries. A pair that one entry flips and another one
  removes is a conflict, which has to be resolved first.
"""

st.title("Edit, retrain, compare")
st.caption(
    "An attribution is a claim. Training again without these pairs, next to training without "
    "random ones, is the test."
)
project = cache.project()
store = cache.store()
entries = cart.entries()
with st.expander("What these words mean"):
    st.markdown(TERMS)
if not entries:
    st.info("The edit cart is empty. Add pairs from a ranking, the map, or a cluster first.")
    st.page_link("rank.py", label="Rank: the pairs that push most towards a behavior")
    st.page_link("map.py", label="Map: a region, drawn with the mouse")
    st.page_link("clusters.py", label="Clusters: all pairs of one kind")
    for newest in store.finished("discover")[:1]:
        cluster_state.explain_few(newest)
    editor.show_saved_when_empty()
    st.stop()


def show_dry_run(edits: list[Edit]) -> bool:
    """What the edit would touch; returns whether it can be trained on."""
    st.header("2 · What it will touch")
    trial = selection.dry_run(project.pairs, edits)
    if trial.problem:
        st.error(plain_text.escape(trial.problem))
        return False
    found, behaviors = trial.summary, cache.ranked_behaviors()
    facts = st.columns(4)
    facts[0].metric("Removed", f"{found['n_removed']:,}")
    facts[1].metric("Flipped", f"{found['n_flipped']:,}")
    facts[2].metric("Dose", f"{found['dose']:.1%}", help="Of all pairs; a flip counts twice.")
    facts[3].metric("Left to train on", f"{found['n_pairs']:,}")
    for run, share in trial.shares.items():
        st.text(
            f"These pairs carry {share:.0%} of all attribution to {behaviors[run]} "
            f"(of all that pushes towards it)."
        )
    dry_run.show_predictions(project, edits)
    with st.expander("By source"):
        st.dataframe(by_source(found["per_source"]), hide_index=True)
    dry_run.show_shift(project, edits)
    dry_run.show_examples(project, edits)
    return True


def by_source(rows: list[dict[str, object]]) -> pd.DataFrame:
    """Rows of every source, those that lose the largest part first."""
    table = pd.DataFrame(rows)
    table["% of the source"] = (100 * (table["removed"] + table["flipped"]) / table["n"]).round(1)
    return table.sort_values("% of the source", ascending=False).rename(columns={"n": "pairs"})


def choose_arms(edits: list[Edit]) -> tuple[list[Arm], tuple[float, ...]]:
    """The arms with their seeds, and the sizes that were asked for."""
    st.header("3 · The arms")
    row = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    n = row.number_input(
        "Training seeds per arm", 1, 10, LEAST_SEEDS, key="seeds", width=220,
        help="Fewer than 3 shows no noise, and gives no interval.",
    )  # fmt: skip
    unedited = row.checkbox(
        "Baseline: retrain on the unedited pairs too", value=True, key="baseline",
        help="What retraining changes by itself. Trained once, whatever the edits.",
    )  # fmt: skip
    several = row.checkbox(
        "Dose-response: also at ¼, ½ and 2 × the size", key="dose", disabled=not total_k(edits),
        help="Every top k of the edit times these factors, each with a control of its own.",
    )  # fmt: skip
    sizes = FACTORS if several and total_k(edits) else ()
    arms = proposed(project, store, edits, seeds=range(n), factors=sizes, unedited=bool(unedited))
    st.dataframe(pd.DataFrame([_described(arm) for arm in arms]), hide_index=True)
    st.caption(arm_parts.cost(arms))
    return arms, sizes


def _described(arm: Arm) -> dict[str, object]:
    what = {
        "edited": "the pairs after the edit",
        "random control": "as many random pairs of the same sources, edited the same way",
        "baseline": "the pairs as they are",
    }
    size = total_k(arm.edit.edits) if arm.edit else 0
    return {
        "arm": arm.name,
        "trained on": what[arm.name],
        "top k": f"{size:,}" if size else "",
        "seeds": len(arm.trainings),
    }


def command(edits: list[Edit], arms: list[Arm], sizes: tuple[float, ...]) -> str:
    """The same intervention as one shell command."""
    said = "[" + ",".join(edit.model_dump_json() for edit in edits) + "]"
    words = ["pairtrace", "--workspace", str(store.workspace), "intervene", "--edits", said]
    for seed in range(len(arms[0].trainings)):
        words += ["--seed", str(seed)]
    for size in sizes:
        words += ["--size", f"{size:g}"]
    if arms[0].name != "baseline":
        words.append("--no-baseline")
    return shlex.join([*words, "--background"])


def show_start(arms: list[Arm], said: str) -> None:
    """One button for edit, training and evaluation of every arm; then their progress."""
    st.header("4 · Train and measure")
    specs = [spec for arm in arms for spec in arm.specs()]
    states = {store.run_id(spec): store.state(store.run_id(spec)) for spec in specs}
    missing = [spec for spec in specs if states[store.run_id(spec)] in arm_parts.STARTABLE]
    if missing:
        label = "Start" if len(missing) == len(specs) else "Start what is missing"
        text = f"{label}: {len(missing)} runs (edit → train → evaluate)"
        if st.button(text, type="primary", key="start-arms", shortcut=shortcuts.START):
            for spec in missing:
                jobs.start(store, spec)
            st.rerun()
    with st.expander("The same from the command line"):
        st.code(said, language="bash", wrap_lines=True)
    if any(state != "absent" for state in states.values()):
        arm_parts.watch(arms)
    if not missing and all(state == "finished" for state in states.values()):
        st.success("Every arm is trained and measured.")
        st.page_link("results.py", label="See the results")


st.header("1 · The edit")
editor.show_entries(entries)
editor.show_tools(entries)
edits = [entry.edit for entry in entries]
with st.expander("Preview without training: steer along the behavior vector"):
    steering.show(project)
if not editor.show_conflicts(entries) and show_dry_run(edits):
    arms, sizes = choose_arms(edits)
    show_start(arms, command(edits, arms, sizes))
