"""Intervene: a dry run of the cart, the arms it proposes, and the runs that were started."""

import pytest

from core.intervention.arms import edited_and_control
from core.intervention.recipes import Edit, TopK, Where
from core.runs.catalog import Catalog
from tests.pages import workspaces
from tests.pages.conftest import said


@pytest.fixture
def edit(investigated):
    return Edit(action="flip", recipe=TopK(rank=investigated["rank compliance"], k=40), why="top")


@pytest.fixture
def cart(store, edit):
    catalog = Catalog(store.workspace)
    catalog.add(edit, who="ana")
    return catalog


def test_an_empty_cart_says_where_to_fill_it(open_page, investigated):
    assert "The edit cart is empty" in open_page("intervene").info[0].value


def test_the_dry_run_counts_pairs_sources_and_dose(open_page, cart):
    app = open_page("intervene")
    values = {metric.label: metric.value for metric in app.metric}
    assert values == {"Removed": "0", "Flipped": "40", "Dose": "20.0%", "Left to train on": "400"}
    sources = next(f.value for f in app.dataframe if "flipped" in f.value)
    assert dict(zip(sources["source"], sources["flipped"], strict=True))["instructions"] == 40


def test_edited_and_control_are_proposed_with_three_seeds(open_page, cart):
    app = open_page("intervene")
    arms = next(frame.value for frame in app.dataframe if "arm" in frame.value)
    assert list(arms["arm"]) == ["edited", "random control"]
    assert list(arms["seeds"]) == [3, 3]
    assert app.button("start-arms").label.startswith("Start: 14 runs")


def test_the_command_is_the_same_intervention(open_page, cart, edit):
    (command,) = [code.value for code in open_page("intervene").code]
    assert command.startswith("pairtrace --workspace")
    assert edit.model_dump_json() in command
    assert command.endswith("--seed 0 --seed 1 --seed 2 --background")


def test_a_conflict_is_named_and_cannot_be_started(open_page, cart):
    recipe = Where(column="source", values=("instructions",))
    cart.add(Edit(action="remove", recipe=recipe), who="ben")
    app = open_page("intervene")
    assert "both removed and flipped" in app.error[0].value
    assert "start-arms" not in [button.key for button in app.button]


def test_an_entry_can_be_taken_out_of_the_cart(open_page, cart):
    app = open_page("intervene")
    app.button(f"drop-{cart.state().cart[0].id}").click().run()
    assert cart.state().cart == ()


@pytest.mark.parametrize("state", ["running", "failed", "cancelled"])
def test_started_arms_are_followed(open_page, cart, edit, store, project, state):
    arms = edited_and_control(project, store, [edit], seeds=range(3))
    workspaces.begin(store, arms[0].edit, state, error="the disk is full")
    app = open_page("intervene")
    assert not app.exception
    table = next(frame.value for frame in app.dataframe if "run of" in frame.value)
    assert table["state"].iloc[0] == state
    assert ("the disk is full" in said(app)) == (state == "failed")


def test_finished_arms_lead_to_the_results(
    open_page, cart, edit, store, project, investigated, rng
):
    rank = investigated["rank compliance"]
    workspaces.intervene(store, project, rank, rng, seeds=range(3), why=edit.why)
    app = open_page("intervene")
    assert "Every arm is trained and measured" in app.success[0].value
