"""The guided tour: eight steps through an investigation, and the bar that walks along with them.

Steps that leave something in the workspace are done by what is there; steps that are only reading
are done once the reader went on. How far somebody is, is kept in the workspace. Nothing here
starts, changes or resets anything else.
"""

import json
from typing import NamedTuple

import streamlit as st

from core.intervention.evaluation.results import rose
from core.specs.project import Project
from core.specs.recipes import EditSpec
from pages.components import arm_table, cache, cart, plan, text

STEP, REACHED = "tour-step", "tour-reached"  # choices: the bar's step (0: none), the furthest
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
CART = "Rank suggests where to cut. Keep its number, and press Add … pairs to the edit cart."
ARMS = (
    "Look at what the edit touches and is predicted to do, then start. One seed is enough for a "
    "first look (a few minutes), three for an answer. Beside the edit, as many random pairs of the "
    "same sources are left out: whatever that changes is not due to your choice."
)
ANSWER = (
    "Compare edited with random control on held-out prompts. Then look at what got worse, and at "
    "what stayed: an edit undoes one behavior, not all of them."
)


# What to click, as CSS selects it: a keyed element has its key as a class.
START, ADD, TRAIN = ".st-key-start-all", ".st-key-add-ranking", ".st-key-start-arms"
WORST, PROMPTS = ".st-key-change-0", '[class*="st-key-prompts-"]'
ROWS, CHART = '[class*="st-key-rows-rank-"]', '[class*="st-key-region-"]'
VERDICT = '.stMain [data-testid="stAlert"]'
RING = "{outline: 3px solid #E69F00; outline-offset: 4px; border-radius: 4px}"
SCROLL = """
<script>
if (window.tourStep !== NUMBER) {  // once a step: who reads on is not taken back
  window.tourStep = NUMBER;
  const show = (left) => {
    const element = document.querySelector(WHAT);
    if (element) element.scrollIntoView({block: "nearest"});
    else if (left) setTimeout(() => show(left - 1), 250);
  };
  show(80);
}
</script>
"""


class Stop(NamedTuple):
    """One step: what to do there, the page and its query, what is ringed, and what blocks it.

    `done` is None where only the reader can tell, else whether the workspace has what it leaves.
    """

    title: str
    todo: str
    page: str
    ring: str
    done: bool | None = None
    blocked: str = ""
    query: dict[str, str] | None = None

    def is_done(self, number: int) -> bool:
        """Whether it is done, by the workspace or since the reader went on from it."""
        done = number < cache.last(REACHED, 0, range(10)) if self.done is None else self.done
        return not self.blocked and bool(done)


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
        Stop("Let it compute", STEPS, "overview", START, computed),
        Stop("What did training change?", CHANGED, "overview", WORST, blocked=first),
        Stop("Read what it says now", READ, "behaviors", PROMPTS, blocked=trace, query=query),
        Stop("Which pairs taught it?", RANKED, "rank", ROWS, blocked=rank, query=query),
        Stop("See them without naming anything", MAP, "map", CHART, blocked=draw),
        Stop("Put the suspects into the cart", CART, "rank", ADD, filled, rank, query),
        Stop("Leave them out and train again", ARMS, "intervene", TRAIN, bool(answered), fill),
        Stop("Did it work?", answer, "results", VERDICT, blocked=measure, query=result),
    ]


def show_bar(page: str) -> None:
    """On the page with this path: the step of the tour, while one is taken, and the way on."""
    step = cache.last(STEP, 0, range(9)) if cache.has_project() else 0
    if not step:
        return
    tour = stops(cache.project())
    stop = tour[step - 1]
    with st.container(border=True, key="tour-bar"):
        words, back, forward, out = st.columns([10, 1.3, 1.3, 0.7], vertical_alignment="center")
        mark = " ✓" if stop.is_done(step) else ""
        words.markdown(f"**Step {step} of {len(tour)} · {stop.title}{mark}** · {stop.todo}")
        if stop.blocked:
            words.caption(text.escape(stop.blocked))
        if page != stop.page:
            label = f"This step is on {stop.page.capitalize()} →"
            words.page_link(f"{stop.page}.py", label=label, query_params=stop.query or {})
        if back.button("← Back", key="tour-back", disabled=step == 1, width="stretch"):
            go_to(tour, step - 1)
        if step < len(tour):
            if forward.button("Next →", key="tour-next", type="primary", width="stretch"):
                go_to(tour, step + 1)
        elif forward.button("Finish", key="tour-next", type="primary", width="stretch"):
            leave(len(tour))
        if out.button("✕", key="tour-out", help="Leave the tour", type="tertiary"):
            leave(0)
    if page == stop.page:
        script = SCROLL.replace("NUMBER", str(step)).replace("WHAT", json.dumps(stop.ring))
        st.html(script, unsafe_allow_javascript=True)
    link = f'[data-testid="stSidebarNavLink"][href$="/{stop.page}"]'
    st.html(f"<style>{stop.ring if page == stop.page else link} {RING}</style>")


def go_to(tour: list[Stop], step: int) -> None:
    """Take a step of the tour, on its page."""
    cache.keep(STEP, step)
    cache.keep(REACHED, max(step, cache.last(REACHED, 0, range(10))))
    stop = tour[step - 1]
    for key, value in (stop.query or {}).items():  # of widgets, which own their part of the URL
        st.session_state[key] = value
    st.switch_page(f"{stop.page}.py")


def leave(finished: int) -> None:
    """Take the bar away; `finished` steps, if any, count as read."""
    cache.keep(STEP, 0)
    cache.keep(REACHED, max(finished + 1, cache.last(REACHED, 0, range(10))))
    st.rerun()


def _is_answered(project: Project, edit: str) -> bool:
    return {"edited", "random control"} <= set(arm_table.of_edit(project, edit)["arm"])
