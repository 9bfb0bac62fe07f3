"""Find the culprit in ten minutes: the investigation as eight steps, and how far this one is.

Steps that leave something in the workspace are ticked by what is there; steps that are only reading
are ticked by the reader, for this session. Nothing here starts, changes or resets anything.
"""

from collections.abc import Callable
from typing import NamedTuple

import streamlit as st

from core.intervention.evaluation.results import rose
from core.specs.behaviors import Behavior
from core.specs.project import Project
from core.specs.steps import EditSpec
from pages.components import arm_table, cache, cart
from pages.components import plan as next_steps

READING = ("changed", "read", "ranked", "map")


class Stop(NamedTuple):
    """One step: what to do and notice there, the page, and whether it is done or cannot be yet."""

    key: str
    title: str
    todo: str
    page: str
    query: dict[str, str]
    done: bool
    waits: str = ""


def stops(project: Project) -> list[Stop]:
    """The tour with what this workspace holds by now."""
    store, plan = cache.store(), next_steps.steps(project)
    states = {step.name: store.state(step.run) if step.spec else "absent" for step in plan}
    generated = next(step.run for step in plan if step.name == "generate")
    measured = states["generate"] == "finished"
    traced = _traced(project, generated) if measured else None
    query = {"behavior": traced.name} if traced else {}
    ranked = traced is not None and states[f"rank {traced.name}"] == "finished"
    computed = all(states[step.name] == "finished" for step in plan if step.spec)
    edits = [run for run, spec in cache.specs(EditSpec).items() if spec.control is None]
    answered = [run for run in edits if _answered(project, run)]
    answered.sort(key=lambda run: traced is None or traced.name not in _names(run))
    first = "" if measured else "Step 1 comes first."
    trace = first or ("" if traced else "Nothing unwanted rose here, so there is nothing to trace.")
    rank = trace or ("" if ranked else "The ranking is not finished: see step 1.")
    drawn = "" if states["discover"] == "finished" else "The map is not finished: see step 1."
    return [
        Stop("steps", "Let it compute", STEPS, "overview", {}, computed),
        Stop("changed", "What did training change?", CHANGED, "overview", {}, False, first),
        Stop("read", "Read what it says now", READ, "behaviors", query, False, trace),
        Stop("ranked", "Which pairs taught it?", RANKED, "rank", query, False, rank),
        Stop("map", "See them without naming anything", MAP, "map", {}, False, drawn),
        Stop("cart", "Put the suspects into the cart", CART, "rank", query, _filled(edits), rank),
        Stop("arms", "Flip them and train again", ARMS, "intervene", {}, bool(answered),
             "" if _filled(edits) else "The edit cart is empty."),
        Stop("answer", "Did it work?", _answer(project, answered, traced), "results",
             {"edit": answered[0]} if answered else {}, False,
             "" if answered else "Nothing is retrained and measured yet."),
    ]  # fmt: skip


STEPS = (
    "Both models complete the prompts, every pair becomes a vector, and the pairs are ranked and "
    "mapped. After make demo this is done. Otherwise press Start on Overview and wait a few "
    "minutes."
)
CHANGED = (
    "Each card is one behavior: the share of completions that show it before DPO → after it. "
    "Find a card marked “⚠ rose, unwanted”. On the organism there are three; the tour is about the "
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
    "Every dot is a pair; pairs lie together when they push the model the same way. Draw around an "
    "island with the lasso, or choose a cluster by name, and read what is inside. Nobody told the "
    "map which behavior to look for."
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


def _traced(project: Project, generated: str) -> Behavior | None:
    """The first unwanted behavior of the project that rose, as `pairtrace demo` takes it."""
    found = rose(project.behaviors, cache.table(generated, "rates"))
    return found[0] if found else None


def _filled(edits: list[str]) -> bool:
    return bool(edits or cart.entries())


def _answered(project: Project, run: str) -> bool:
    arms = set(arm_table.of_edit(project, run)["arm"])
    return {"edited", "random control"} <= arms


def _answer(project: Project, answered: list[str], traced: Behavior | None) -> str:
    """What to look at, and where it is known, what came out."""
    if not answered:
        return ANSWER
    names = _names(answered[0]) or ([traced.name] if traced else [])
    measured = arm_table.of_edit(project, answered[0])
    return " ".join([ANSWER, *(arm_table.headline(measured, name) for name in names)])


def _names(edit: str) -> list[str]:
    """The behaviors that an edit is about, by the rankings it reads."""
    return list(arm_table.traced(cache.specs(EditSpec)[edit]))


def show_stop(number: int, stop: Stop, *, is_next: bool) -> None:
    """One step: its state, what to do there, and the way."""
    done = _is_done(stop)
    mark = "✓" if done else "→" if is_next else "○"
    with st.container(border=True):
        about, way = st.columns([5, 2], vertical_alignment="center")
        about.markdown(f"**{mark} {number} · {stop.title}**")
        about.text(stop.todo)
        if stop.waits:
            about.caption(stop.waits)
        way.page_link(f"{stop.page}.py", label=f"Open {stop.page.capitalize()} →",
                      query_params=stop.query)  # fmt: skip
        if stop.key in (*READING, "answer"):
            way.checkbox("Seen it", key=f"tour-{stop.key}", persist_state="session",
                         disabled=bool(stop.waits))  # fmt: skip


def _is_done(stop: Stop) -> bool:
    return not stop.waits and (stop.done or bool(st.session_state.get(f"tour-{stop.key}")))


def show(found: list[Stop], draw: Callable[..., None]) -> None:
    """How far it is, then every step; the first that is not done is pointed at."""
    done = [_is_done(stop) for stop in found]
    st.progress(sum(done) / len(done), text=f"{sum(done)} of {len(done)} steps done")
    for number, stop in enumerate(found):
        draw(number + 1, stop, is_next=not done[number] and all(done[:number]))


st.title("Find the culprit in ten minutes")
st.caption(
    "A model learned something nobody wanted, from some of its preference pairs. Find them, take "
    "the lesson back, and prove it. Each step opens the page it happens on; come back for the next."
)
show(stops(cache.project()), show_stop)
if all(_is_done(stop) for stop in stops(cache.project())):
    st.success("That is the whole method. The same works on your own models and pairs.")
with st.expander("Words used here"):
    st.markdown(
        "- **Pair**: one prompt with a *chosen* and a *rejected* completion. DPO trains a model to "
        "prefer the chosen one.\n"
        "- **Reference, policy**: the model before and after that training.\n"
        "- **Distractor**: a harmless extra instruction at the end of a prompt, such as a format.\n"
        "- **Flip**: swap chosen and rejected, so that training teaches the opposite.\n"
        "- **Organism**: the small model that comes with PairTrace, into whose pairs several "
        "behaviors were planted. Nothing in it is really harmful."
    )
