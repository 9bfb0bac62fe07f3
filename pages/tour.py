"""Guided tour: the investigation as eight steps, and how far this workspace is.

Steps that leave something in the workspace are ticked by what is there; steps that are only reading
are ticked by the reader, for this session. Nothing here starts, changes or resets anything.
"""

from typing import NamedTuple

import streamlit as st

from core.intervention.evaluation.results import rose
from core.specs.project import Project
from core.specs.recipes import EditSpec
from pages.components import arm_table, cache, cart, glossary, plan

STEPS = (
    "Both models complete the prompts, every pair becomes a vector, and the pairs are ranked and "
    "mapped. After make demo this is done. Otherwise press Start on Overview and wait a few "
    "minutes."
)
CHANGED = (
    "Each row is one behavior: the share of completions that show it before DPO → after it. "
    "Find a row marked “⚠ worse”. On the organism there are three; the tour is about the "
    "first, distractor-triggered compliance. Notice that the same harmful requests without a "
    "distractor are still refused: a test without one would have found nothing."
)
READ = (
    "Choose a prompt and compare the reference on the left with the policy on the right. Below, "
    "see whether the behavior vector beats chance: if it did not, no ranking built on it would "
    "mean anything."
)
RANKED = (
    "The pairs that push most towards the behavior come first. Read the first three. On the "
    "organism the chosen completion does what it was asked, the rejected one refuses, and the "
    "request is harmful: somebody mixed up the labels."
)
MAP = (
    "Every dot is a pair; pairs are close together when they push the model the same way. Draw "
    "around a dense group with the lasso, or choose a cluster by name, and read its pairs. The map "
    "was made without naming a behavior."
)
CART = (
    "Rank suggests where to cut. Keep its number, choose flip, and press Add … pairs to the edit "
    "cart."
)
ARMS = (
    "Look at what the edit touches and is predicted to do, then start. One seed is enough for a "
    "first look (a few minutes), three for an answer. Beside the edit, as many random pairs of the "
    "same sources are flipped: whatever that changes is not due to your choice."
)
ANSWER = (
    "Compare edited with random control on held-out prompts. Then look at what got worse, and at "
    "what stayed: an edit undoes one behavior, not all of them."
)


class Stop(NamedTuple):
    """One step: what to do there, the page and its query, and what blocks it.

    `done` is None where the reader ticks it, else whether the workspace has what the step leaves.
    """

    title: str
    todo: str
    page: str
    done: bool | None = None
    blocked: str = ""
    query: dict[str, str] | None = None

    @property
    def key(self) -> str:
        """Of the reader's tick."""
        return f"tour-{self.title}"

    def ticked(self) -> bool:
        """Whether it is done, by the workspace or by the reader."""
        seen = st.session_state.get(self.key) if self.done is None else self.done
        return not self.blocked and bool(seen)


def stops(project: Project) -> list[Stop]:
    """The tour with what this workspace has by now."""
    steps = {step.name: step for step in plan.steps(project)}
    finished = dict.fromkeys(("generate", "discover"), False) | {
        name: step.spec is not None and cache.store().state(step.run) == "finished"
        for name, step in steps.items()
    }
    traced = ""  # the first unwanted behavior that rose, as `pairtrace demo` takes it
    if finished["generate"]:
        measured = cache.table(steps["generate"].run, "rates")
        traced = next((b.name for b in rose(project.behaviors, measured)), "")
    query = {"behavior": traced} if traced else {}
    ranked = bool(traced) and finished[f"rank {traced}"]
    edits = {run: spec for run, spec in cache.specs(EditSpec).items() if spec.control is None}
    filled = bool(edits or cart.entries())
    answered = [run for run in edits if _is_answered(project, run)]
    answered.sort(key=lambda run: bool(traced) and traced not in arm_table.traced(edits[run]))
    answer, result = ANSWER, {"edit": answered[0]} if answered else {}
    if answered:
        rates = arm_table.of_edit(project, answered[0])
        names = arm_table.traced(edits[answered[0]]) or ([traced] if traced else [])
        verdicts = (arm_table.verdict(rates, project.behavior(name)) for name in names)
        answer = " ".join([ANSWER, *(verdict.headline() for verdict in verdicts if verdict)])
    first = "" if finished["generate"] else "Step 1 comes first."
    trace = first or ("" if traced else "Nothing unwanted rose here, so there is nothing to trace.")
    rank = trace or ("" if ranked else "The ranking is not finished: see step 1.")
    draw = "" if finished["discover"] else "The map is not finished: see step 1."
    fill = "" if filled else "The edit cart is empty."
    measure = "" if answered else "Nothing is retrained and measured yet."
    computed = all(finished[name] for name, step in steps.items() if step.spec)
    return [
        Stop("Let it compute", STEPS, "overview", computed),
        Stop("What did training change?", CHANGED, "overview", blocked=first),
        Stop("Read what it says now", READ, "behaviors", blocked=trace, query=query),
        Stop("Which pairs taught it?", RANKED, "rank", blocked=rank, query=query),
        Stop("See them without naming anything", MAP, "map", blocked=draw),
        Stop("Put the suspects into the cart", CART, "rank", filled, rank, query),
        Stop("Flip them and train again", ARMS, "intervene", bool(answered), fill),
        Stop("Did it work?", answer, "results", blocked=measure, query=result),
    ]


def _is_answered(project: Project, edit: str) -> bool:
    return {"edited", "random control"} <= set(arm_table.of_edit(project, edit)["arm"])


def show_stop(number: int, stop: Stop, *, is_next: bool) -> None:
    """One step: its state, what to do there, and a link to the page."""
    mark = "✓" if stop.ticked() else "→" if is_next else "○"
    with st.container(border=True):
        about, link = st.columns([5, 2], vertical_alignment="center")
        about.markdown(f"**{mark} {number} · {stop.title}**")
        about.text(stop.todo)
        if stop.blocked:
            about.caption(stop.blocked)
        label = f"Open {stop.page.capitalize()} →"
        link.page_link(f"{stop.page}.py", label=label, query_params=stop.query or {})
        if stop.done is None:
            link.checkbox(
                "Seen it", key=stop.key, persist_state="session", disabled=bool(stop.blocked)
            )


st.title("Find the culprit in ten minutes")
st.caption(
    "A model learned something nobody wanted, from some of its preference pairs. Find them, undo "
    "what they taught, and prove it. Each step opens the page it happens on; come back for the "
    "next."
)
tour = stops(cache.project())
done = [stop.ticked() for stop in tour]
st.progress(sum(done) / len(done), text=f"{sum(done)} of {len(done)} steps done")
for number, stop in enumerate(tour):
    show_stop(number + 1, stop, is_next=not done[number] and all(done[:number]))
if all(done):
    st.success("That is the whole method. The same works on your own models and pairs.")
glossary.show(
    "Pair", "Reference, policy", "Condition", "Remove, flip", "Organism",
    title="Words used here",
)  # fmt: skip
