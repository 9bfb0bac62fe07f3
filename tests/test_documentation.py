"""Whatever is public says what it is for, and the example in the docs runs."""

import ast
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = sorted(
    [*(ROOT / "core").rglob("*.py"), *(ROOT / "pages").glob("*.py"), *ROOT.glob("benchmarks/*.py")]
)


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


@pytest.mark.parametrize("path", FILES, ids=name)
def test_everything_public_has_a_docstring(path):
    found = public(ast.parse(path.read_text(encoding="utf-8")).body)
    assert [node.name for node in found if not ast.get_docstring(node)] == []


def test_the_example_finds_the_flattering_pairs(tmp_path):
    done = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "engine.py"), str(tmp_path / "workspace")],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout
    assert float(said.partition("largest difference to the ranking:")[2].split()[0]) < 1e-5
    world = tomllib.loads((ROOT / "assets" / "organism" / "world.toml").read_text())
    assert sum(said.count(f"\n  + {opener}") for opener in world["openers"]) == 3
