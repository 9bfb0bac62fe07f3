"""Guided tour: the investigation as eight steps, how far this workspace is, and where to start."""

import streamlit as st

from pages.components import cache, glossary, tour


def show_stop(number: int, stop: tour.Stop, *, is_next: bool) -> None:
    """One step: its state, what to do there, and a button that goes there."""
    mark = "✓" if stop.is_done(number) else "→" if is_next else "○"
    with st.container(border=True):
        about, link = st.columns([5, 2], vertical_alignment="center")
        about.markdown(f"**{mark} {number} · {stop.title}**")
        about.text(stop.todo)
        if stop.blocked:
            about.caption(stop.blocked)
        label, kind = f"Go to {stop.page.capitalize()} →", "primary" if is_next else "secondary"
        if link.button(label, key=f"tour-{number}", type=kind):
            tour.go_to(stops, number)


st.title("Find the culprit in ten minutes")
st.caption(
    "A model learned something nobody wanted, from some of its preference pairs. Find them, undo "
    "what they taught, and prove it. Begin with a step: a bar walks along, rings what to click, "
    "and knows where you were when you come back."
)
stops = tour.stops(cache.project())
done = [stop.is_done(number) for number, stop in enumerate(stops, 1)]
st.progress(sum(done) / len(done), text=f"{sum(done)} of {len(done)} steps done")
for number, stop in enumerate(stops, 1):
    show_stop(number, stop, is_next=not done[number - 1] and all(done[: number - 1]))
if all(done):
    st.success("That is the whole method. The same works on your own models and pairs.")
glossary.show(
    "Pair", "Reference, policy", "Condition", "Remove, flip", "Organism",
    title="Words used here",
)  # fmt: skip
