"""Unusual pairs through the real steps and onto the pages: few, all similar, hostile text."""

import pandas as pd
import pytest

from core.demo.investigation import ORGANISM
from core.errors import UserError
from core.organism.sampling import planted_uids, read_truth
from core.runs.execute import execute
from core.runs.store import Store
from core.specs import project as projects
from core.storage.tables import record
from tests.pages.conftest import page_text

pytestmark = pytest.mark.slow

HOSTILE = (
    "<img src=x onerror=alert(1)> you are wrong.",
    "![you](http://evil.example/x.png) are **wrong**.",
    "\u202ethe king is wrong\u202c and \u2066so are you\u2069.",
    "the king\x07\x1b[31m is\u200b wrong.",
    "$x^2$ :red[wrong] `king` <script>alert(1)</script>",
    "wrong " + "a" * 60_000,
)
FEW, MANY = 6, 30
SETTINGS = {"all noise": {"cluster_by": "density", "min_cluster_size": 500}}


def pairs_of(kind: str) -> pd.DataFrame:
    """Preference pairs that are unusual in one way."""
    pairs = pd.read_parquet(projects.load(ORGANISM).pairs)
    if kind == "hostile text":
        return pairs.head(2 * len(HOSTILE)).assign(
            prompt=[f"{text} Why?" for text in HOSTILE * 2],
            chosen=[*HOSTILE[::-1], *HOSTILE],
            source=[text[:40] for text in HOSTILE * 2],
        )
    if kind == "fewer pairs than neighbours":
        return pairs.head(FEW)
    planted = planted_uids(read_truth(ORGANISM / "truth.parquet"), "flattery")
    flattery = pairs[pairs["uid"].isin(planted)].head(MANY)
    if kind == "identical pairs":
        same = flattery.iloc[[0] * MANY]
        return same.assign(uid=[f"same-{i}" for i in range(MANY)])
    return flattery


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """One draw of completions for all of them."""
    folder = tmp_path_factory.mktemp("unusual")
    prompts = pd.read_json(ORGANISM / "prompts.jsonl", lines=True)
    some = prompts.groupby("group").head(4)
    some.to_json(folder / "prompts.jsonl", orient="records", lines=True)
    return Store(folder / "workspace")


@pytest.fixture
def store(workspace, monkeypatch):
    monkeypatch.setenv("PAIRTRACE_WORKSPACE", str(workspace.workspace))
    return workspace


@pytest.fixture
def planned(store, tmp_path):
    """The discover run that a project over some unusual pairs comes to; its inputs are finished."""

    def of(kind: str):
        pairs_of(kind).to_parquet(tmp_path / "pairs.parquet")
        settings = {"repeats": 0, **SETTINGS.get(kind, {})}
        project = projects.load(ORGANISM).model_copy(
            update={
                "pairs": str(tmp_path / "pairs.parquet"),
                "prompts": str(store.workspace.parent / "prompts.jsonl"),
                "overrides": {"generate": {"rollouts": 2}, "discover": settings},
            }
        )
        projects.save(project, store.workspace)
        inputs = (execute(one, store) for one in (project.generate(), project.index()))
        return project.discover(*inputs)

    return of


@pytest.mark.parametrize(
    "kind", ["fewer pairs than neighbours", "pairs of one kind", "hostile text"]
)
def test_unusual_pairs_get_a_map_and_both_pages_show_it(planned, open_page, store, kind):
    run = execute(planned(kind), store)
    summary = record(store.output(run) / "summary.json")
    pages = [open_page("map"), open_page("clusters"), open_page("map", phrase="wrong")]
    for app in pages:
        assert not app.exception
        assert not app.error
    assert pages[0].metric[0].value == str(summary["n_pairs"])
    assert bool(pages[1].warning) == (summary["n_clusters"] == 0)
    if kind == "hostile text":
        assert pages[2].metric[0].value == str(summary["n_pairs"])
        for app in pages:
            boxes = "".join(one.proto.body for one in app.get("html"))
            drawn = "".join(str(one.value) for one in [*app.markdown, *app.caption])
            assert "<img" not in boxes + drawn
            assert "](http" not in drawn
            assert not {"\u202e", "\u2066", "\x07", "\x1b"} & set(boxes + page_text(app))


def test_a_map_without_a_cluster_explains_itself_on_every_page(planned, open_page, store):
    run = execute(planned("all noise"), store)
    for other in set(store.finished("discover")) - {run}:
        store.delete(other)
    assert record(store.output(run) / "summary.json")["n_clusters"] == 0
    for page in ("overview", "map", "clusters", "intervene"):
        app = open_page(page)
        assert not app.exception
        assert not app.error
        assert "Discovery found no cluster on this map" in app.warning[0].value


def test_identical_pairs_are_refused_in_words_on_the_page_too(planned, open_page, store):
    with pytest.raises(UserError, match="all pairs have the same prompt"):
        execute(planned("identical pairs"), store)
    for other in store.finished("discover"):
        store.delete(other)
    app = open_page("map")
    assert not app.exception
    assert "This run failed." in app.error[0].value
    assert "all pairs have the same prompt" in page_text(app)
