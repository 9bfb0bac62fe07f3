"""The code, the app and the documentation speak the field's language (docs/architecture.md)."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OLD_WORDS = {
    "readings": "activations",
    "islands?": "cluster (HDBSCAN)",
    "own form": "canonical",
    "anew": "again",
    "mend(s|ed|ing)?": "fix",
    "knobs?": "settings, overrides",
    "looks? on": "read-only",
    "(for )?want of": "out of",
    "laid out": "embedded",
    "alike": "similar",
    "(the|its|a|mean|whose|strongest) push": "score, mean similarity",
    "kinds? of prompts?": "prompt cluster",
    "said|told": "labelled, reported, shown",
}
OLD = re.compile(rf"\b({'|'.join(OLD_WORDS)})\b", re.I)
# Names in files that earlier versions wrote: columns of tables, keys of world files.
PERSISTED = re.compile(r"""["'`](island|n_islands|knobs)["'`]""")
OLD_NAMES = {"found", "known", "own", "said", "held", "one", "many", "here", "whole"}
CODE = sorted([ROOT / "app.py", *(ROOT / "core").rglob("*.py"), *(ROOT / "pages").rglob("*.py")])
PROSE = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def name(path):
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("path", [*CODE, *PROSE], ids=name)
def test_no_old_word_is_left(path):
    lines = enumerate(path.read_text().splitlines(), 1)
    assert not [(n, line) for n, line in lines if OLD.search(PERSISTED.sub("", line))]


def bound(tree):
    """Every name that a module binds: variables and parameters."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.arg):
            yield node.arg, node.lineno


@pytest.mark.parametrize("path", CODE, ids=name)
def test_variables_are_named_by_what_they_are(path):
    tree = ast.parse(path.read_text())
    assert not [(n, line) for n, line in bound(tree) if n in OLD_NAMES]
