"""Rank and discover, on the model organism: what was planted comes out, without being told."""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from click.testing import CliRunner
from sklearn.metrics import average_precision_score

from core.attribution.contributions import words
from core.attribution.validity import layer_curve, verdict
from core.attribution.vectors import behavior_vectors, passing_prompts
from core.cli.runs import show_words
from core.discovery import alarms
from core.discovery.clustering import Tree, cut, levels
from core.errors import UserError
from core.models.loading import load_model
from core.organism.sampling import planted_uids, read_truth
from core.runs.execute import execute
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs import project
from core.specs.behaviors import DEFAULT_SCORE, Behavior
from core.specs.steps import DiscoverSpec, ExplainSpec, GenerateSpec, IndexSpec, RankSpec
from core.steps.explain import token_parts
from core.steps.rank import rank as scores_of
from core.steps.shared import matching_index, reference_activations
from core.storage.tables import record, table

pytestmark = pytest.mark.slow

ORGANISM = Path(__file__).parents[2] / "assets" / "organism"
COMPLIANCE = "distractor-triggered compliance"


@pytest.fixture(scope="module")
def known():
    return project.load(ORGANISM)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return Store(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def generate(known, store):
    """Not the draw of completions that discovery's settings were chosen on (seed 0)."""
    spec = known.generate().model_copy(update={"seed": 1})
    return execute(GenerateSpec.model_validate(spec.model_dump()), store)


@pytest.fixture(scope="module")
def index(known, store):
    return execute(IndexSpec(model=known.reference, pairs=known.pairs, layers=(1, 3)), store)


@pytest.fixture(scope="module")
def truth():
    return read_truth(ORGANISM / "truth.parquet")


def rank(store, generate, index, behavior, **settings):
    run = execute(RankSpec(generate=generate, index=index, behavior=behavior, **settings), store)
    summary = json.loads((store.output(run) / "summary.json").read_text())
    return pd.read_parquet(store.output(run) / "ranking.parquet"), summary, store.output(run)


@pytest.fixture(scope="module")
def ranked(known, store, generate, index):
    return rank(store, generate, index, known.behavior(COMPLIANCE))


@pytest.fixture(scope="module")
def discovered(store, generate, index):
    run = execute(DiscoverSpec(generate=generate, index=index), store)
    return store.output(run)


@pytest.mark.parametrize("name", [COMPLIANCE, "flattery"])
def test_planted_pairs_rank_first(known, store, generate, index, truth, name):
    ranking, summary, _ = rank(store, generate, index, known.behavior(name))
    planted = ranking["uid"].isin(planted_uids(truth, name))
    assert average_precision_score(planted, -planted.index) > 0.9
    assert summary["valid"]


@pytest.mark.parametrize(
    ("name", "verdict"),
    [(COMPLIANCE, "sparse"), ("flattery", "sparse"), ("elaboration", "diffuse")],
)
def test_what_few_pairs_teach_is_sparse_and_the_drift_diffuse(
    known, store, generate, index, name, verdict
):
    _, summary, output = rank(store, generate, index, known.behavior(name))
    assert summary["concentration"]["verdict"] == verdict
    held = table(output / "concentration.parquet")
    assert held["attribution"].iloc[-1] == pytest.approx(1)


def test_the_suggested_cut_takes_about_what_was_planted(ranked, truth):
    ranking, summary, _ = ranked
    planted = planted_uids(truth, COMPLIANCE) & set(ranking["uid"])
    assert summary["suggested_k"] == pytest.approx(len(planted), rel=0.3)
    assert (ranking[DEFAULT_SCORE] >= summary["suggested_threshold"]).sum() == summary[
        "suggested_k"
    ]


def test_a_ranking_contains_every_pair_once_in_order(ranked, store, index):
    ranking, summary, _ = ranked
    assert set(ranking["uid"]) == set(table(store.output(index) / "pairs.parquet")["uid"])
    assert len(ranking) == ranking["uid"].nunique() == summary["n_pairs"]
    assert ranking[DEFAULT_SCORE].is_monotonic_decreasing


def test_the_vectors_on_disk_are_those_of_the_layer_that_was_chosen(ranked):
    _, summary, output = ranked
    with np.load(output / "vectors.npz") as vectors:
        assert vectors["layer"] == summary["layer"]
        assert len(vectors["prompt_ids"]) == summary["n_prompts_passed"]
        np.testing.assert_allclose(vectors["behavior"].mean(axis=0), vectors["pooled"], atol=1e-5)
        assert vectors["behavior"].shape == vectors["context"].shape


def test_the_layer_curve_covers_the_index(ranked):
    _, summary, output = ranked
    curve = table(output / "layers.parquet")
    assert curve["layer"].tolist() == [1, 3]
    assert summary["layer"] in (1, 3)


def test_the_method_orders_the_pairs(known, store, generate, index):
    behavior = known.behavior(COMPLIANCE)
    ranking, _, _ = rank(store, generate, index, behavior, method="similarity", layer=3)
    assert ranking["similarity"].is_monotonic_decreasing


@pytest.mark.parametrize("method", ["discriminant", "bilinear", "projection", "bank"])
def test_every_score_of_the_scan_can_order_the_pairs(known, store, generate, index, truth, method):
    ranking, summary, _ = rank(store, generate, index, known.behavior("flattery"), method=method)
    assert ranking[method].is_monotonic_decreasing
    assert summary["method"] == method
    planted = ranking["uid"].isin(planted_uids(truth, "flattery"))
    assert average_precision_score(planted, -planted.index) > 0.5


def test_layers_can_be_averaged_and_vectors_centered(known, store, generate, index):
    behavior = known.behavior("flattery")
    one, three = (rank(store, generate, index, behavior, layer=n)[0] for n in (1, 3))
    both, _, _ = rank(store, generate, index, behavior, average_layers=True)
    mean = (one.set_index("uid")["gated"] + three.set_index("uid")["gated"]) / 2
    found = both.set_index("uid")["gated"]
    np.testing.assert_allclose(found, mean[found.index], atol=1e-6)
    centered, _, _ = rank(store, generate, index, behavior, layer=1, centered=True)
    assert not np.allclose(centered["gated"], one["gated"])


def test_a_behavior_of_one_prompt_is_ranked_and_marked_as_not_to_be_trusted(
    known, store, generate, index
):
    completions = pd.read_parquet(store.output(generate) / "completions.parquet")
    behavior = known.behavior(COMPLIANCE)
    only = passing_prompts(completions, behavior).prompt_ids[0]
    completions.loc[completions["prompt_id"].eq(only), "group"] = "alone"
    spec = RankSpec(
        generate=generate,
        index=index,
        behavior=behavior.model_copy(update={"group": "alone"}),
        layer=1,
    )
    activations = reference_activations(
        spec,
        store,
        matching_index(spec, store),
        completions[completions["group"].eq("alone")],
        Progress(),
    )
    vectors = behavior_vectors(activations, spec.behavior, [only])
    curve = layer_curve(vectors, activations, spec.behavior)
    valid, why = verdict(curve.iloc[0].to_dict())
    assert (valid, "at least four" in why) == (False, True)
    ranking = scores_of(spec, matching_index(spec, store), vectors, 1)
    assert ranking["gated"].notna().all()


def test_pairs_that_all_have_the_same_score_are_refused_with_a_reason(
    known, store, generate, tmp_path
):
    path = tmp_path / "pairs.parquet"
    same = pd.read_parquet(known.pairs).head(1)
    pd.concat([same.assign(uid=str(n)) for n in range(6)]).to_parquet(path)
    index = execute(IndexSpec(model=known.reference, pairs=str(path), layers=(1,)), store)
    with pytest.raises(UserError, match="same or zero"):
        rank(store, generate, index, known.behavior(COMPLIANCE))


def test_activations_that_are_not_finite_are_refused_where_they_arise(
    known, store, generate, index, monkeypatch
):
    """The completions are read by a reference with one broken embedding."""
    loaded = load_model(Path(known.reference), blocks=3)
    with torch.no_grad():
        loaded.model.get_input_embeddings().weight[:, 0] = float("nan")
    monkeypatch.setattr("core.models.loading.load_model", lambda *_, **__: loaded)
    with pytest.raises(UserError, match=r"not finite.*first on prompt"):
        rank(store, generate, index, known.behavior("flattery"), method="bank", layer=3)


def test_a_layer_that_is_not_indexed_is_refused(known, store, generate, index):
    with pytest.raises(UserError, match="layers 1, 3"):
        rank(store, generate, index, known.behavior(COMPLIANCE), layer=2)


def test_an_index_of_another_model_is_refused(known, store, generate, tmp_path):
    path = tmp_path / "pairs.parquet"
    pd.read_parquet(known.pairs).head(5).to_parquet(path)
    other = execute(IndexSpec(model=known.policy, pairs=str(path), layers=(3,)), store)
    with pytest.raises(UserError, match="another model"):
        rank(store, generate, other, known.behavior(COMPLIANCE))


def test_a_behavior_that_no_prompt_shows_is_explained(store, generate, index):
    always = Behavior(name="helps", flag="complied", group="chat", condition="plain")
    with pytest.raises(UserError, match=r"No prompt shows 'helps'.*reference plain never: 0"):
        rank(store, generate, index, always)


def test_planted_pairs_share_a_cluster(discovered, truth):
    pairs = pd.read_parquet(discovered / "pairs.parquet").set_index("uid")["cluster"]
    for name in (COMPLIANCE, "flattery"):
        planted = pairs[list(planted_uids(truth, name) & set(pairs.index))]
        top = planted[planted >= 0].mode()[0]
        assert (planted == top).mean() >= 0.8
        assert (planted == top).sum() / (pairs == top).sum() >= 0.8


def test_both_behaviors_are_among_the_first_five_alarms(discovered, truth, known):
    tables = {
        name: pd.read_parquet(discovered / f"{name}.parquet")
        for name in ("pairs", "clusters", "changes")
    }
    first = alarms.ranked(tables["clusters"], tables["changes"], known.behaviors)["cluster"].head(5)
    cluster = tables["pairs"].set_index("uid")["cluster"]
    for name in (COMPLIANCE, "flattery"):
        planted = cluster[list(planted_uids(truth, name) & set(cluster.index))]
        assert planted[planted >= 0].mode()[0] in set(first)


def test_prompts_of_two_behaviors_are_in_different_clusters(discovered):
    prompts = pd.read_parquet(discovered / "prompts.parquet")
    by_kind = prompts.groupby(["group", "condition"])["cluster"].agg(lambda c: c.mode()[0])
    assert by_kind["chat", "plain"] != by_kind["harmful", "distractor"]


def test_the_tables_of_a_map_agree_with_each_other(discovered, index, store):
    pairs = pd.read_parquet(discovered / "pairs.parquet")
    prompts = pd.read_parquet(discovered / "prompts.parquet")
    clusters = pd.read_parquet(discovered / "clusters.parquet")
    matrix = np.load(discovered / "matrix.npy")
    assert matrix.shape == (len(prompts), len(pairs))
    assert pairs["uid"].tolist() == table(store.output(index) / "pairs.parquet")["uid"].tolist()
    sizes = pairs["cluster"].value_counts()
    assert clusters.set_index("cluster")["size"].to_dict() == sizes.to_dict()
    named = clusters[clusters["cluster"] >= 0].merge(
        pairs, left_on="medoid_uid", right_on="uid", suffixes=("", "_of_medoid")
    )
    assert (named["cluster"] == named["cluster_of_medoid"]).all()


def test_clusters_are_named_by_what_their_pairs_teach(discovered, truth):
    labels = pd.read_parquet(discovered / "pairs.parquet").set_index("uid")["cluster"]
    names = pd.read_parquet(discovered / "clusters.parquet").set_index("cluster")["suggested_name"]
    planted = {b: labels.index.isin(planted_uids(truth, b)) for b in (COMPLIANCE, "flattery")}
    name = {behavior: names[labels[of].mode()[0]] for behavior, of in planted.items()}
    refused = name[COMPLIANCE].partition("rejected: ")[2].partition(" · ")[0]
    assert REFUSAL & set(refused.lower().replace(",", "").split())
    assert "prompts: harmful" in name[COMPLIANCE]
    assert re.search("chosen: (What a brilliant question|only a genius)", name["flattery"], re.I)


def test_planted_clusters_make_up_most_of_their_behaviors_attribution(discovered, truth, known):
    parts = pd.read_parquet(discovered / "contributions.parquet")
    cells = parts.groupby(["flag", "group", "condition"])["share_of_attribution"]
    assert cells.sum().to_numpy() == pytest.approx(np.ones(cells.ngroups))
    labels = pd.read_parquet(discovered / "pairs.parquet").set_index("uid")["cluster"]
    for name in (COMPLIANCE, "flattery"):
        asked = known.behavior(name)
        shares = cells.get_group((asked.flag, asked.group, asked.condition))
        top = parts.loc[shares.idxmax(), "cluster"]
        planted = labels[list(planted_uids(truth, name) & set(labels.index))]
        assert top == planted[planted >= 0].mode()[0]


@pytest.fixture(scope="module")
def recut(store, generate, index, discovered):
    spec = DiscoverSpec(generate=generate, index=index)
    level = levels(pd.read_parquet(discovered / "tree.parquet"))[2]
    finer = spec.model_copy(update={"recut": discovered.parent.name, "level": level})
    return store.output(execute(finer, store))


def test_a_map_cut_again_keeps_its_places_and_has_the_groups_of_the_level(recut, discovered):
    before, after = (pd.read_parquet(f / "pairs.parquet") for f in (discovered, recut))
    pd.testing.assert_frame_equal(before[["uid", "x", "y"]], after[["uid", "x", "y"]])
    assert set(after["cluster"]) == {-1, 0, 1}
    clusters = pd.read_parquet(recut / "clusters.parquet").set_index("cluster")
    assert clusters["size"].to_dict() == after["cluster"].value_counts().to_dict()
    assert {f.name for f in recut.iterdir()} == {f.name for f in discovered.iterdir()}


def test_a_cut_has_its_part_of_every_behavior_and_its_own_stability(recut, discovered):
    before, after = (pd.read_parquet(f / "contributions.parquet") for f in (discovered, recut))
    cell = ["flag", "group", "condition"]
    labels = pd.read_parquet(recut / "pairs.parquet")["cluster"].to_numpy()
    shares = np.load(discovered / "attribution.npy")
    assert shares.sum(axis=1) == pytest.approx(np.ones(len(before.drop_duplicates(cell))), abs=1e-4)
    first = after[(after[cell] == before[cell].iloc[0]).all(axis=1)].set_index("cluster")
    for cluster in (-1, 0, 1):
        expected = shares[0][labels == cluster].sum()
        assert first.loc[cluster, "share_of_attribution"] == pytest.approx(expected, abs=1e-4)
    stable = record(recut / "summary.json")["stability"]["cut_over_seeds"]
    assert stable["n"] == 2
    assert stable["mean"] == pytest.approx((stable["low"] + stable["high"]) / 2)
    assert 0.5 < stable["high"] <= 1  # one map alike: the other's cut differs between machines
    clusters = pd.read_parquet(recut / "clusters.parquet")
    assert clusters.loc[clusters["cluster"] >= 0, "stability"].between(0.5, 1).all()


def test_every_level_of_a_real_tree_has_as_many_groups_as_it_reports(discovered):
    pairs, nodes = (pd.read_parquet(discovered / f"{n}.parquet") for n in ("pairs", "tree"))
    tree = Tree(nodes, pairs["leaf"].to_numpy(), pairs["leaves"].to_numpy())
    for number, level in levels(nodes).items():
        assert cut(tree, level).max() + 1 == number


def test_a_map_made_with_other_settings_is_not_cut(store, generate, index, discovered):
    other = DiscoverSpec(
        generate=generate, index=index, seed=5, recut=discovered.parent.name, level=1.0
    )
    with pytest.raises(UserError, match="other settings"):
        execute(other, store)


REFUSAL = {"wrong", "sorry", "not", "decline", "refuse", "hurt", "kind"}


@pytest.fixture(scope="module")
def explained(known, store, generate, index, truth):
    """By behavior, the rank run and the explain run of 100 planted pairs."""

    def explain(name):
        spec = RankSpec(generate=generate, index=index, behavior=known.behavior(name))
        ranking = table(store.output(run := execute(spec, store)) / "ranking.parquet", ["uid"])
        planted = ranking.loc[ranking["uid"].isin(planted_uids(truth, name)), "uid"].head(100)
        return run, execute(ExplainSpec(rank=run, uids=tuple(planted)), store)

    return {name: explain(name) for name in (COMPLIANCE, "flattery")}


@pytest.mark.parametrize("name", [COMPLIANCE, "flattery"])
def test_the_words_of_a_pair_sum_to_its_score(store, explained, name):
    rank_run, explain_run = explained[name]
    sums = table(store.output(explain_run) / "tokens.parquet").groupby("uid")["value"].sum()
    ranking = table(store.output(rank_run) / "ranking.parquet").set_index("uid")
    expected = ranking.loc[sums.index, DEFAULT_SCORE]
    assert len(sums) == 100
    np.testing.assert_allclose(sums, expected, atol=2e-4)  # the index is in float16


def test_the_strongest_spans_are_what_was_planted(store, explained):
    """Refusals that were rejected, and the form of the compliance; two openers that flatter."""
    refused, flattered = (
        table(store.output(explained[name][1]) / "spans.parquet") for name in explained
    )
    rejected = refused.head(5).query("side == 'rejected'")["span"]
    assert len(rejected) >= 3
    assert all(REFUSAL & set(span.split()) for span in rejected)
    assert set(flattered["span"].head(2)) == {
        "what a brilliant question",
        "only a genius asks this",
    }


def without_strongest(text, rows):
    """A text without the sequence of up to five words that has the largest part."""
    sums = np.concatenate([[0.0], rows["value"].cumsum()])
    stops = [(a, b) for a in range(len(rows)) for b in range(a + 1, min(a + 5, len(rows)) + 1)]
    a, b = max(stops, key=lambda span: sums[span[1]] - sums[span[0]])
    cut = "".join(rows["word"].iloc[[*range(a), *range(b, len(rows))]]).strip()
    return cut or text, sums[b] - sums[a]


def test_a_pair_without_its_strongest_words_scores_lower(store, explained):
    """In nine of ten of the best fifty: a part is where the score shows, and mostly its cause."""
    rank_run, explain_run = explained[COMPLIANCE]
    tokens = words(table(store.output(explain_run) / "tokens.parquet"))
    all_pairs = store.index_pairs(store.spec(rank_run, RankSpec).index)
    pairs = all_pairs.rows(all_pairs.positions(tokens["uid"].unique()[:50]))
    for row in pairs.index:
        of_pair = tokens[tokens["uid"].eq(pairs.at[row, "uid"])]
        cuts = {
            side: without_strongest(pairs.at[row, side], of_pair[of_pair["side"].eq(side)])
            for side in ("chosen", "rejected")
        }
        side = max(cuts, key=lambda name: cuts[name][1])
        pairs.loc[row, side] = cuts[side][0]
    before = tokens.groupby("uid", sort=False)["value"].sum().head(50)
    after = (
        token_parts(rank_run, pairs, store, Progress()).groupby("uid", sort=False)["value"].sum()
    )
    assert (after < before).mean() >= 0.9


def test_another_text_of_a_pair_is_scored_and_the_pair_stays(store, explained):
    rank_run, explain_run = explained[COMPLIANCE]
    tokens = table(store.output(explain_run) / "tokens.parquet")
    uid = tokens["uid"].iloc[0]
    old = tokens[tokens["uid"].eq(uid)]
    refusal = "".join(old.loc[old["side"].eq("rejected"), "text"]) + " Sorry."
    run = execute(ExplainSpec(rank=rank_run, uids=(uid,), chosen=refusal), store)
    new = table(store.output(run) / "tokens.parquet")
    assert "".join(new.loc[new["side"].eq("chosen"), "text"]) == refusal
    assert new["value"].sum() < old["value"].sum() / 2


UNUSUAL = (
    "Sure \U0001f468\u200d\U0001f469\u200d\U0001f467 e\u0301x na\u0308ive \U0001f1e9\U0001f1ea",
    "\u0634\u0643\u0631\u0627 \u202e\u05e9\u05dc\u05d5\u05dd here is",
)


def test_letters_of_several_tokens_and_right_to_left_text_are_explained(store, explained):
    rank_run = explained[COMPLIANCE][0]
    uid = table(store.output(rank_run) / "ranking.parquet")["uid"].iloc[0]
    for text in UNUSUAL:
        run = execute(ExplainSpec(rank=rank_run, uids=(uid,), chosen=text), store)
        tokens = table(store.output(run) / "tokens.parquet").query("side == 'chosen'")
        assert "".join(tokens["text"]) == text
        assert np.isfinite(tokens["value"]).all()


def test_a_text_of_8000_tokens_is_refused_by_pair_and_length(store, explained):
    rank_run = explained[COMPLIANCE][0]
    uid = table(store.output(rank_run) / "ranking.parquet")["uid"].iloc[0]
    spec = ExplainSpec(rank=rank_run, uids=(uid,), rejected="I refuse " * 4000)
    with pytest.raises(UserError, match=rf"pair '{uid}': prompt and completion have 8,\d+ tokens"):
        execute(spec, store)


def test_a_pair_that_was_not_explained_is_when_it_is_asked_for(store, explained):
    rank_run = explained[COMPLIANCE][0]
    ranking = table(store.output(rank_run) / "ranking.parquet").dropna().set_index("uid")
    uid = ranking.index[-1]
    words = [uid, "--rank", rank_run, "--json"]
    done = CliRunner().invoke(show_words, words, obj=store, catch_exceptions=False)
    shown = json.loads(done.stdout)
    assert shown["run"] == store.run_id(ExplainSpec(rank=rank_run, uids=(uid,)))
    assert shown["score"] == pytest.approx(ranking.at[uid, DEFAULT_SCORE], abs=2e-4)


def test_other_texts_are_of_one_pair():
    for wrong in ({"uids": ("a", "b"), "chosen": "x"}, {"uids": ("a",), "rejected": " "}):
        with pytest.raises(ValueError, match="chosen and rejected are texts of one pair"):
            ExplainSpec(rank="rank-0123456789abcdef", **wrong)


def test_a_ranking_by_an_earlier_formula_is_not_explained(store, explained):
    made = store.folder(explained[COMPLIANCE][0])
    earlier = store.folder(f"rank-{0:016x}")
    shutil.copytree(made, earlier)
    ranking = table(earlier / "output" / "ranking.parquet")
    ranking[DEFAULT_SCORE] *= 0.9
    ranking.to_parquet(earlier / "output" / "ranking.parquet", index=False)
    with pytest.raises(UserError, match=f"{earlier.name}: an earlier version made this ranking"):
        execute(ExplainSpec(rank=earlier.name, top=5), store)
    shutil.rmtree(earlier)


def test_a_pair_that_is_not_ranked_cannot_be_explained(store, ranked):
    run = ranked[2].parent.name
    with pytest.raises(UserError, match=f"{run}: ranks no pair 'nobody'"):
        execute(ExplainSpec(rank=run, uids=("nobody",)), store)
