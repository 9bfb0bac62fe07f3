"""Public names have docstrings; what the pages of docs name exists, and their example runs."""

import ast
import os
import re
import shlex
import subprocess
import sys
import tarfile
import tomllib
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from core import environment
from core.attribution.baselines.registry import METHODS
from core.cli.main import cli
from tests.test_architecture import LAYERS, MAY_IMPORT_HEAVY

ROOT = Path(__file__).parents[1]
CODE = sorted(
    [*(ROOT / "core").rglob("*.py"), *(ROOT / "pages").rglob("*.py"), *ROOT.glob("benchmarks/*.py")]
)
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
ARCHITECTURE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
OLD_WORKSPACE = ROOT / "tests" / "workspaces" / "0.1.0.tar.xz"
FLAGS = {"refused"}  # of that workspace's judge: columns of their own


def name(path):
    return path.relative_to(ROOT).as_posix()


def public(body):
    """Public functions and classes, and the public methods of public classes; stubs left out."""
    for node in body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            if ast.unparse(node.body[0]) != "...":
                yield node
            if isinstance(node, ast.ClassDef):
                yield from public(node.body)


def headings(path):
    """The anchors of a page, as GitHub makes them."""
    lines = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.M)
    return {re.sub(r"[^\w\- ]", "", line.lower()).replace(" ", "-") for line in lines}


def commands(text):
    """Every `pairtrace …` that a page shows, as words; a placeholder is one word."""
    joined = text.replace("\\\n", " ")
    blocks = re.findall(r"^```\w*\n(.*?)^```", joined, re.M | re.S)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```", "", joined, flags=re.M | re.S))
    # a quoted value may have line breaks, so a block is cut at commands, not at lines
    start = r"^(?:\$ )?(?:[A-Z_]+=\S+ )*(pairtrace(?: [^'\n]*(?:'[^']*')?)*)"
    shown = re.findall(start, "\n".join(blocks), re.M)
    for line in [*shown, *(line for line in inline if re.match("pairtrace( |$)", line))]:
        line = re.sub(r"\[(--[^]]*)\]", r"\1", re.sub(r"<[^>]*>", "X", line))
        yield [w for w in shlex.split(line.replace(" …", ""), comments=True)[1:] if w != "…"]


@pytest.mark.parametrize("path", CODE, ids=name)
def test_everything_public_has_a_docstring(path):
    nodes = public(ast.parse(path.read_text(encoding="utf-8")).body)
    assert [node.name for node in nodes if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            file, _, anchor = target.partition("#")
            place = (path.parent / file).resolve() if file else path
            assert place.exists(), target
            assert not anchor or anchor in headings(place), target


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_files_of_this_repository_that_a_page_names_exist(path):
    text = path.read_text(encoding="utf-8")
    named = re.findall(
        r"`((?:core|pages|tests|benchmarks|assets|examples|deploy)/[\w./]*\w/?)`", text
    )
    assert [file for file in named if not (ROOT / file).exists()] == []


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_commands_that_a_page_shows_are_commands(path, tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "prepare", lambda *_, **__: None)
    for words in commands(path.read_text(encoding="utf-8")):
        # --help is met before a missing value, but after an unknown option or command
        result = CliRunner().invoke(cli, ["-w", str(tmp_path), *words, "--help"])
        assert result.exit_code == 0, (words, result.output)


def test_the_index_of_experiments_lists_every_page():
    folder = ROOT / "docs" / "experiments"
    listed = re.findall(r"\]\((\w+\.md)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert sorted([*listed, "README.md"]) == sorted(path.name for path in folder.glob("*.md"))


def test_every_experiment_has_an_answer_a_set_up_a_result_and_a_decision():
    for path in (ROOT / "docs" / "experiments").glob("[a-z]*.md"):
        text = path.read_text(encoding="utf-8")
        parts = ("**Answer.**", "\n## Set-up", "\n## Result", "\n## Decision")
        assert [part for part in parts if part not in text] == [], path.name


def test_the_changelog_has_features_only_and_not_too_many():
    assert len((ROOT / "CHANGELOG.md").read_text(encoding="utf-8").splitlines()) <= 80


def test_the_architecture_names_the_layers_and_who_may_import_heavy_libraries():
    rules = ARCHITECTURE.partition("## Words")[0]
    layers = re.search(r"only from those before it: (.*?)\.", rules, re.S)
    assert re.findall(r"`(\w+)`", layers[1]) == list(LAYERS)
    assert [file for file in MAY_IMPORT_HEAVY if f"`{file}`" not in rules] == []


def test_every_way_of_ranking_is_explained():
    text = (ROOT / "docs" / "method.md").read_text(encoding="utf-8")
    assert [method for method in METHODS if f"`{method}`" not in text] == []


def test_adding_something_takes_at_most_four_files():
    recipes = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").partition("## How to add")[2]
    steps = [int(number) for number in re.findall(r"^(\d)\. ", recipes, re.M)]
    assert steps.count(1) == 5
    assert max(steps) <= 4


def test_the_environment_variables_are_documented():
    variables = re.findall(r'= "(PAIRTRACE_\w+)"', (ROOT / "core/environment.py").read_text())
    pages = "".join(path.read_text(encoding="utf-8") for path in PAGES)
    internal = {  # set by the command line, for its children
        "PAIRTRACE_TRUST_REMOTE_CODE",
        "PAIRTRACE_TRUST_JUDGE_CODE",
    }
    assert [v for v in variables if v not in pages and v not in internal] == []


def test_every_file_and_column_that_steps_write_is_in_the_architecture(tmp_path):
    with tarfile.open(OLD_WORKSPACE) as archive:
        archive.extractall(tmp_path, filter="data")
    sections = ARCHITECTURE.partition("## Outputs of the steps")[2].split("\n### ")
    missing = []
    for output in sorted((tmp_path / "workspace" / "runs").glob("*/output")):
        step = output.parent.name.partition("-")[0]
        (section,) = [s for s in sections if step in s.partition("\n")[0].split(", ")]
        for file in output.iterdir():
            written = re.sub(r"layer\d+", "layer<l>", file.name)
            rows = [row for row in section.splitlines() if f"`{written}" in row]
            columns = pq.read_schema(file).names if file.suffix == ".parquet" else []
            if (step, file.name) in {("edit", "pairs.parquet"), ("convert", "pairs.parquet")}:
                columns = []  # those of the pairs
            words = set(re.findall(r"\w+", rows[0])) if rows else set()
            missing += [(step, file.name)] if not rows else []
            missing += [(step, file.name, c) for c in columns if c not in words | FLAGS]
    assert missing == []


@pytest.mark.slow
def test_the_example_finds_the_flattering_pairs(tmp_path):
    example = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "engine.py"), str(tmp_path / "workspace")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert example.returncode == 0, example.stderr
    printed = example.stdout
    assert float(printed.partition("largest difference to the ranking:")[2].split()[0]) < 1e-5
    world = tomllib.loads((ROOT / "assets" / "organism" / "world.toml").read_text())
    assert sum(printed.count(f"\n  + {opener}") for opener in world["openers"]) == 3
