"""The rules of docs/architecture.md that imports and calls can hold."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Each room imports only from those before it.
LAYERS = (
    "errors",
    "stats",
    "geometry",
    "environment",
    "storage",
    "data",
    "models",
    "specs",
    "runs",
    "attribution",
    "discovery",
    "organism",
    "intervention",
    "workspace",
    "steps",
    "report",
    "demo",
    "cli",
)
HEAVY = {"torch", "transformers", "trl", "peft", "accelerate", "umap", "hdbscan", "ray", "datasets"}
MAY_IMPORT_HEAVY = (
    "core/models/",
    "core/steps/",
    "core/attribution/baselines/ekfac.py",
    "core/attribution/baselines/gradient.py",
    "core/attribution/evaluation/counterfactual.py",
    "core/intervention/training/checkpoints.py",
    "core/intervention/training/packed_pass.py",
    "core/intervention/training/trainer.py",
    "core/intervention/training/dpo.py",
    "core/demo/organism.py",
    "core/demo/sft.py",
    "core/discovery/projection.py",
    "core/discovery/clustering.py",
)
MODULES = {"core": 150, "pages": 55}  # at most
CORE = sorted((ROOT / "core").rglob("*.py"))
PAGES = [ROOT / "app.py", *sorted((ROOT / "pages").rglob("*.py"))]
PACKAGES = sorted(path.parent for path in [*CORE, *PAGES] if path.name == "__init__.py")


def name(path):
    return path.relative_to(ROOT).as_posix()


def module(path):
    return name(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")


FILES = {module(path): path for path in [*CORE, *PAGES]}


def imports(path):
    """Every module that a file imports, wherever in the file."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imported_modules(path):
    """The modules of core and pages that a file imports: the most exact name of each."""
    names = imports(path) & FILES.keys()
    return {n for n in names if not any(other.startswith(f"{n}.") for other in names)}


def circles(graph):
    """Every name that can be reached from itself."""
    reached = {node: set(after) for node, after in graph.items()}
    for middle in graph:
        for node in graph:
            if middle in reached[node]:
                reached[node] |= reached[middle]
    return {node for node in graph if node in reached[node]}


def calls(path):
    return {
        ast.unparse(node.func)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
    }


def heavy(modules):
    return {module for module in modules if module.partition(".")[0] in HEAVY}


@pytest.mark.parametrize("path", CORE, ids=name)
def test_no_room_of_core_imports_one_above_it(path):
    parts = module(path).split(".")
    if len(parts) > 1:
        allowed = LAYERS[: LAYERS.index(parts[1]) + 1]
        rooms = {other.split(".")[1] for other in imported_modules(path) if other != "core"}
        assert rooms <= set(allowed)


def test_modules_import_each_other_in_no_circle():
    assert not circles({m: imported_modules(path) - {m} for m, path in FILES.items()})


def test_packages_import_each_other_in_no_circle():
    packages = {module(folder / "__init__.py"): set() for folder in PACKAGES}
    for m, path in FILES.items():
        if path.name != "__init__.py" and "." in m:
            packages[m.rpartition(".")[0]] |= {
                other if other in packages else other.rpartition(".")[0]
                for other in imported_modules(path)
            }
    assert not circles({m: others - {m, ""} for m, others in packages.items()})


@pytest.mark.parametrize("folder", PACKAGES, ids=name)
def test_a_package_lists_its_files(folder):
    listed = re.findall(
        r"^- `(\w+)`: .", ast.get_docstring(ast.parse((folder / "__init__.py").read_text())), re.M
    )
    there = [path.stem for path in folder.glob("*.py") if path.name != "__init__.py"]
    there += [path.parent.name for path in folder.glob("*/__init__.py")]
    assert sorted(listed) == sorted(there)


@pytest.mark.parametrize("top", MODULES)
def test_there_are_not_more_modules_than_a_reader_can_keep_apart(top):
    there = [p for m, p in FILES.items() if m.split(".")[0] == top and p.name != "__init__.py"]
    assert len(there) <= MODULES[top]


@pytest.mark.parametrize("path", CORE, ids=name)
def test_core_never_imports_streamlit_or_a_page(path):
    tops = {module.partition(".")[0] for module in imports(path)}
    assert not tops & {"streamlit", "pages", "app"}


@pytest.mark.parametrize("path", CORE, ids=name)
def test_core_imports_heavy_libraries_only_where_allowed(path):
    allowed = name(path).startswith(MAY_IMPORT_HEAVY)
    assert allowed or not heavy(imports(path))


@pytest.mark.parametrize("path", CORE, ids=name)
def test_core_prints_only_on_the_command_line(path):
    assert name(path).startswith("core/cli") or "print" not in calls(path)


@pytest.mark.parametrize("path", CORE, ids=name)
def test_core_reads_the_environment_in_one_module(path):
    reads = {
        node.attr
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute)
    }
    assert name(path) == "core/environment.py" or not reads & {"environ", "getenv"}


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
