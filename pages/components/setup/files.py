"""Fields for files, and drafts: what was typed survives another page, a reload, and a message.

Streamlit forgets a widget that is not drawn, so values are also kept under `DRAFT` and, once one of
them changed, in the workspace (core.workspace.recent) until the project is saved. An uploaded file
is kept in the workspace, and its path in the draft.

The browser draws a field again, and loses what is being typed, where the blocks before it become
more or fewer; but not inside a block with a key. So every field of a file has one, and every
section (`section`).
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import streamlit as st

from core import environment
from core.data import quality
from core.data.trl_formats import FIELDS
from core.errors import UserError
from core.workspace import checks, recent
from pages.components import cache, text

DRAFT = "setup-draft"
TYPES = ["jsonl", "json", "csv", "gz", "parquet", "arrow"]
PROMPTS = ["jsonl", "csv", "yaml", "yml", "txt"]
START = {  # each kind of widget's setting for the value that it starts with
    **dict.fromkeys(("text_input", "text_area"), "value"),
    **dict.fromkeys(("multiselect", "segmented_control"), "default"),
    **dict.fromkeys(("selectbox", "radio"), "index"),
}


def draft() -> dict[str, Any]:
    """Values of this page's fields, by key: at first those that an earlier visit left behind."""
    if DRAFT not in st.session_state:
        st.session_state[DRAFT] = {}
        with text.refusing():
            st.session_state[DRAFT] = recent.read_draft(cache.store().workspace)
    values: dict[str, Any] = st.session_state[DRAFT]
    return values


def remember(key: str, value: Any) -> None:
    """Put a value into the draft, and the draft into the workspace."""
    if key not in draft() or draft()[key] != value:
        draft()[key] = value
        _write_draft()


def remember_drawn(key: str, value: Any) -> None:
    """The same for the value of a field; what it has when first drawn is nothing to keep."""
    if key in draft():
        remember(key, value)
    draft()[key] = value


def forget_draft() -> None:
    """Empty all fields."""
    for key in list(st.session_state):
        if key in draft() or str(key).startswith(("behaviors", "conditions")):
            del st.session_state[key]
    draft().clear()
    _write_draft()


def _write_draft() -> None:
    store = cache.store()
    if store.writable:
        recent.write_draft(store.workspace, draft())


@contextmanager
def section(title: str) -> Iterator[None]:
    """A part of the page under a heading."""
    with st.container(key=f"section {title}"):
        st.subheader(title)
        yield


def changing() -> bool:
    """Whether the project of this workspace is being changed, not a new one made."""
    return cache.has_project() and bool(draft().get("changing"))


def kept(widget: Callable[..., Any], label: str, *arguments: Any, key: str, **settings: Any) -> Any:
    """A widget whose value is restored when the page is opened again.

    It is drawn with the value that it has: a browser that missed the first drawing, as a run that
    is interrupted may never reach it, takes the value that it is drawn with and sends it back.
    """
    options = arguments[0] if arguments else None
    value = st.session_state.get(key, draft().get(key))
    if value is not None and _is_offered(value, options):
        setting = START[widget.__name__]
        settings[setting] = options.index(value) if setting == "index" else value
    value = widget(label, *arguments, key=key, **settings)
    remember_drawn(key, value)
    return value


def _is_offered(value: Any, options: Sequence[str] | None) -> bool:
    """Whether a draft's value, or each of several, is among a widget's options."""
    values = value if isinstance(value, list) else [value]
    return options is None or all(each in options for each in values)


def is_missing(fields: Mapping[str, object]) -> bool:
    """Whether one of some named fields has no value yet; says which."""
    missing = [field for field, value in fields.items() if not value]
    if missing:
        st.info(f"Still missing: {', '.join(missing)}. Each is checked as you go.")
    return bool(missing)


def typed_path(typed: str) -> Path | None:
    """A path that exists and may be read; None, and the reason, where it does not."""
    if not typed.strip():
        return None
    try:
        return checks.allowed_path(typed, environment.roots())
    except UserError as error:
        text.refuse(error)
        return None


def choose_file(label: str, key: str, types: Sequence[str], hint: str) -> Path | None:
    """A file on the machine of the app, or an uploaded one, kept in the workspace.

    An upload takes the place of a path until it is removed; the page says which one is used.
    """
    with st.container(key=f"field {key}"):
        return _choose_file(label, key, types, hint)


def _choose_file(label: str, key: str, types: Sequence[str], hint: str) -> Path | None:
    left, right = st.columns([3, 2], vertical_alignment="bottom")
    typed = kept(left.text_input, label, key=key, placeholder=hint)
    place = f"{key}-uploaded"
    with right.popover("Upload instead", width="stretch"):
        version = st.session_state.setdefault(f"{key}-version", 0)
        uploaded = st.file_uploader(
            f"{label}: upload", type=list(types), key=f"{key}-upload-{version}"
        )
    if uploaded is not None and draft().get(f"{place}-id") != uploaded.file_id:
        with text.refusing():
            remember(place, str(keep(uploaded.name, uploaded.getvalue())))
            remember(f"{place}-id", uploaded.file_id)
    path = Path(draft().get(place, ""))
    if not path.is_file():
        return typed_path(typed)
    left, right = st.columns([3, 2], vertical_alignment="center")
    instead = ", not the path" if typed.strip() else ""
    left.caption(f"Used: the uploaded file **{text.escape(path.name)}**{instead}.")
    if right.button("Remove the upload", key=f"{key}-remove"):
        remember(place, "")
        st.session_state[f"{key}-version"] += 1
        st.rerun()
    return path


def keep(name: str, content: bytes) -> Path:
    """A file of the workspace with this content; only an editor can add one."""
    cache.store().require_writable()
    return checks.keep_upload(name, content, cache.store().workspace)


def choose_pairs() -> tuple[Path, dict[str, str]] | None:
    """A preference set and which column serves which field."""
    path = choose_file("Preference pairs", "pairs", TYPES, ".jsonl, .csv, .parquet, or a folder")
    if path is None:
        return None
    with text.refusing():
        columns = choose_columns(quality.preview(path).columns)
        preview = quality.preview(path, columns)
        show_preview(preview)
        checks.check_pairs(path, columns)
        return path, columns
    return None


def choose_columns(names: list[str]) -> dict[str, str]:
    """Field → column, for fields that another column serves; asked where names do not say it."""
    if not names:
        return {}
    with st.expander("Which column is what", expanded=not {"chosen", "rejected"} <= set(names)):
        choices = {}
        for column, field in zip(st.columns(len(FIELDS)), FIELDS, strict=True):
            options = ["—", *names]
            index = options.index(field) if field in names else 0
            choices[field] = kept(
                column.selectbox, field, options, index=index, key=f"column-{field}"
            )
    return {field: name for field, name in choices.items() if name not in ("—", field)}


def show_preview(preview: quality.Preview) -> None:
    """The first pairs as they will be read, and what is wrong with the first rows that are not."""
    if len(preview.pairs):
        texts = preview.pairs[["prompt", "chosen", "rejected", "source"]]
        width = st.column_config.TextColumn(width="medium")
        st.dataframe(
            texts.map(text.short),
            hide_index=True,
            height="content",
            column_config=dict.fromkeys(("prompt", "chosen", "rejected"), width),
        )
    if len(preview.skipped):
        st.caption(f"{len(preview.skipped)} of the first rows are left out:")
        st.dataframe(preview.skipped[["row", "field", "reason"]], hide_index=True, height="content")
