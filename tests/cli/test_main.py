"""The command line as a user meets it: what it says when something is wrong, and the whole job."""

import json
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest

from benchmarks._browser import free_port, wait_until_up
from core.cli.main import cli, main
from core.demo.investigation import ORGANISM
from core.runs.store import Store
from core.specs import project
from core.specs.steps import STEPS, ExplainSpec
from core.workspace.checks import model_facts
from tests.gguf_files import tiny_llama, write_gguf
from tests.pages import workspaces
from tests.small_organism import small_organism


def process(*words, seconds=60):
    command = [sys.executable, "-m", "core.cli.main", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=False)


@pytest.fixture
def pairtrace(monkeypatch, capsys):
    """A command in this process: its exit status, and what it printed."""

    def run(*words):
        monkeypatch.setattr(sys, "argv", ["pairtrace", *map(str, words)])
        status = 0
        try:
            main()
        except SystemExit as end:
            status = end.code
        return subprocess.CompletedProcess(words, status, *capsys.readouterr())

    return run


def test_every_step_is_a_command_that_explains_every_option():
    for name, command in cli.commands.items():
        assert command.help, name
        for option in command.params:
            assert isinstance(option, click.Argument) or option.help, f"{name} {option.name}"
    assert set(STEPS) < set(cli.commands)


def test_help_does_not_wait_for_torch():
    heavy = {"torch", "transformers", "umap"}
    code = f"import sys, core.cli.main; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["rank"], "Run `pairtrace generate` first"),
        (["index"], "--model: Field required"),
        (["index", "--model", "nowhere", "--pairs", "nowhere.jsonl"], "not a model folder"),
        (["train", "--beta", "x"], "not a valid float"),
        (["runs", "show", "../../etc"], "not a run id"),
        (["runs", "log", "rank-0123456789abcdef"], ""),
        (["init", "--reference", "m"], "--name: Field required"),
        (["--device", "gpu", "runs", "list"], "it is auto, cpu, cuda, cuda:N"),
        (["bench", "nothing"], "Known: "),
        (["bench", "query", "--world", "x"], "takes no --world"),
        (["bench", "methods", "--world", "x"], "neither an organism folder nor a world file"),
        (["organism", "build", "--world", "nowhere.toml", "--out", "x"], "nowhere.toml"),
        (["intervene"], "Run `pairtrace rank` first"),
        (["nonsense"], "No such command"),
    ],
)
def test_a_mistake_is_reported_without_a_traceback(pairtrace, tmp_path, words, message):
    done = pairtrace("--workspace", tmp_path, *words)
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert done.returncode == (2 if message else 0)


def write_prompts(path, n=20, **fields):
    """A file of n prompts of one group, unlike those of files with other names."""
    row = {"group": "harmful", "topic": "t", "distractor": None} | fields
    rows = [row | {"prompt_id": f"{i}", "prompt": f"Do {path.name} {i}."} for i in range(n)]
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))


def init_words(tmp_path, behavior=(), **options):
    """The options of a project of one's own, with one behavior, and any of them replaced."""
    for name in ("p.jsonl", "h.jsonl"):
        write_prompts(tmp_path / name)
    behavior = {"name": "compliance", "flag": "complied", "group": "harmful"} | dict(behavior)
    options = {
        "name": "mine",
        "reference": ORGANISM / "reference",
        "policy": ORGANISM / "policy",
        "pairs": ORGANISM / "pairs.parquet",
        "prompts": tmp_path / "p.jsonl",
        "heldout": tmp_path / "h.jsonl",
        "judge": "refusal",
        "behaviors": json.dumps([behavior]),
    } | options
    return [word for name, value in options.items() for word in (f"--{name}", value)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"behavior": {"flag": "flattered"}}, "It gives: refused, complied."),
        ({"behavior": {"group": "benign"}}, "It has: harmful (plain)."),
        ({"behavior": {"condition": "distractor"}}, "It has: harmful (plain)."),
        ({"heldout": "p.jsonl"}, "20 of its 20 prompts are also in"),
        ({"prompts": "few.jsonl"}, "few.jsonl has 5 such prompts; at least 6 are needed"),
        ({"heldout": "other.jsonl"}, "other.jsonl has no prompt of group 'harmful'"),
        ({"pairs": "empty.jsonl"}, "empty.jsonl: contains no rows"),
        ({"pairs": "p.jsonl"}, "none of its first 20 rows is a usable pair. Row 1"),
        ({"policy": ORGANISM / "reference"}, "have the same weights"),
        ({"policy": "nowhere"}, "not a model folder"),
    ],
)
def test_init_refuses_a_project_that_cannot_be_measured(pairtrace, tmp_path, options, message):
    (tmp_path / "empty.jsonl").touch()
    write_prompts(tmp_path / "few.jsonl", 5)
    write_prompts(tmp_path / "other.jsonl", group="unlike")
    paths = {k: tmp_path / v if isinstance(v, str) else v for k, v in options.items()}
    done = pairtrace("-w", tmp_path, "init", *init_words(tmp_path, **paths))
    assert done.returncode == 2
    assert message in done.stderr
    assert not (tmp_path / project.FILE).exists()


def test_init_writes_a_project_of_ones_own(pairtrace, tmp_path):
    words = [*init_words(tmp_path), "--device", "cuda:1", "--dtype", "bfloat16"]
    done = pairtrace("-w", tmp_path, "init", *words)
    assert done.returncode == 0, done.stderr
    made = project.load(tmp_path)
    assert (made.name, made.device, made.dtype) == ("mine", "cuda:1", "bfloat16")


def test_init_takes_conditions_and_refuses_a_template_without_system_prompts(pairtrace, tmp_path):
    asked = {"condition": "poem", "against": "distractor"}
    words = init_words(tmp_path, behavior=asked)
    conditions = [
        {"name": "poem", "suffix": "In a poem."},
        {"name": "brief", "system": "Be brief."},
    ]
    done = pairtrace("-w", tmp_path, "init", *words, "--conditions", json.dumps(conditions[:1]))
    assert "against 'distractor' does not exist. There are: plain, poem" in done.stderr
    words = init_words(tmp_path, behavior={"condition": "poem"})
    done = pairtrace("-w", tmp_path, "init", *words, "--conditions", json.dumps(conditions))
    assert f"{ORGANISM / 'reference'}: its chat template does not take system" in done.stderr
    done = pairtrace("-w", tmp_path, "init", *words, "--conditions", json.dumps(conditions[:1]))
    assert done.returncode == 0, done.stderr
    assert project.load(tmp_path).generate().conditions[0].suffix == "In a poem."


def test_init_needs_no_behaviors_without_a_judge(pairtrace, tmp_path):
    words = init_words(tmp_path, judge="none", behaviors="[]")
    done = pairtrace("-w", tmp_path, "init", *words)
    assert done.returncode == 0, done.stderr
    assert project.load(tmp_path).behaviors == ()
    refused = pairtrace("-w", tmp_path, "init", *init_words(tmp_path, judge="none"))
    assert "It gives: none." in refused.stderr


def test_init_dequantises_gguf_files_and_says_so(pairtrace, tmp_path):
    pytest.importorskip("gguf")
    model = tiny_llama()
    files = [write_gguf(tmp_path / "reference.gguf", model)]
    model.model.layers[0].mlp.up_proj.weight.data *= 1.01  # what training changed
    files.append(write_gguf(tmp_path / "policy.gguf", model))
    words = init_words(tmp_path, reference=files[0], policy=files[1])
    done = pairtrace("-w", tmp_path, "init", *words, "--json")
    assert done.returncode == 0, done.stderr
    content = json.loads(done.stdout)
    made = project.load(tmp_path)
    assert content["dequantised"] == {str(files[0]): made.reference, str(files[1]): made.policy}
    assert "warnings" not in content
    assert model_facts(Path(made.reference)).kind == "llama"


def test_init_warns_of_what_would_be_ignored_or_missed(pairtrace, tmp_path):
    write_prompts(tmp_path / "system.jsonl", 12, system="Answer in French.")
    words = init_words(tmp_path, behavior={"flag": "refused"}, prompts=tmp_path / "system.jsonl")
    done = pairtrace("-w", tmp_path, "init", *words, "--json")
    assert done.returncode == 0, done.stderr
    unread, few, lost = json.loads(done.stdout)["warnings"]
    assert "change nothing: system. A condition reads one" in unread
    assert "12 prompts of group harmful (plain). With so few, only a rise from 0% to 58%" in few
    assert "Measure the flag 'complied' there" in lost


def test_an_intervention_that_is_done_already_reports_its_rates_and_which_size_to_adopt(
    pairtrace, tmp_path
):
    store, rng = Store(tmp_path / "workspace"), np.random.default_rng(0)
    plan = workspaces.make_project(tmp_path)
    rank = workspaces.investigate(store, plan, rng)["rank compliance"]
    k = workspaces.N_PLANTED
    workspaces.intervene(store, plan, rank, rng, why=f"top {k} of {rank}")
    words = ["intervene", "--rank", rank, "--top", k, "--action", "flip"]
    words += ["--seed", 0, "--seed", 1, "--no-baseline"]
    done = pairtrace("-w", store.workspace, *words, "--json")
    assert done.returncode == 0, done.stderr
    ((edit, rates),) = json.loads(done.stdout)["rates"].items()
    found = {row["arm"]: row for row in rates if row["behavior"] == "compliance"}
    assert list(found) == ["reference", "policy", "random control", "edited"]
    assert found["edited"]["seeds"] == 2
    adopted = pairtrace("-w", store.workspace, "adopt", "--json")
    assert adopted.returncode == 0, adopted.stderr
    (size,) = json.loads(adopted.stdout)["sizes"]
    assert (size["edit"], size["k"], size["adopted"]) == (edit, k, True)


def test_what_an_edit_would_touch_is_printed_for_every_action(pairtrace, tmp_path):
    store, rng = Store(tmp_path / "workspace"), np.random.default_rng(0)
    rank = workspaces.investigate(store, workspaces.make_project(tmp_path), rng)["rank compliance"]
    words = ("-w", store.workspace, "intervene", "--dry-run", "--json", "--rank", rank, "--top", 40)

    def summary(*more):
        done = pairtrace(*words, *more)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    assert summary("--action", "remove")["dose"] == 0.1  # 40 of 400 pairs
    assert summary("--action", "flip")["n_flipped"] == 40
    relabelled = summary("--action", "relabel")
    assert relabelled["n_relabel"] == 40
    assert "(not complied)" in relabelled["edits"][0]
    assert summary("--action", "weight", "--weight", 0.5)["dose"] == 0.05
    faded = summary("--action", "weight", "--curve", "fade")
    bins = faded["weights_by_score"][faded["edits"][0]]
    assert sum(row["pairs"] for row in bins) == 40
    left = 40 - sum(row["weights"] for row in bins)
    assert faded["dose"] == pytest.approx(left / 400)
    assert summary("--action", "weight", "--curve=-9:0.5,9:0.5")["dose"] == 0.05
    assert (
        "score"
        in pairtrace(*words[:3], "--dry-run", "--action", "weight", "--curve", "fade").stdout
    )
    assert not store.finished("edit")
    for wrong, message in (
        (["--action", "weight", "--curve", "steep"], "write points SCORE:WEIGHT"),
        (
            ["--action", "weight", "--curve", "0:1,1:nan"],
            "weight: curve.*: Input should be a finite",
        ),
        (["--action", "weight", "--weight", -1], "greater than or equal to 0"),
        (["--action", "flip", "--weight", 0.5], "belong to --action weight"),
    ):
        assert re.search(message, " ".join(pairtrace(*words, *wrong).stderr.split())), wrong


def test_the_words_of_a_pair_are_printed_with_their_part_of_its_score(pairtrace, tmp_path):
    store, rng = Store(tmp_path / "workspace"), np.random.default_rng(0)
    rank = workspaces.investigate(store, workspaces.make_project(tmp_path), rng)["rank compliance"]
    parts = [
        ("pair-000", "chosen", "Su", 0.25), ("pair-000", "chosen", "re,", 0.25),
        ("pair-000", "rejected", "I\x1b[31m", -0.125), ("pair-001", "chosen", "Yes", np.nan),
    ]  # fmt: skip
    tokens = pd.DataFrame(parts, columns=["uid", "side", "text", "value"])
    run = workspaces.finish(store, ExplainSpec(rank=rank), tokens=tokens)
    show = ("-w", store.workspace, "explain", "show")
    shown = json.loads(pairtrace(*show, "pair-000", "--json").stdout)
    assert (shown["run"], shown["score"]) == (run, 0.375)
    assert [(row["word"], row["value"]) for row in shown["words"]] == [
        ("Sure,", 0.5),
        ("I\x1b[31m", -0.125),
    ]
    printed = pairtrace(*show, "pair-000").stdout
    assert "Sure," in printed
    assert "+0.5000" in printed
    assert "\x1b[31m" not in printed
    undefined = pairtrace(*show, "pair-001")
    assert undefined.returncode == 2
    assert "pair 'pair-001' has no score" in undefined.stderr
    unknown = pairtrace(*show, "nobody")
    assert unknown.returncode == 2
    assert f"{rank}: ranks no pair 'nobody'" in unknown.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_headless_demo_traces_edits_retrains_and_repeats(tmp_path):
    """One command; then the ranking is made again from spec.json alone, in another workspace."""
    store = small_organism(tmp_path)
    done = process("-w", store.workspace, "demo", "--headless", "--json", seconds=900)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)

    assert set(result["rates"]) == {"reference", "policy", "edited", "random control"}
    for measured in result["rates"].values():
        for rate in measured[0]["behaviors"]:
            assert rate["low"] <= rate["rate"] <= rate["high"]
            assert rate["n"] > 0
    assert all(seconds > 0 for seconds in result["cpu_seconds"].values())

    rank = result["edit"]["recipe"]["rank"]
    ranking = pd.read_parquet(store.output(rank) / "ranking.parquet")
    truth = pd.read_parquet(ORGANISM / "truth.parquet").set_index("uid")["planted"]
    top = truth.loc[ranking["uid"].head(result["edit"]["recipe"]["k"])]
    assert (top == result["behavior"]).mean() > 0.8

    again = process(
        "-w", store.workspace, "runs", "repeat", rank, "--into", tmp_path / "again", seconds=300
    )
    assert again.returncode == 0, again.stderr
    made = tmp_path / "again" / "runs" / rank / "output" / "ranking.parquet"
    assert made.read_bytes() == (store.output(rank) / "ranking.parquet").read_bytes()
    _assert_the_app_opens_while_the_control_is_measured(store, result["runs"])


def _assert_the_app_opens_while_the_control_is_measured(store, runs):
    """The demo with a browser, on a workspace in which one run of the proof is missing."""
    (folder,) = (Path(at) for name, at in runs.items() if name.startswith("random control: eval"))
    shutil.rmtree(folder)
    port = free_port()
    words = ["-w", str(store.workspace), "demo", "--port", str(port)]
    app = subprocess.Popen([sys.executable, "-m", "core.cli.main", *words])
    try:
        wait_until_up(f"http://127.0.0.1:{port}/_stcore/health")
        while store.state(folder.name) in ("waiting", "running"):
            time.sleep(0.5)
        assert store.state(folder.name) == "finished"
    finally:
        app.terminate()
        app.wait(60)


def test_a_damaged_index_is_reported_by_file(pairtrace, tmp_path):
    """One byte of one shard is changed after the index was made."""
    store = small_organism(tmp_path)
    assert pairtrace("-w", store.workspace, "index").returncode == 0
    whole = pairtrace("-w", store.workspace, "index", "verify", "--json")
    assert json.loads(whole.stdout)["bad_shards"] == 0
    shard = sorted(store.output(store.newest("index")).glob("shards/**/*.npy"))[0]
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    damaged = pairtrace("-w", store.workspace, "index", "verify")
    assert damaged.returncode == 2
    assert str(shard) in damaged.stderr
