"""The rules of docs/architecture.md that imports and calls can hold."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "transformers", "trl", "peft", "accelerate", "umap", "hdbscan", "ray", "datasets"}
MAY_IMPORT_HEAVY = {
    "core/attribution/activations.py",
    "core/attribution/ekfac.py",
    "core/attribution/gradient.py",
    "core/attribution/low_rank.py",
    "core/intervention/imported.py",
    "core/attribution/tail_patch.py",
    "core/intervention/trainer.py",
    "core/intervention/training.py",
    "core/organism/build.py",
    "core/organism/pretraining.py",
    "core/discovery/projection.py",
    "core/discovery/clusters.py",
}
ENVIRONMENT_READERS = {"core/runs/environment.py", "core/runs/jobs.py", "core/cli.py"}
CORE = sorted((ROOT / "core").rglob("*.py"))
PAGES = [ROOT / "app.py", *sorted((ROOT / "pages").glob("*.py"))]


def name(path):
    return path.relative_to(ROOT).as_posix()


def imports(path):
    """Every module that a file imports, wherever in the file."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def calls(path):
    return {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    }


def heavy(modules):
    return {module for module in modules if module.partition(".")[0] in HEAVY}


@pytest.mark.parametrize("path", CORE, ids=name)
def test_core_never_imports_streamlit_or_a_page(path):
    tops = {module.partition(".")[0] for module in imports(path)}
    assert not tops & {"streamlit", "pages", "app"}


@pytest.mark.parametrize("path", CORE, ids=name)
def test_core_imports_heavy_libraries_only_where_allowed(path):
    allowed = name(path) in MAY_IMPORT_HEAVY or name(path).startswith(
        ("core/models/", "core/steps/")
    )
    assert allowed or not heavy(imports(path))


@pytest.mark.parametrize("path", CORE, ids=name)
def test_core_prints_only_on_the_command_line(path):
    assert name(path).startswith("core/cli") or "print" not in calls(path)


@pytest.mark.parametrize("path", CORE, ids=name)
def test_core_reads_the_environment_in_few_places(path):
    reads = {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }
    allowed = name(path) in ENVIRONMENT_READERS or name(path).startswith("core/models/")
    assert allowed or not reads & {"environ", "getenv"}


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_pages_never_open_files_start_threads_or_load_models(path):
    tops = {module.partition(".")[0] for module in imports(path)}
    assert not tops & (
        HEAVY | {"threading", "subprocess", "concurrent", "multiprocessing", "duckdb"}
    )
    assert not calls(path) & {"open", "pd.read_parquet", "pd.read_json", "np.load", "json.load"}


@pytest.mark.parametrize("path", PAGES, ids=name)
def test_pages_never_swallow_errors(path):
    handlers = [
        node
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ExceptHandler)
    ]
    caught = {ast.unparse(node.type) if node.type else "everything" for node in handlers}
    assert not caught & {"everything", "Exception", "BaseException"}


def test_the_app_loads_nothing_heavy():
    """Whatever pages import, directly or not, in a process of its own."""
    modules = sorted({m for path in PAGES for m in imports(path) if m.startswith("core.")})
    code = (
        "import importlib, sys\n"
        f"for name in {modules!r}:\n"
        "    try:\n        importlib.import_module(name)\n"
        "    except ModuleNotFoundError as error:\n"
        "        assert name.startswith(error.name), error  # a name in a module, not a module\n"
        f"print(sorted(set(sys.modules) & {HEAVY!r}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


def test_no_module_of_core_has_outgrown_one_idea():
    long = {name(path): n for path in CORE if (n := len(path.read_text().splitlines())) > 300}
    assert not long


def test_every_module_says_what_it_is_for():
    silent = [
        name(path)
        for path in [*CORE, *PAGES]
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert not silent
