"""The edit cart: what to do to which pairs, stored in the catalog, shown on every page.

Entries are recipes, so that they can be replayed and trained on. The catalog records who added
them and why, and nothing is lost when two people edit at once.
"""

from collections.abc import Sequence
from typing import Any

import streamlit as st

from core.intervention.edits.select import WEIGHT
from core.intervention.edits.votes import preferences, relabel_by
from core.specs.events import Put
from core.specs.recipe_text import describe_edit
from core.specs.recipes import Action, AllOf, Edit, Recipe
from core.workspace.catalog import Catalog
from core.workspace.labels import Entry
from pages.components import access, cache, shortcuts, text

ACTIONS: tuple[Action, ...] = ("remove", "flip", "keep", "weight", "relabel")
ACTIONS_HELP = (
    "remove: leave out of training · flip: swap chosen and rejected, twice the dose of removing · "
    "keep: protect from the other entries · weight: count for less or more in the loss · relabel: "
    "flip where the project's judge prefers rejected"
)


def catalog() -> Catalog:
    """The catalog of the workspace."""
    store = cache.store()
    return Catalog(store.workspace, writable=store.writable)


def entries() -> Sequence[Entry]:
    """What is in the cart, oldest first."""
    return catalog().state().cart


def who() -> str:
    """Who is at this browser, for the log."""
    return access.who()


def edit(action: Action, recipe: Recipe, why: str = "") -> Edit:
    """An edit with the detail that its action starts with."""
    detail: dict[str, Any] = {"weight": WEIGHT} if action == "weight" else {}
    if action == "relabel":
        ranked = cache.ranked_behaviors()
        about = {ranked.get(run, "") for run in recipe.runs()}
        detail = {"relabel": relabel_by(cache.project().behaviors, about)}
    return Edit(action=action, recipe=recipe, why=why, **detail)


def actions() -> list[Action]:
    """What can be done to pairs here: relabelling needs flags to vote by."""
    votes = bool(preferences(cache.project().behaviors))
    return [action for action in ACTIONS if votes or action != "relabel"]


def show() -> None:
    """The cart in the sidebar."""
    if not cache.has_project():
        return
    cart = entries()
    st.subheader(f"Edit cart ({len(cart)})", divider="gray")
    behaviors = cache.ranked_behaviors() if cart else {}
    for entry in cart:
        left, right = st.columns([6, 1], vertical_alignment="center")
        left.text(text.visible(describe_edit(entry.edit, behaviors)))
        if right.button("✕", key=f"drop-{entry.id}", help="Take this entry out", type="tertiary"):
            catalog().remove(entry.id, who=who())
            st.rerun()
    if cart:
        st.page_link("intervene.py", label="Try it: edit and retrain")
    else:
        st.caption("Empty. Rank, Map and Clusters put pairs here.")
    access.show()


def offer(
    recipe: Recipe, *, count: int, key: str, why: str = "", shortcut: str | None = shortcuts.ADD
) -> None:
    """Choose what is done to the pairs of a recipe, and put it into the cart."""
    row = st.container(horizontal=True, vertical_alignment="bottom")
    action = row.selectbox("Action", actions(), key=f"action-{key}", help=ACTIONS_HELP, width=150)
    label = f"Add {count:,} pairs to the edit cart"
    in_cart = [e.id for e in entries() if (e.edit.action, e.edit.recipe) == (action, recipe)]
    if in_cart:  # the same button, which keeps the focus
        if row.button("Undo", key=f"add-{key}", help="Take them out of the cart again."):
            catalog().remove(in_cart[0], who=who())
            st.rerun()
        row.text(f"✓ In the edit cart: {action} {count:,} pairs.")
        row.page_link("intervene.py", label="Edit and retrain →")
    elif row.button(label, key=f"add-{key}", type="primary", disabled=not count, shortcut=shortcut):
        catalog().add(edit(action, recipe, why), who=who())
        st.rerun()


def put(replaced: Sequence[Entry], edits: Sequence[Edit]) -> None:
    """Replace entries of the cart by edits, in one step of the log."""
    change = Put(entries=tuple(entry.id for entry in replaced), edits=tuple(edits))
    catalog().change(change, who=who())
    st.rerun()


def all_of(parts: Sequence[Recipe]) -> Recipe:
    """The pairs that satisfy every part."""
    return parts[0] if len(parts) == 1 else AllOf(parts=tuple(parts))
