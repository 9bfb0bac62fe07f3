"""Every kind of file that we write, damaged: the same in the end, or told by name with what to do.

`KINDS` names each kind of file in a finished workspace and who reads it; a file of another kind
fails. What is read is what it was before the damage, or a `UserError`. Other values in a file that
is still a whole one of its kind are found by `runs verify` in what runs wrote, and by nothing in
what lies outside of runs.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from core.attribution.index.layout import verify
from core.errors import UserError
from core.intervention.evaluation.judges import load_judge
from core.report.findings import gather
from core.runs import hashing
from core.runs.execute import execute
from core.runs.store import Store
from core.specs import project
from core.specs.recipes import Edit, TopK
from core.storage import tables
from core.workspace import label_files
from core.workspace.catalog import Catalog
from tests.chat_server import Reply, chat_server
from tests.faults.investigation import PLANTED, make_project
from tests.faults.test_damage import DAMAGE
from tests.faults.test_kills import assert_same, run
from tests.faults.test_locks import JUDGE

pytestmark = pytest.mark.slow
LONG = os.environ.get("PAIRTRACE_LONG") == "1"
ADVICE = re.compile(
    r"again|[Dd]elete|[Pp]ut a copy|Restore a copy|Use the|index verify|Add |another template"
)
LOCKS = ("*.lock", "runs/*/lock", "runs/*/starting")  # empty: held or not, nothing is read
AS_PAGES = {
    ".parquet": tables.table,
    ".json": tables.record,
    ".jsonl": tables.lines,
    ".npy": tables.array,
    ".npz": tables.arrays,
}


class Workspace:
    """A copy of the finished workspace, whose files may be damaged."""

    def __init__(self, folder: Path, expected: Store, specs: dict) -> None:
        self.store = Store(shutil.copytree(expected.workspace, folder / "w", symlinks=True))
        self.expected, self.specs = expected, specs

    def redo(self, name: str) -> None:
        """A step again, from what the workspace holds."""
        run = self.expected.run_id(self.specs[name])
        shutil.rmtree(self.store.folder(run))
        self.finish(name)

    def finish(self, name: str) -> None:
        """A step, with what an earlier attempt left."""
        run = execute(self.specs[name], self.store)
        assert_same(self.store.output(run), self.expected.output(run))


def step(name):
    """The file is read by this step."""
    return lambda at, _path: at.redo(name)


def page(_at, path):
    """The file is read by pages only."""
    AS_PAGES[path.suffix](path)


def report(at, _path):
    gather(at.store)


def decided(at, _path):
    state = Catalog(at.store.workspace).state()
    assert len(state.cart) == 1
    assert state.labels[at.expected.newest("discover")].names == {0: "kept"}


def read_project(at, _path):
    assert project.load(at.store.workspace) == project.load(at.expected.workspace)


def judged(at, _path):
    os.environ["PAIRTRACE_WORKSPACE"] = str(at.store.workspace)
    judge = load_judge(str(at.expected.workspace.parent / "judge.toml"))
    assert judge.judge(["p"], ["one"])["rude"].tolist() == [True]


def fingerprint(at, _path):
    os.environ["PAIRTRACE_WORKSPACE"] = str(at.store.workspace)
    hashing._hash.cache_clear()
    model = Path(at.specs["index"].model)
    assert at.expected.contents(at.specs["index"])["model"] == hashing.fingerprint_model(model)


def listed(at, path):
    """A run's own records: it stays in the lists, and is what it was or told."""
    run = path.relative_to(at.store.runs).parts[0]
    assert {info.id for info in at.store.infos()} == {info.id for info in at.expected.infos()}
    assert at.store.state(run) == "finished"
    assert at.store.spec(run) == at.expected.spec(run)


def verified(_at, path):
    hashing.problems(path.parent)


KINDS = {
    "project.toml": [read_project],
    "catalog.sqlite": [decided],
    "cache/answers.sqlite": [judged],
    "cache/names.sqlite": [step("suggest")],
    "cache/fingerprints/*": [fingerprint],
    "cache/pairs-*": [step("suggest")],
    "cache/queries/*": [step("explain")],
    "cache/selftests.json": [step("index")],
    "cache/reference_log_probs/*.parquet": [step("train")],
    "runs/*/spec.json": [listed],
    "runs/*/progress.jsonl": [listed],
    "runs/*/SHA256SUMS": [verified],
    "runs/generate-*/output/completions.parquet": [step("rank")],
    "runs/generate-*/output/rates.parquet": [page, report],
    "runs/index-*/output/skipped.parquet": [page],
    "runs/index-*/output/*": [step("rank")],
    "runs/contrast-*/output/*": [page],
    "runs/explain-*/output/*": [page],
    "runs/rank-*/output/ranking.parquet": [page, step("edit")],
    "runs/rank-*/output/vectors.npz": [page, step("steered")],
    "runs/rank-*/output/summary.json": [page, report],
    "runs/discover-*/output/clusters.parquet": [page, step("suggest")],
    "runs/discover-*/output/pairs.parquet": [page, step("suggest"), step("recut")],
    "runs/discover-*/output/prompts.parquet": [page, step("recut")],
    "runs/discover-*/output/tree.parquet": [page, step("recut")],
    "runs/discover-*/output/matrix.npy": [page, step("recut")],
    "runs/discover-*/output/pushes.npy": [page, step("recut")],
    "runs/discover-*/output/summary.json": [page, step("recut")],
    "runs/discover-*/output/*": [page],
    "runs/edit-*/output/pairs.parquet": [page, step("train")],
    "runs/edit-*/output/actions.parquet": [page],
    "runs/edit-*/output/summary.json": [page, report],
    "runs/train-*/output/model/*": [step("evaluate")],
    "runs/train-*/output/*": [page],
    "runs/evaluate-*/output/rates.parquet": [page, report],
    "runs/evaluate-*/output/*": [page],
    "runs/convert-*/output/*": [page],
    "runs/check-*/output/*": [page],
    "runs/generate-*/output/*": [page],
    "runs/rank-*/output/*": [page],
    "runs/suggest-*/output/*": [page],
}


def kind_of(path: Path, workspace: Path) -> str | None:
    """The first pattern that a file matches; "" for a lock."""
    name = str(path.relative_to(workspace))
    if any(fnmatchcase(name, lock) for lock in LOCKS):
        return ""
    return next((kind for kind in KINDS if fnmatchcase(name, kind)), None)


@pytest.fixture(scope="session")
def finished(calm, tmp_path_factory):
    """The calm workspace with all that people and caches add to it, and two more runs."""
    expected, specs, _ = calm
    folder = tmp_path_factory.mktemp("finished")
    store = Store(shutil.copytree(expected.workspace, folder / "calm"))
    with (
        chat_server(lambda *_: Reply("90")) as server,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("PAIRTRACE_WORKSPACE", str(store.workspace))
        patch.setattr(hashing, "LARGE", 1)
        patch.setattr(hashing, "SETTLED", -(1 << 62))  # no file here is that new
        hashing._hash.cache_clear()
        discover, rank = expected.run_id(specs["discover"]), expected.run_id(specs["rank"])
        leaves = tables.table(expected.output(discover) / "pairs.parquet")["leaves"]
        cut = {"recut": discover, "level": float(1 / leaves[leaves > 0].median())}
        more = specs | {
            "steered": specs["evaluate"].model_copy(update={"vector": rank, "steering": "add"}),
            "recut": specs["discover"].model_copy(update=cut),
        }
        for name in ("steered", "recut"):
            execute(more[name], store)
        project.save(make_project(folder), store.workspace)
        catalog = Catalog(store.workspace)
        catalog.rename(discover, 0, "kept", who="ana")
        catalog.add(Edit(action="flip", recipe=TopK(rank=rank, k=PLANTED)), who="ana")
        (folder / "judge.toml").write_text(JUDGE.format(server.url))
        load_judge(str(folder / "judge.toml")).judge(["p"], ["one"])
        yield store, more


@pytest.fixture
def at(finished, tmp_path, monkeypatch):
    """A copy that may be damaged."""
    at = Workspace(tmp_path, *finished)
    monkeypatch.setenv("PAIRTRACE_WORKSPACE", str(at.store.workspace))
    hashing._hash.cache_clear()
    return at


def test_every_file_of_a_finished_workspace_is_of_a_kind_with_a_case(finished):
    store, _ = finished
    files = [path for path in store.workspace.rglob("*") if path.is_file()]
    kinds = {path: kind_of(path, store.workspace) for path in files}
    assert [path for path, kind in kinds.items() if kind is None] == []
    assert set(KINDS) - set(kinds.values()) == set()


CASES = [
    (kind, how)
    for number, kind in enumerate(KINDS)
    for place, how in enumerate(DAMAGE)
    if LONG or (number + place) % 3 == 0
]


@pytest.mark.parametrize(("kind", "how"), CASES)
def test_a_damaged_file_is_told_or_changes_nothing(at, kind, how):
    files = [path for path in at.store.workspace.rglob("*") if path.is_file()]
    files = [path for path in files if kind_of(path, at.store.workspace) == kind]
    for path in files if LONG else files[:2]:
        content = path.read_bytes()
        damage(path, how)
        for read in KINDS[kind]:
            told_or_same(lambda read=read, path=path: read(at, path), path)
        path.write_bytes(content)


def damage(path: Path, how: str) -> None:
    """In place; a hard link of it elsewhere keeps the old bytes."""
    content = EVERY_DAMAGE[how](path.read_bytes())
    path.unlink()
    path.write_bytes(content)


def told_or_same(read, path: Path) -> None:
    """It raises nothing but what a user can act on."""
    try:
        read()
    except UserError as error:
        said = str(error)
        assert path.name in said or str(path.parent) in said, said
        assert ADVICE.search(said), said


RESUMED = {  # what an attempt that was stopped leaves, and the next one reads
    "index": ["manifest.json", "pairs.parquet", "tokens.bin", "skipped.parquet", "shards/*"],
    "train": ["log.jsonl", "checkpoints/*/*"],
}
EVERY_DAMAGE = DAMAGE | {
    "other bytes": lambda content: bytes(byte ^ 1 for byte in content[:4096]) + content[4096:]
}


@pytest.fixture(scope="session")
def stopped(finished, tmp_path_factory):
    """A workspace in which index and train were stopped late, with checkpoints."""
    expected, specs = finished
    folder = tmp_path_factory.mktemp("stopped")
    store = Store(shutil.copytree(expected.workspace, folder / "w"))
    index, train = (store.folder(expected.run_id(specs[name])) for name in RESUMED)
    (index / "output").rename(index / "output.part")
    for moment in range(12, 400, 8):
        shutil.rmtree(train)
        code = run(specs["train"], store.workspace, moment, folder / "moments")
        assert code == -signal.SIGKILL, "no checkpoint outlived an attempt"
        if len(list(train.glob("output.part/checkpoints/*/whole"))) > 1:
            break
    return store, specs


@pytest.mark.parametrize("how", EVERY_DAMAGE if LONG else ["other bytes"])
@pytest.mark.parametrize(("name", "files"), [(n, f) for n, fs in RESUMED.items() for f in fs])
def test_what_a_stopped_attempt_left_is_resumed_made_again_or_told(
    finished, stopped, tmp_path, name, files, how
):
    expected, specs = finished
    at = Workspace(tmp_path, stopped[0], specs)
    at.expected = expected
    part = at.store.folder(expected.run_id(specs[name])) / "output.part"
    paths = sorted(part.glob(files))
    assert paths
    for path in paths:
        path.write_bytes(EVERY_DAMAGE[how](path.read_bytes()))
    told_or_same(lambda: at.finish(name), paths[0])


@pytest.mark.parametrize("how", EVERY_DAMAGE)
def test_a_damaged_place_of_shards_is_told_and_nothing_there_is_deleted(
    finished, tmp_path, monkeypatch, how
):
    """It names a folder of a store, which a new plan would clear."""
    _, specs = finished
    there, store = tmp_path / "there", Store(tmp_path / "w")
    there.mkdir()
    monkeypatch.setenv("PAIRTRACE_SHARDS", f"file://{there}")
    index = execute(specs["index"], store)
    kept = {path: path.read_bytes() for path in there.rglob("*") if path.is_file()}
    assert kept
    place = store.output(index) / "shards.url"
    for content in (EVERY_DAMAGE[how](place.read_bytes()), f"file://{there}".encode()):
        place.write_bytes(content)
        with pytest.raises(UserError, match=r"shards\.url: damaged.*Delete the run's folder"):
            verify(store.output(index))
    (store.folder(index) / "output").rename(store.folder(index) / "output.part")
    with pytest.raises(UserError, match=r"shards\.url: damaged"):
        execute(specs["index"], store)
    assert {path: path.read_bytes() for path in there.rglob("*") if path.is_file()} == kept


@pytest.mark.parametrize("how", EVERY_DAMAGE)
def test_a_shard_whose_bytes_changed_is_named_by_verify(at, how):
    index = at.store.output(at.expected.run_id(at.specs["index"]))
    shard = min((index / "shards").glob("*.npy"))
    damage(shard, how)
    assert verify(index)["file"].tolist() == [str(shard)]


def test_one_bit_that_changed_in_any_file_of_any_run_is_found(at):
    for folder in at.store.runs.iterdir():
        assert hashing.problems(folder) == {}
        files = [folder / "spec.json", *(folder / "output").rglob("*")]
        files = [path for path in files if path.is_file() and path.stat().st_size]
        for path in [path for path in files if path.parent.name != "shards"]:
            content = path.read_bytes()
            damage(path, "other bytes")
            assert list(hashing.problems(folder)) == [str(path.relative_to(folder))]
            path.write_bytes(content)


@pytest.mark.parametrize("how", DAMAGE)
def test_labels_that_were_damaged_on_their_way_change_nothing(at, how):
    catalog = Catalog(at.store.workspace)
    before, text = catalog.events(), label_files.to_json(catalog.state()).encode()
    with pytest.raises(UserError, match="not labels"):
        catalog.import_labels(DAMAGE[how](text).decode(errors="replace"), who="bo")
    assert catalog.events() == before


@pytest.mark.skipif(not LONG, reason="make faults: half a minute to compile what is then damaged")
@pytest.mark.parametrize("how", DAMAGE)
def test_a_damaged_cache_of_compiled_code_is_told(tmp_path, how):
    code = (
        "import numpy as np\n"
        "from core.discovery.projection import run_umap\n"
        "from core.geometry import nearest_neighbors\n"
        "points = np.random.default_rng(0).normal(size=(64, 4)).astype('float32')\n"
        "known = nearest_neighbors(points, points, 5, same=True)\n"
        "run_umap(points, points[:, :2], known, min_dist=0.1, seed=0)\n"
    )
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", code]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    for path in [path for path in tmp_path.rglob("*.nbi") if path.is_file()]:
        damage(path, how)
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert f"UserError: {tmp_path}: what numba compiled is damaged" in done.stderr
