"""Intervene: a dry run of the cart, the arms it proposes, and the runs that were started."""

import pytest

from core.intervention.arms import edited_and_control
from core.specs.behaviors import DEFAULT_SCORE
from core.specs.recipes import Edit, TopK, Where
from core.workspace.catalog import Catalog
from tests.pages import workspaces
from tests.pages.conftest import page_text


@pytest.fixture
def edit(investigated):
    recipe = TopK(rank=investigated["rank compliance"], k=40, score=DEFAULT_SCORE)
    return Edit(action="flip", recipe=recipe, why="top")


@pytest.fixture
def cart(store, edit):
    catalog = Catalog(store.workspace)
    catalog.add(edit, who="ana")
    return catalog


def test_an_empty_cart_says_where_to_fill_it(open_page, investigated):
    assert "The edit cart is empty" in open_page("intervene").info[0].value


def test_what_emptied_the_cart_is_undone_where_it_is_empty(open_page, investigated, cart, store):
    app = open_page("intervene")
    next(button for button in app.button if button.label == "✕").click().run()
    assert "The edit cart is empty" in app.info[0].value
    app.button("undo-edit").click().run()
    assert len(Catalog(store.workspace).state().cart) == 1


def test_the_cart_takes_an_edit_once_and_gives_it_back(open_page, investigated, store):
    app = open_page("rank")
    add = next(b for b in app.button if "to the edit cart" in b.label)
    add.click().run()
    assert not app.exception
    assert "In the edit cart" in page_text(app)
    assert "Z undoes it" in app.toast[0].value
    assert len(Catalog(store.workspace).state().cart) == 1
    assert app.button(add.key).label == "Undo"
    app.button(add.key).click().run()
    assert not Catalog(store.workspace).state().cart
    assert "to the edit cart" in app.button(add.key).label


def test_the_dry_run_counts_pairs_sources_and_dose(open_page, cart):
    app = open_page("intervene")
    values = {metric.label: metric.value for metric in app.metric}
    assert values == {"Removed": "0", "Flipped": "40", "Dose": "20.0%", "Left to train on": "400"}
    sources = next(f.value for f in app.dataframe if "flipped" in f.value)
    assert dict(zip(sources["source"], sources["flipped"], strict=True))["instructions"] == 40
    assert sources["% of the source"].max() == 100


def arms_of(app):
    return next(frame.value for frame in app.dataframe if "arm" in frame.value)


def test_baseline_edited_and_control_are_proposed_with_three_seeds(open_page, cart):
    app = open_page("intervene")
    assert list(arms_of(app)["arm"]) == ["baseline", "edited", "random control"]
    assert list(arms_of(app)["seeds"]) == [3, 3, 3]
    assert app.button("start-arms").label.startswith("Start: 20 runs")


def test_seeds_and_arms_are_remembered_for_the_next_visit(open_page, cart):
    app = open_page("intervene")
    app.number_input("seeds").set_value(1).run()
    app.checkbox("baseline").uncheck().run()
    app.switch_page("results.py").run()
    for again in (app.switch_page("intervene.py").run(), open_page("intervene")):
        assert list(arms_of(again)["arm"]) == ["edited", "random control"]
        assert list(arms_of(again)["seeds"]) == [1, 1]


def test_several_sizes_are_one_click(open_page, cart):
    app = open_page("intervene")
    app.checkbox("dose").check().run()
    edited = arms_of(app)[arms_of(app)["arm"] == "edited"]
    assert list(edited["top k"]) == ["10", "20", "40", "80"]
    (command,) = [code.value for code in app.code if " intervene " in code.value]
    assert "--size 0.25 --size 0.5 --size 1 --size 2 --background" in command


def test_every_ranked_or_mapped_behavior_gets_a_predicted_rate(open_page, cart):
    app = open_page("intervene")
    table = next(frame.value for frame in app.dataframe if "predicted" in frame.value)
    one = table.set_index("behavior").loc["compliance"]
    assert one["now"] == pytest.approx(55.0)
    assert one["predicted"] < 5
    assert one["undone"] > 100


def test_the_number_of_pairs_can_be_changed_and_undone(open_page, cart):
    app = open_page("intervene")
    assert app.button("undo-edit").disabled  # what is in the cart was put there by someone else
    size = f"size-{cart.state().cart[0].id}"
    app.number_input(size).set_value(25).run()
    assert cart.state().cart[0].edit.recipe.k == 25
    assert {m.label: m.value for m in app.metric}["Flipped"] == "25"
    app.button("undo-edit").click().run()
    assert cart.state().cart[0].edit.recipe.k == 40
    app.button("redo-edit").click().run()
    assert cart.state().cart[0].edit.recipe.k == 25


def test_the_action_of_an_entry_can_be_changed(open_page, cart):
    app = open_page("intervene")
    app.selectbox(f"change-{cart.state().cart[0].id}").set_value("remove").run()
    assert {m.label: m.value for m in app.metric}["Removed"] == "40"


def test_a_weight_is_chosen_and_counts_as_a_part_of_a_removal(open_page, cart):
    app = open_page("intervene")
    entry = cart.state().cart[0].id
    app.selectbox(f"change-{entry}").set_value("weight").run()
    entry = cart.state().cart[0].id
    app.number_input(f"weight-{entry}").set_value(0.5).run()
    assert not app.exception
    assert cart.state().cart[0].edit.weight == 0.5
    assert {m.label: m.value for m in app.metric}["Dose"] == "5.0%"  # half of 40 of 400 pairs
    assert "40 weighted" in page_text(app)


def test_weights_by_score_are_chosen_previewed_and_undone(open_page, cart):
    app = open_page("intervene")
    app.selectbox(f"change-{cart.state().cart[0].id}").set_value("weight").run()
    app.segmented_control(f"weights-{cart.state().cart[0].id}").set_value("by score").run()
    assert not app.exception
    entry = cart.state().cart[0]
    (low, first), (high, last) = entry.edit.curve.points
    assert low < high
    assert (first, last) == (1, 0)  # half of the pairs are out, the weakest counts in full
    assert "weight by gated discriminant for compliance (1 at" in page_text(app)
    assert "39 weighted" in page_text(app)
    app.number_input(f"curve-weight there-{entry.id}").set_value(0.5).run()
    entry = cart.state().cart[0]
    assert entry.edit.curve.points == ((low, 1), (high, 0.5))
    app.number_input(f"curve-to score-{entry.id}").set_value(low - 1).run()
    assert "the scores of a curve's points rise" in app.error[0].value
    app = open_page("intervene")
    for _ in range(2):
        app.button("undo-edit").click().run()
    assert cart.state().cart[0].edit.weight == 0.25


def test_pairs_to_relabel_name_their_votes_and_a_majority(open_page, cart):
    app = open_page("intervene")
    app.selectbox(f"change-{cart.state().cart[0].id}").set_value("relabel").run()
    entry = cart.state().cart[0]
    assert not app.exception
    flags = entry.edit.relabel.prefer
    assert f"majority prefers rejected ({', '.join(flags)})" in page_text(app)
    app.number_input(f"majority-{entry.id}").set_value(0.75).run()
    assert cart.state().cart[0].edit.relabel.majority == 0.75
    assert "40 to be judged" in page_text(app)


def test_a_rewritten_text_is_shown_beside_the_old_one(open_page, store, investigated, project):
    pair = store.pair_columns(project.pairs).rows([3]).iloc[0]
    rewrite = {"side": "chosen", "old": pair["chosen"], "new": "I would <b>rather</b> not."}
    recipe = Where(column="uid", values=(pair["uid"],))
    Catalog(store.workspace).add(Edit(action="rewrite", recipe=recipe, rewrite=rewrite), who="ana")
    app = open_page("intervene")
    assert not app.exception
    assert "1 rewritten" in page_text(app)
    boxes = "".join(one.proto.body for one in app.get("html"))
    assert "<b>rather" not in boxes
    assert "rather" in boxes


def test_entries_combine_into_one_recipe(open_page, cart):
    cart.add(Edit(action="keep", recipe=Where(column="chosen_model", values=("beta",))), who="ben")
    app = open_page("intervene")
    first, second = [entry.id for entry in cart.state().cart]
    app.multiselect("combine-entries").set_value([first, second]).run()
    app.segmented_control("combine-how").set_value("but not").run()
    app.button("combine").click().run()
    (entry,) = cart.state().cart
    assert entry.edit.action == "flip"
    assert {m.label: m.value for m in app.metric}["Flipped"] == "20"


def test_a_source_is_dropped_from_the_page(open_page, cart):
    app = open_page("intervene")
    app.multiselect("drop-values-source").set_value(["chat"]).run()
    assert app.button("drop-source").label == "Remove 360 pairs"
    app.button("drop-source").click().run()
    assert {m.label: m.value for m in app.metric}["Removed"] == "360"


def test_edits_are_saved_opened_and_compared(open_page, cart, edit):
    app = open_page("intervene")
    app.text_input("save-name").set_value("plan").run()
    app.button("save-edit").click().run()
    app.number_input(f"size-{cart.state().cart[0].id}").set_value(30).run()
    difference = next(frame.value for frame in app.dataframe if "n" in frame.value)
    assert list(difference["n"]) == [30, 10, 0, 0]
    app.button("open-saved").click().run()
    assert [entry.edit for entry in cart.state().cart] == [edit]


def test_the_command_is_the_same_intervention(open_page, cart, edit):
    codes = [code.value for code in open_page("intervene").code]
    (command,) = [code for code in codes if " intervene " in code]
    assert command.startswith("pairtrace --workspace")
    assert edit.model_dump_json() in command
    assert command.endswith("--seed 0 --seed 1 --seed 2 --background")


def test_a_conflict_is_named_and_cannot_be_started(open_page, cart):
    recipe = Where(column="source", values=("instructions",))
    cart.add(Edit(action="remove", recipe=recipe), who="ben")
    app = open_page("intervene")
    assert "entry 1 is to flip and entry 2 to remove the same 40 pairs" in page_text(app)
    assert "start-arms" not in [button.key for button in app.button]


@pytest.mark.parametrize(
    ("button", "expected"), [("flip-wins", ("0", "40")), ("remove-wins", ("35", "5"))]
)
def test_a_conflict_has_ways_out(open_page, cart, button, expected):
    some = tuple(f"pair-{i:03}" for i in range(35))
    cart.add(Edit(action="remove", recipe=Where(column="uid", values=some)), who="ben")
    app = open_page("intervene")
    flip, remove = [entry.id for entry in cart.state().cart]
    app.button(f"{button}-{flip}-{remove}").click().run()
    if button == "flip-wins":  # nothing is left of the removal, which is no conflict any more
        assert "Conflict" not in page_text(app)
    values = {metric.label: metric.value for metric in app.metric}
    assert (values["Removed"], values["Flipped"]) == expected


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
    states = dict(zip(table["run of"], table["state"], strict=True))
    assert states["edited, top 40 · edit"] == state
    assert ("the disk is full" in page_text(app)) == (state == "failed")


def test_all_runs_are_cancelled_at_once(open_page, cart, edit, store, project):
    arms = edited_and_control(project, store, [edit], seeds=range(3))
    running = [workspaces.begin(store, arm.edit, "running") for arm in arms]
    app = open_page("intervene")
    app.button("cancel-all").click().run()
    assert not app.exception
    assert [store.state(run) for run in running] == ["cancelled"] * len(arms)


def test_finished_arms_lead_to_the_results(
    open_page, cart, edit, store, project, investigated, rng
):
    rank = investigated["rank compliance"]
    workspaces.intervene(store, project, rank, rng, seeds=range(3), why=edit.why)
    app = open_page("intervene")
    app.checkbox("baseline").uncheck().run()
    assert "Every arm is trained and measured" in app.success[0].value
