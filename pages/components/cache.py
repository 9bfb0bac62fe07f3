"""Reading the workspace: its store and project, and tables of finished runs, cached.

A finished run never changes, so what is read from one is cached for as long as the server lives,
by its path. Nothing here computes; the state of a run is read every time.
"""

from collections.abc import Container
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import pandas as pd
import streamlit as st

from core.attribution import selftest
from core.data.pair_table import PairColumns, open_columns, version
from core.environment import default_workspace
from core.errors import UserError
from core.intervention.edits.select import method_of
from core.runs.store import Store
from core.specs import project as projects
from core.specs.base import Spec
from core.specs.behaviors import Score
from core.specs.project import Project
from core.specs.steps import ExplainSpec, IndexSpec, RankSpec
from core.storage import tables
from core.workspace import recent
from pages.components import access, text

WORKSPACE = "workspace-folder"  # of the session
QUERY = "project"  # of the URL
CHOICES = "choices"  # of the session: what this person chose last, by key
TABLES = 64  # in memory at most

S = TypeVar("S", bound=Spec)
T = TypeVar("T")


def open_workspace() -> None:
    """Bind this visit to a workspace of the app: the one that the URL names, else the first.

    A visit stays with its workspace, as what its session keeps belongs to it: another project is
    another visit.
    """
    served = _served()
    first = next(iter(served.values()))
    asked = served.get(st.query_params.get(QUERY, ""), first)
    folder = Path(st.session_state.setdefault(WORKSPACE, str(asked)))
    for name, other in served.items():
        if other == folder != first:
            st.query_params[QUERY] = name


def require_served() -> None:
    """`UserError` where the URL names a project that the app does not serve."""
    name, served = st.query_params.get(QUERY), _served()
    if name is not None and name not in served:
        raise UserError(f"No project {name!r} is served here. There are: {', '.join(served)}.")


def _served() -> dict[str, Path]:
    return recent.offered(alone=access.serves_this_machine_only())


def store() -> Store:
    """The runs of the workspace of this visit."""
    folder = Path(st.session_state.get(WORKSPACE) or default_workspace())
    return Store(folder, who=access.who(), writable=access.may_edit())


def project() -> Project:
    """The workspace's project; `UserError` says how to make one."""
    return projects.load(store().workspace)


def has_project() -> bool:
    """Whether the workspace has a project yet."""
    return (store().workspace / projects.FILE).is_file()


def title() -> str:
    """What a browser's tab calls this workspace: by its project, where the file can be read."""
    try:
        return project().name
    except UserError:
        return "PairTrace"


def last(key: str, default: T, among: Container[T]) -> T:
    """What this person chose last for a widget or the tour, if it is offered; else the default."""
    if CHOICES not in st.session_state:
        st.session_state[CHOICES] = recent.read_choices(store().workspace, access.who())
    chosen = st.session_state.get(key, st.session_state[CHOICES].get(key, default))
    return chosen if chosen in among else default


def keep(key: str, value: object) -> None:
    """Remember a choice: in the workspace, or for this visit where that cannot be written."""
    if st.session_state[CHOICES].get(key) != value:
        st.session_state[CHOICES][key] = value
        if store().writable:
            with suppress(OSError):
                recent.write_choice(store().workspace, access.who(), key, value)


def table(run: str, name: str) -> pd.DataFrame:
    """A Parquet table of a finished run. Treat it as read-only: every visitor shares it."""
    return _table(str(store().output(run) / f"{name}.parquet"))


def has_table(run: str, name: str) -> bool:
    """Whether a finished run wrote this table: earlier versions wrote fewer."""
    return (store().output(run) / f"{name}.parquet").is_file()


def summary(run: str) -> dict[str, Any]:
    """summary.json of a finished run."""
    return _summary(str(store().output(run) / "summary.json"))


def pairs(reference: str) -> PairColumns:
    """Preference pairs in file order: a path, or an edit run's id.

    Columns and rows are read as they are asked for, however many pairs there are.
    """
    path = str(store().pairs(reference))
    return _pairs(path, pairs_version(reference), str(store().workspace / "cache"))


def pairs_version(reference: str) -> str:
    """Changes when the pairs' file does."""
    return version(store().pairs(reference))


def map_points(run: str) -> pd.DataFrame:
    """Every pair of a discover run with its coordinates and cluster, by uid; shared, read-only."""
    return _map_points(str(store().output(run) / "pairs.parquet"))


def specs(kind: type[S]) -> dict[str, S]:
    """The spec of every run of a step, whatever its state, newest first."""
    runs = store()
    ids = [info.id for info in runs.infos(kind.step)]
    read = {run: runs.spec(run) for run in ids if (runs.folder(run) / "spec.json").is_file()}
    return {run: spec for run, spec in read.items() if isinstance(spec, kind)}


def training_log(run: str) -> pd.DataFrame:
    """log.jsonl of a train run, finished or under way; empty before its first line."""
    folder = store().folder(run)
    finished = (folder / "output").is_dir()
    return tables.lines(folder / ("output" if finished else "output.part") / "log.jsonl")


def ranked_behaviors() -> dict[str, str]:
    """The behavior that each rank run ranks for, by run id."""
    return {run: spec.behavior.name for run, spec in specs(RankSpec).items()}


def ranking_score(rank: str) -> Score:
    """The score that a ranking is ordered by."""
    return method_of(rank, store())


def doubts(rank: str) -> list[str]:
    """What failed when the model behind a ranking was tested, in sentences."""
    index = store().spec(rank, RankSpec).index
    model = store().record(index)["contents"]["model"]
    return selftest.doubts(store().workspace / "cache", model, store().spec(index, IndexSpec).dtype)


def tokens(rank: str, uid: str, **texts: str) -> pd.DataFrame | None:
    """The tokens of a pair, or of it with another `chosen` or `rejected`, if it is explained."""
    specs = [ExplainSpec(rank=rank, uids=(uid,), **texts)]
    for spec in specs if texts else [ExplainSpec(rank=rank), *specs]:
        run = store().run_id(spec)
        if store().state(run) == "finished":
            parts = table(run, "tokens")
            rows = parts[parts["uid"].eq(uid)].dropna()
            if len(rows):
                return rows
    return None


def show_workspace() -> None:
    """Which investigation this is; for the sidebar."""
    st.text(project().name if has_project() else "No project yet")
    folder = store().workspace
    st.caption(f"`{folder.name}`", help=f"The folder of this investigation: `{folder}`")
    others = {name: place for name, place in _served().items() if place != folder}
    if others:
        with st.popover("Other projects", width="stretch"):
            st.caption("Each opens in a tab of its own.")
            for name, place in others.items():
                label = text.escape(name if name == str(place) else f"{name} ({place.parent})")
                st.link_button(label, f"?{urlencode({QUERY: name})}", width="stretch")


@st.cache_resource(show_spinner=False, max_entries=TABLES)
def _table(path: str) -> pd.DataFrame:
    return tables.table(Path(path))


@st.cache_resource(show_spinner=False, max_entries=TABLES)
def _summary(path: str) -> dict[str, Any]:
    return tables.record(Path(path))


@st.cache_resource(show_spinner="Reading the pairs …", max_entries=8)
def _pairs(path: str, version: str, folder: str) -> PairColumns:
    return open_columns(Path(path), Path(folder))


@st.cache_resource(show_spinner=False, max_entries=8)
def _map_points(path: str) -> pd.DataFrame:
    return tables.table(Path(path)).set_index("uid", drop=False).rename_axis(None)
