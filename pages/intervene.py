"""Remove or flip pairs, retrain, and see whether the behavior goes away."""

import shlex

import pandas as pd
import streamlit as st

from core.intervention.arms import Arm, proposed
from core.intervention.edits.checks import in_words, n_touched
from core.intervention.evaluation.edit_sizes import FACTORS, total_k
from core.specs.recipes import Edit
from core.stats import LEAST_SEEDS
from pages.components import cache, cart, glossary, jobs, pickers, selection, shortcuts, text
from pages.components.clusters import state
from pages.components.intervene import arms, dry_run, editor, steering

TRAINED_ON = {
    "edited": "the pairs after the edit",
    "random control": "as many random pairs of the same sources, edited the same way",
    "baseline": "the pairs as they are",
}

st.title("Edit, retrain, compare")
st.caption(
    "An attribution is a claim. Training again without these pairs, next to training without "
    "random ones, is the test."
)
project = cache.project()
store = cache.store()
entries = cart.entries()
glossary.show("Remove, flip", "Keep", "Dose", "Undone", "Predicted change", "Arm", "Seed")
if not entries:
    st.info("The edit cart is empty. Add pairs from a ranking, the map, or a cluster first.")
    st.page_link("rank.py", label="Rank: the pairs that push most towards a behavior")
    st.page_link("map.py", label="Map: a region, drawn with the mouse")
    st.page_link("clusters.py", label="Clusters: all pairs of one cluster")
    for newest in store.finished("discover")[:1]:
        state.explain_few(newest)
    editor.show_saved_when_empty()
    st.stop()


def show_dry_run(edits: list[Edit]) -> bool:
    """What the edit would touch; returns whether it can be trained on."""
    st.header("2 · What it will touch")
    trial = selection.dry_run(project.pairs, edits)
    if trial.problem:
        st.error(text.escape(trial.problem))
        return False
    summary, behaviors = trial.summary, cache.ranked_behaviors()
    facts = st.columns(4)
    facts[0].metric("Removed", f"{summary['n_removed']:,}")
    facts[1].metric("Flipped", f"{summary['n_flipped']:,}")
    facts[2].metric("Dose", f"{summary['dose']:.1%}", help="Of all pairs; a flip counts twice.")
    facts[3].metric("Left to train on", f"{summary['n_pairs']:,}")
    if n_touched(summary) > summary["n_removed"] + summary["n_flipped"]:
        st.text(f"{in_words(summary)}.")
    if "n_relabel" in summary:
        st.caption("The judge votes when the edit is made. Until then all of these count as flips.")
    for run, share in trial.shares.items():
        st.text(f"These pairs carry {share:.0%} of all positive attribution to {behaviors[run]}.")
    dry_run.show_predictions(project, edits)
    with st.expander("By source"):
        st.dataframe(by_source(summary["per_source"]), hide_index=True)
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
        "Training seeds per arm", 1, 10, cache.last("seeds", LEAST_SEEDS, range(1, 11)),
        key="seeds", width=220, help="Fewer than 3 shows no noise, and gives no interval.",
    )  # fmt: skip
    unedited = row.checkbox(
        "Baseline: retrain on the unedited pairs too", key="baseline",
        value=cache.last("baseline", True, (True, False)),
        help="What retraining changes by itself. Trained once, whatever the edits.",
    )  # fmt: skip
    several = row.checkbox(
        "Dose-response: also at ¼, ½ and 2 × the size", key="dose", disabled=not total_k(edits),
        value=cache.last("dose", False, (True, False)),
        help="Every top k of the edit times these factors, each with a control of its own.",
    )  # fmt: skip
    for key, value in (("seeds", n), ("baseline", unedited), ("dose", several)):
        cache.keep(key, value)
    sizes = FACTORS if several and total_k(edits) else ()
    plan = proposed(project, store, edits, seeds=range(n), factors=sizes, unedited=bool(unedited))
    top_k = [total_k(arm.edit.edits) if arm.edit else 0 for arm in plan]
    table = {
        "arm": [arm.name for arm in plan],
        "trained on": [TRAINED_ON[arm.name] for arm in plan],
        "top k": [f"{k:,}" if k else "" for k in top_k],
        "seeds": [len(arm.trainings) for arm in plan],
    }
    st.dataframe(pd.DataFrame(table), hide_index=True)
    st.caption(arms.cost(plan))
    return plan, sizes


def command(edits: list[Edit], plan: list[Arm], sizes: tuple[float, ...]) -> str:
    """The same intervention as one shell command."""
    recipes = "[" + ",".join(edit.model_dump_json() for edit in edits) + "]"
    words = ["pairtrace", "--workspace", str(store.workspace), "intervene", "--edits", recipes]
    for seed in range(len(plan[0].trainings)):
        words += ["--seed", str(seed)]
    for size in sizes:
        words += ["--size", f"{size:g}"]
    if plan[0].name != "baseline":
        words.append("--no-baseline")
    return shlex.join([*words, "--background"])


def show_start(plan: list[Arm], command: str) -> None:
    """One button for edit, training and evaluation of every arm; then their progress."""
    st.header("4 · Train and measure")
    specs = [spec for arm in plan for spec in arm.specs()]
    states = [store.state(store.run_id(spec)) for spec in specs]
    missing = [spec for spec, state in zip(specs, states, strict=True) if state in jobs.STARTABLE]
    if missing:
        label = "Start" if len(missing) == len(specs) else "Start what is missing"
        label += f": {len(missing)} runs (edit → train → evaluate)"
        if st.button(label, type="primary", key="start-arms", shortcut=shortcuts.START):
            jobs.start(*missing)
    jobs.show_commands(command)
    if set(states) != {"absent"}:
        arms.watch(plan)
    if set(states) == {"finished"}:
        st.success("Every arm is trained and measured.")
        st.page_link("results.py", label="See the results")


st.header("1 · The edit")
editor.show_entries(entries)
editor.show_tools(entries)
edits = [entry.edit for entry in entries]
if project.behaviors:
    with st.expander("Preview without training: steer along the behavior vector"):
        steering.show(project)
if not editor.show_conflicts(entries) and show_dry_run(edits):
    pickers.require_behaviors(project)
    plan, sizes = choose_arms(edits)
    show_start(plan, command(edits, plan, sizes))
