"""Map: a region or a choice by name becomes a recipe, with the pairs behind it."""

import base64
import json

import numpy as np
import pytest

from core.workspace.catalog import Catalog
from tests.pages import workspaces
from tests.pages.conftest import html_of, page_text

SQUARE = {"x": (4.0, 8.0, 8.0, 4.0), "y": (4.0, 4.0, 8.0, 8.0)}  # around the planted pairs


def draw(app, run: str, polygon=SQUARE):
    """What the chart's callback leaves behind after a lasso."""
    app.session_state["region"] = {"discover": run, **polygon}
    return app.run()


def facets_of(app) -> dict:
    """What the bars beside the map are drawn from."""
    components = app.get("bidi_component")
    (one,) = [one for one in components if one.proto.component_name.endswith("facets")]
    return json.loads(one.proto.json)


def test_without_a_map_the_step_is_offered(open_page, project):
    app = open_page("map")
    assert "There is no map yet" in app.info[0].value
    assert app.button[0].label == "Draw the map"


def test_a_failed_map_says_why(open_page, project, store):
    generated, indexed = store.run_id(project.generate()), store.run_id(project.index())
    workspaces.begin(
        store, project.discover(generated, indexed), "failed", error="fewer pairs than neighbors"
    )
    assert "fewer pairs than neighbors" in page_text(open_page("map"))


def test_a_region_selects_the_pairs_inside_it(open_page, investigated):
    app = draw(open_page("map"), investigated["discover"])
    assert [metric.value for metric in app.metric[:2]] == ["40", "10.0%"]
    assert "inside a region of the map" in page_text(app)


def test_clusters_sources_and_words_narrow_the_region(open_page, investigated):
    app = draw(open_page("map"), investigated["discover"])
    app.session_state["facets-chosen"] = {"source": ["chat"]}
    app.run()
    assert "No pair satisfies all of these" in app.warning[0].value


def test_a_selection_goes_to_the_cart_as_a_recipe(open_page, investigated, store):
    app = draw(open_page("map"), investigated["discover"])
    app.selectbox("action-map").set_value("remove").run()
    app.button("add-map").click().run()
    (entry,) = Catalog(store.workspace).state().cart
    assert (entry.edit.action, entry.edit.recipe.kind) == ("remove", "in_polygon")
    assert entry.edit.recipe.x == SQUARE["x"]


def test_a_region_can_be_cleared(open_page, investigated):
    app = open_page("map")
    assert not facets_of(app)["any"]
    app = draw(app, investigated["discover"])
    assert facets_of(app)["any"]  # so that Clear all is enabled
    app.button("clear-region").click().run()
    assert "Nothing is selected" in page_text(app)


def test_a_link_restores_the_clusters(open_page, investigated):
    app = open_page("map", cluster="1")
    assert "pairs of cluster 1" in page_text(app)
    assert app.metric[0].value == "40"


def test_a_link_restores_facets_lasso_zoom_and_the_pair_that_is_read(open_page, investigated):
    app = open_page(
        "map", source="instructions", region="4,4,8,4,8,8,4,8", zoom="3,9,3,9",
        pair="pair-007", order="gated discriminant to compliance",
    )  # fmt: skip
    said = page_text(app)
    assert "pairs whose source is instructions" in said
    assert "inside a region of the map" in said
    assert app.metric[0].value == "40"
    figure = json.loads(app.get("plotly_chart")[0].proto.spec)
    assert figure["layout"]["xaxis"]["range"] == [3, 9]
    assert app.session_state["reads-map"] == "pair-007"
    assert app.selectbox("order").value == "gated discriminant to compliance"


@pytest.mark.parametrize(
    ("query", "missing"),
    [
        ({"cluster": "99"}, "Cluster “99”"),
        ({"source": "web"}, "Source “web”"),
        ({"pair": "gone"}, "pair “gone”"),
        ({"like": "gone"}, "pair “gone”"),
        ({"region": "a,b"}, "a region"),
        ({"zoom": "2,1,0,0"}, "a view"),
    ],
)
def test_a_link_to_what_is_not_here_says_so(open_page, investigated, query, missing):
    app = open_page("map", **query)
    assert not app.exception
    assert f"names what is not here (any more): {missing}" in app.warning[0].value.replace("\\", "")


@pytest.mark.parametrize(
    ("key", "option", "n"),
    [
        ("cluster", "1", 40),
        ("source", "instructions", 40),
        ("is-chosen_model", "beta", 200),
        ("score-compliance", "5", None),
        ("length", None, None),
    ],
)
def test_an_option_selects_as_many_pairs_as_its_bar_counts(open_page, investigated, key, option, n):
    app = open_page("map")
    (drawn,) = [one for one in facets_of(app)["facets"] if one["key"] == key]
    options = {one["id"]: one["n"] for one in drawn["options"]}
    option = option or next(iter(options))
    assert n in (None, options[option])
    app.session_state["facets-chosen"] = {key: [option]}
    app.run()
    assert app.metric[0].value == f"{options[option]:,}"


def test_pairs_in_no_cluster_are_chosen_by_name(open_page, investigated):
    app = open_page("map", cluster="-1")
    assert "pairs in no cluster" in page_text(app)
    assert app.metric[0].value == "19"


def test_sliders_draw_a_box_clear_it_and_follow_what_the_mouse_draws(open_page, investigated):
    app = open_page("map")
    app.slider("region-across").set_value((50, 100)).run()
    assert app.metric[0].value == str(workspaces.N_PLANTED)
    app.slider("region-across").set_value((0, 100)).run()
    assert "Nothing is selected" in page_text(app)
    drawn = draw(app, investigated["discover"])
    assert drawn.slider("region-across").value[0] > 50
    assert drawn.slider("region-up").value[0] > 50


def test_a_box_on_the_prompts_counts_the_push_on_them(open_page, investigated):
    app = open_page("map")
    app.slider("prompt-region-across").set_value((0, 50)).run()
    assert app.selectbox("color").value == "similarity to prompts"
    assert "prompts in the region" in page_text(app)


@pytest.mark.parametrize(
    "by", ["cluster", "source", "similarity to prompts", "gated discriminant to compliance"]
)
def test_the_map_can_be_colored(open_page, investigated, by):
    app = open_page("map", color=by)
    assert not app.exception
    assert app.selectbox("color").value == by


def test_scores_of_the_selection_stand_next_to_all(open_page, investigated):
    app = open_page("map", cluster="1")
    (scores,) = [frame.value for frame in app.dataframe if "mean of selection" in frame.value]
    best = scores[scores["score"] == "gated discriminant"].iloc[0]
    assert best["mean of selection"] > 0.5 > 0.1 > best["mean of all pairs"]


def values(app, chart: int) -> list[float]:
    """What the points of a chart are colored by."""
    figure = json.loads(app.get("plotly_chart")[chart].proto.spec)
    (trace,) = [trace for trace in figure["data"] if "colorbar" in trace["marker"]]
    coded = trace["marker"]["color"]
    return list(np.frombuffer(base64.b64decode(coded["bdata"]), coded["dtype"]))


def test_selected_pairs_show_which_prompts_they_push(open_page, investigated):
    pushed = values(open_page("map", cluster="1"), chart=1)
    assert max(pushed) == pytest.approx(0.55)
    assert min(pushed) == pytest.approx(0.01)


def test_chosen_prompts_show_which_pairs_push_them(open_page, investigated):
    app = open_page("map", color="similarity to prompts")
    app.selectbox("kind").set_value("harmful, distractor").run()
    pushed = np.array(values(app, chart=0))
    assert (pushed > 0.5).sum() == workspaces.N_PLANTED


def test_other_columns_color_the_map_by_kind_or_by_number(open_page, investigated):
    app = open_page("map", color="chosen_model")
    assert app.selectbox("color").value == "chosen_model"
    names = {trace["name"] for trace in json.loads(app.get("plotly_chart")[0].proto.spec)["data"]}
    assert names == {"alpha", "beta"}


@pytest.mark.parametrize(
    ("phrase", "how", "n"),
    [
        ("LOCK OF", "phrase", "40"),
        ("lock", "phrase in chosen", None),
        (r"plant 1\d\b", "regex in prompt", "10"),
        ("lock pick", "best words in prompt", "40"),
    ],
)
def test_searching_selects_on_the_map(open_page, investigated, phrase, how, n):
    app = open_page("map", phrase=phrase, how=how)
    assert not app.exception
    assert (app.metric[0].value if n else app.warning[0].value) == (
        n or "No pair satisfies all of these."
    )


def test_a_pattern_that_is_none_is_refused_in_words(open_page, investigated):
    app = open_page("map", phrase="(", how="regex in chosen")
    assert "is not a regular expression" in app.error[0].value


def test_a_selection_is_saved_under_a_name_and_chosen_again(open_page, investigated):
    app = draw(open_page("map"), investigated["discover"])
    app.text_input("selection-name").set_value("the corner").run()
    app.button("save").click().run()
    again = open_page("map")
    again.selectbox("kept").set_value("the corner").run()
    assert again.metric[0].value == "40"
    again.button("forget").click().run()
    assert "Nothing is selected" in page_text(again)


def test_zooming_looks_at_the_selection_and_back(open_page, investigated):
    def ranges(app):
        return json.loads(app.get("plotly_chart")[0].proto.spec)["layout"]["xaxis"]["range"]

    app = draw(open_page("map"), investigated["discover"])
    whole = ranges(app)
    app.button("zoom").click().run()
    assert ranges(app)[0] > 3 > whole[0]
    app.button("whole").click().run()
    assert ranges(app) == whole


def test_the_slider_of_the_heatmap_selects_a_band(open_page, investigated):
    app = open_page("map", view="heatmap")
    app.slider[0].set_value((0, 39)).run()
    assert "pairs 0 to 39 across the heatmap" in page_text(app)
    assert app.metric[0].value == "40"
    app.button("clear-band").click().run()
    assert "Nothing is selected" in page_text(app)


def test_hostile_pairs_are_shown_as_text(open_page, investigated):
    app = open_page("map", phrase="evil.example")
    assert app.metric[0].value == "1"
    drawn = [*app.markdown, *app.caption, *app.header, *app.subheader]
    assert not any("![x](" in part.value for part in drawn)
    boxes = html_of(app)
    assert "&lt;script&gt;" in boxes
    assert not [found for found in ("<script", "\u202e", "\x07") if found in boxes]


UNUSUAL = ("all noise", "one spot", "no coordinates", "one cluster")


def unusual(kind, rng):
    tables = workspaces.discovery(rng)
    pairs = tables["pairs"]
    if kind == "all noise":
        pairs["cluster"] = -1
        tables["clusters"] = tables["clusters"].head(0)
    if kind in ("one spot", "no coordinates"):
        pairs[["x", "y"]] = 1.0 if kind == "one spot" else np.nan
    if kind == "one cluster":
        pairs["cluster"] = 0
        tables["clusters"] = tables["clusters"].head(1)
    return tables


@pytest.mark.parametrize("kind", UNUSUAL)
def test_an_unusual_map_is_shown_and_searched(open_page, store, project, rng, kind):
    workspaces.investigate(store, project, rng)
    spec = project.discover(store.run_id(project.generate()), store.run_id(project.index()))
    run = workspaces.finish(store, spec.model_copy(update={"seed": 9}), **unusual(kind, rng))
    app = open_page("map", discover=run, phrase="lock of")
    assert not app.exception
    assert not app.error
    assert app.metric[0].value == "40"
    app = open_page("clusters", discover=run)
    assert not app.exception
    assert not app.error
    assert bool(app.warning) == (kind == "all noise")
    explained = any("Discovery found a single cluster" in one.value for one in app.info)
    assert explained == (kind == "one cluster")
