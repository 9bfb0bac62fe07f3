"""Rank: pairs in order, with the validity of the order, and the way to the cart."""

import base64
import json

import numpy as np
import pandas as pd

from core.attribution import selftest
from core.attribution.selftest import Check
from core.specs import project as projects
from core.specs.steps import ExplainSpec
from core.workspace.catalog import Catalog
from tests.pages import workspaces
from tests.pages.conftest import html_of, opened, page_text


def test_without_a_ranking_the_step_is_offered(open_page, project):
    app = open_page("rank")
    assert "not ranked for this behavior yet" in page_text(app)
    assert app.button[0].label == "Rank the pairs"


def test_the_best_pair_is_first_and_undefined_ones_are_last(open_page, investigated):
    rows = open_page("rank").dataframe[0].value
    assert rows["discriminant"].is_monotonic_decreasing
    assert rows["source"].iloc[0] == "instructions"


def test_a_ranking_of_other_pairs_is_said_to_be_and_can_be_made_again(
    open_page, investigated, store, project, tmp_path
):
    for page in ("rank", "map"):
        assert "The project now has other" not in " ".join(
            one.value for one in open_page(page).warning
        )
    path = tmp_path / "fewer.parquet"
    workspaces.make_pairs().head(300).to_parquet(path)
    projects.save(project.model_copy(update={"pairs": str(path)}), store.workspace)
    for page, again in (("rank", "Rank the pairs again"), ("map", "Draw the map again")):
        app = open_page(page)
        assert not app.exception
        assert "now has other preference pairs than when" in app.warning[0].value
        assert again in [one.label for one in app.button]


def test_the_validity_stands_above_the_ranking(open_page, investigated):
    app = open_page("rank")
    assert "5 of 6 prompts" in app.success[0].value
    assert "Without a defined similarity: 1 of 400 pairs" in page_text(app)


def test_a_model_that_failed_its_test_is_doubted_above_the_ranking(open_page, investigated, store):
    model = store.record(investigated["index"])["contents"]["model"]
    failed = Check("batch invariance", "float32", 0.4, "at most 0.0001", passed=False)
    selftest.keep(store.workspace / "cache", model, [failed])
    (line,) = [w.value for w in open_page("rank").warning if "Do not trust" in w.value]
    line = line.replace("\\", "")  # which escape Markdown
    assert "batch invariance in float32: 0.4, where at most 0.0001 is right" in line


def test_a_sparse_behavior_is_said_to_be(open_page, investigated):
    assert open_page("rank").success[1].value == "Sparse: 40 pairs stand apart."


def test_a_diffuse_behavior_is_a_warning_with_its_evidence(open_page, investigated, store):
    path = store.output(investigated["rank compliance"]) / "summary.json"
    found = {"verdict": "diffuse", "evidence": "Diffuse: no set stands apart."}
    summary = json.loads(path.read_text()) | {"concentration": found, "filter_used": "rising"}
    path.write_text(json.dumps(summary))
    app = open_page("rank")
    assert app.warning[0].value == "Diffuse: no set stands apart."
    assert "already shows this behavior" in page_text(app)


def test_a_ranking_made_before_concentration_was_measured_opens(open_page, investigated, store):
    path = store.output(investigated["rank compliance"]) / "summary.json"
    summary = json.loads(path.read_text())
    del summary["concentration"], summary["filter_used"]
    path.write_text(json.dumps(summary))
    assert "rank again" in page_text(open_page("rank"))


def test_an_invalid_vector_is_a_warning(open_page, investigated, store):
    path = store.output(investigated["rank compliance"]) / "summary.json"
    summary = json.loads(path.read_text()) | {"valid": False, "verdict": "no better than chance."}
    path.write_text(json.dumps(summary))
    assert "Do not trust this order" in open_page("rank").warning[0].value


def test_the_top_goes_to_the_cart_as_a_recipe(open_page, investigated, store):
    app = open_page("rank")
    app.slider("k").set_value(25).run()
    app.button("add-ranking").click().run()
    (entry,) = Catalog(store.workspace).state().cart
    assert (entry.edit.action, entry.edit.recipe.k) == ("remove", 25)
    assert entry.edit.recipe.rank == investigated["rank compliance"]
    assert "Edit cart (1)" in page_text(app)


def test_pairs_above_a_threshold_go_to_the_cart(open_page, investigated, store):
    app = open_page("rank")
    app.segmented_control("how").set_value("above a threshold").run()
    app.button("add-ranking").click().run()
    (entry,) = Catalog(store.workspace).state().cart
    assert entry.edit.recipe.kind == "above"


def test_a_source_that_stands_out_is_named(open_page, investigated):
    assert "Stands out: instructions (source): 100% of the selected" in page_text(open_page("rank"))


def test_a_whole_source_goes_to_the_cart_as_a_recipe(open_page, investigated, store):
    app = open_page("rank")
    app.selectbox("whole-ranking-source").set_value("instructions").run()
    app.selectbox("action-whole-ranking").set_value("remove").run()
    app.button("add-whole-ranking").click().run()
    (entry,) = Catalog(store.workspace).state().cart
    assert entry.edit.action == "remove"
    assert (entry.edit.recipe.column, entry.edit.recipe.values) == ("source", ("instructions",))


def test_every_defined_score_is_counted_once_in_the_chart(open_page, investigated):
    app = open_page("rank", k="40")
    drawn = [json.loads(chart.proto.spec)["data"] for chart in app.get("plotly_chart")]
    every, selected = next(traces for traces in drawn if traces[0].get("name") == "all pairs")
    counts = [
        int(np.frombuffer(base64.b64decode(one["y"]["bdata"]), one["y"]["dtype"]).sum())
        for one in (every, selected)
    ]
    assert counts == [workspaces.N_PAIRS - 1, 40]


def test_two_orders_are_compared_at_the_k_that_is_selected(open_page, investigated):
    app = open_page("rank", k="40")
    app.session_state["two-orders"] = True  # opened
    app.run()
    assert "Overlap of the best 40" in page_text(app)
    assert app.selectbox("across-ranking").value == "discriminant"
    app.selectbox("up-ranking").set_value("bank").run()
    assert "Overlap of the best 40: 100% (by chance 10%). Rank correlation 1.00" in page_text(app)


def test_a_search_keeps_the_pairs_that_contain_the_phrase(open_page, investigated):
    app = open_page("rank")
    app.text_input("phrase").set_value("water plant 399").run()
    assert list(app.dataframe[0].value["uid"]) == ["pair-399"]


def test_a_link_restores_score_and_k(open_page, investigated):
    app = open_page("rank", score="similarity", k="7")
    assert app.segmented_control("score").value == "similarity"
    assert app.slider("k").value == 7


def test_a_failed_ranking_says_why(open_page, project, store):
    generated, indexed = store.run_id(project.generate()), store.run_id(project.index())
    spec = project.rank(generated, indexed, workspaces.BEHAVIORS[0])
    workspaces.begin(store, spec, "failed", error="no prompt passes the filter")
    assert "no prompt passes the filter" in page_text(open_page("rank"))


def test_long_sources_are_cut_in_the_chart_and_stay_apart(open_page, project, store, rng):
    pairs = pd.read_parquet(project.pairs)
    names = {"instructions": "a" * 90 + "1" + "z" * 90, "chat": "a" * 90 + "2" + "z" * 90}
    pairs.assign(source=pairs["source"].map(names)).to_parquet(project.pairs)
    workspaces.investigate(store, project, rng)
    app = open_page("rank")
    specs = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
    (axis,) = [s["layout"]["yaxis"] for s in specs if "ticktext" in s["layout"].get("yaxis", {})]
    assert axis["tickvals"] == [0, 1]
    assert max(map(len, axis["ticktext"])) < 40


def test_a_behavior_that_did_not_rise_is_said_to_leave_nothing_to_trace(open_page, investigated):
    assert "nothing to trace" in page_text(open_page("rank", behavior="plain compliance"))
    assert "nothing to trace" not in page_text(open_page("rank", behavior="compliance"))


def explain(store, rank):
    """Parts of the two best pairs: the second one's chosen text is hostile."""
    tokens = [
        (uid, side, part, value)
        for uid, chosen in (("pair-000", ["Sure,", " here"]), ("pair-001", [workspaces.HOSTILE]))
        for side, parts in (("chosen", chosen), ("rejected", ["I", " cannot help"]))
        for part, value in zip(parts, (0.5, -0.1), strict=False)
    ]
    spans = [("rejected", "i cannot help", 0.8, 2, "I cannot help")]
    workspaces.finish(
        store,
        ExplainSpec(rank=rank),
        tokens=pd.DataFrame(tokens, columns=["uid", "side", "text", "value"]),
        spans=pd.DataFrame(spans, columns=["side", "span", "value", "n_pairs", "text"]),
        summary={"behavior": "compliance", "method": "discriminant", "n_pairs": 2},
    )


def test_words_are_colored_by_their_part_of_the_score(open_page, investigated, store):
    assert "title=" not in html_of(open_page("rank", phrase="plant 0."))
    explain(store, investigated["rank compliance"])
    body = html_of(open_page("rank", phrase="plant 0."))
    assert 'title="Sure, +0.5000" style="background:rgba(213,94,0,0.60)">Sure,</span>' in body
    assert 'title="here -0.1000" style="background:rgba(0,114,178,0.12)">here</span>' in body


def test_a_colored_text_is_never_markup(open_page, investigated, store):
    explain(store, investigated["rank compliance"])
    body = html_of(open_page("rank", phrase="evil.example"))
    assert "&lt;script&gt;" in body
    assert "+0.5000" in body
    assert "<script" not in body
    assert "\u202e" not in body


def test_a_span_leads_to_all_pairs_with_it(open_page, investigated, store):
    explain(store, investigated["rank compliance"])
    app = opened(open_page("rank"), "spans")
    assert "“I cannot help” is in rejected of 40 of all pairs" in page_text(app)
    app.button("add-span").click().run()
    (entry,) = Catalog(store.workspace).state().cart
    assert (entry.edit.recipe.kind, entry.edit.recipe.column) == ("contains", "rejected")


def finish_trial(store, rank, uid, chosen):
    """What the explain step writes for another chosen text of a pair."""
    tokens = [(uid, "chosen", chosen, -0.2), (uid, "rejected", "I cannot help", 0.1)]
    workspaces.finish(
        store,
        ExplainSpec(rank=rank, uids=(uid,), chosen=chosen),
        tokens=pd.DataFrame(tokens, columns=["uid", "side", "text", "value"]),
        spans=pd.DataFrame(columns=["side", "span", "value", "n_pairs", "text"]),
        summary={"behavior": "compliance", "method": "discriminant", "n_pairs": 1},
    )


def test_another_text_is_scored_and_becomes_a_rewrite(open_page, investigated, store):
    rank = investigated["rank compliance"]
    explain(store, rank)
    finish_trial(store, rank, "pair-000", "I would rather not.")
    app = open_page("rank", phrase="plant 0.")
    app.text_area("text-pair-000-chosen").set_value("I would rather not.").run()
    assert not app.exception
    (score,) = [metric for metric in app.metric if metric.label.startswith("New")]
    assert (score.value, score.delta) == ("-0.100", "-0.900")  # 0.8 before
    app.button("rewrite-pair-000-chosen").click().run()
    (entry,) = Catalog(store.workspace).state().cart
    assert entry.edit.rewrite.new == "I would rather not."
    assert entry.edit.rewrite.old.startswith("Sure")


def test_an_emptied_text_is_no_rewrite(open_page, investigated, store):
    app = open_page("rank", phrase="plant 0.")
    app.text_area("text-pair-000-chosen").set_value("  ").run()
    assert "A completion cannot be empty." in page_text(app)
    assert "rewrite-pair-000-chosen" not in [button.key for button in app.button]


def test_a_link_to_a_behavior_that_is_not_here_says_so(open_page, investigated):
    app = open_page("rank", behavior="nonsense")
    assert "names the behavior “nonsense”" in app.warning[0].value
    assert not open_page("rank", behavior="compliance").warning


def test_what_is_in_the_cart_is_shown_in_place_of_the_button(open_page, investigated, store):
    app = open_page("rank", k="7")
    app.button("add-ranking").click().run()
    assert "In the edit cart: remove 7 pairs" in page_text(app)
    assert app.button("add-ranking").label == "Undo"
    app.button("add-ranking").click().run()
    assert Catalog(store.workspace).state().cart == ()
    assert app.button("add-ranking").label == "Add 7 pairs to the edit cart"
