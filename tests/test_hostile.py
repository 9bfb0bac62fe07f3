"""Files that somebody made to break things: every reader ends in pairs, or in words.

Whatever is in a file, reading it returns or raises `UserError`; nothing else is raised, and nothing
is written or touched outside the folder that was given.
"""

import gzip
import json
import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.attribution.index.layout import read_manifest, read_pair_list
from core.data.completions import read_completions
from core.data.convert import import_pairs, preview
from core.data.pairs import read_pairs, stream_pairs
from core.data.prompts import expand, read_prompts
from core.data.quality import examine
from core.data.readers import FORMATS
from core.errors import UserError
from core.intervention.evaluation.judges import load_judge
from core.runs.store import Store
from core.specs import project
from core.storage.tables import record, table
from core.workspace.checks import model_facts

CASES = settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=8,
)
names = st.sampled_from(["uid", "prompt", "chosen", "rejected", "source", "system", "tools", "x"])
message = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "system", "tool", "admin"]), "content": anything}
)
cell = anything | st.lists(message, max_size=3) | st.just("\n\nHuman: a\n\nAssistant: b")
row = st.dictionaries(names, cell, max_size=7)
usable = st.dictionaries(names, cell, max_size=2).map(
    lambda odd: {"prompt": "p", "chosen": "a", "rejected": "b"} | odd
)
rows = st.lists(row | usable, max_size=4)


def survives(read, *given):
    """What was read, or None where the reader said in words why it cannot."""
    try:
        return read(*given)
    except UserError:
        return None


@CASES
@given(rows)
def test_rows_of_any_shape_become_pairs_or_reasons(tmp_path, rows):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    found = survives(read_pairs, path)
    if found is not None:
        assert len(found.pairs) + len(found.skipped) == len(rows)
        assert found.pairs[["uid", "prompt", "chosen", "rejected", "source"]].notna().all(axis=None)
        assert found.pairs["uid"].is_unique
        assert examine(stream_pairs(path)).summary["n_pairs"] == len(found.pairs)
        health = import_pairs(path, tmp_path / "out" / "pairs.parquet")
        assert health.summary["n_pairs"] == len(found.pairs)
    survives(preview, path)


@CASES
@given(st.binary(max_size=400), st.sampled_from(FORMATS), st.booleans())
def test_bytes_under_any_name_are_pairs_or_words(tmp_path, content, form, packed):
    path = tmp_path / f"pairs{form}"
    path.write_bytes(gzip.compress(content) if packed else content)
    survives(read_pairs, path)
    survives(preview, path)
    survives(read_prompts, path)


@CASES
@given(st.text(max_size=300), st.sampled_from([".yaml", ".txt", ".csv", ".jsonl"]))
def test_text_under_any_name_is_prompts_or_words(tmp_path, text, form):
    path = tmp_path / f"prompts{form}"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    prompts = survives(read_prompts, path)
    if prompts is not None:
        assert expand(prompts)["prompt"].str.len().gt(0).all()
        survives(read_completions, path, expand(prompts))


@CASES
@given(anything, st.sampled_from(["project.toml", "config.json", "manifest.json", "summary.json"]))
def test_settings_of_any_content_are_read_or_refused(tmp_path, content, name):
    for text in (json.dumps(content), str(content)):
        (tmp_path / name).write_text(text, encoding="utf-8", errors="replace")
        if name == "project.toml":
            survives(project.load, tmp_path)
        elif name == "config.json":
            survives(model_facts, tmp_path)
        elif name == "manifest.json":
            survives(read_manifest, tmp_path)
        else:
            survives(record, tmp_path / name)


HAND_MADE = {
    "nested.jsonl": b'{"a":' * 50_000,
    "bomb.jsonl.gz": gzip.compress(b'{"prompt": "' + b"a" * 3_000_000 + b'"}\n'),
    "laughs.yaml": b"a: &a [x,x]\nb: &b [*a,*a]\nc: [*b,*b]\n",
    "object.yaml": b"!!python/object/apply:os.system ['touch was-here']",
    "null.csv": b"prompt,chosen,rejected\n\0,\0,\0\n",
    "huge-cell.csv": b"prompt,chosen,rejected\n" + b"a" * 3_000_000 + b",b,c\n",
    "pickle.parquet": pickle.dumps({"chosen": 1}),
    "pickle.arrow": pickle.dumps({"chosen": 1}),
    "deep.json": b"[" * 100_000,
    "bom.jsonl": b"\xef\xbb\xbf" + b'{"prompt":"p","chosen":"a","rejected":"b"}\n',
    "utf16.csv": "prompt,chosen,rejected\np,a,b\n".encode("utf-16"),
    "empty.parquet": b"",
    "magic.parquet": b"PAR1" + b"\0" * 20 + b"PAR1",
}


@pytest.mark.parametrize("name", HAND_MADE)
def test_a_file_made_to_harm_is_told_in_words(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)  # where a command that was obeyed would leave its mark
    (tmp_path / name).write_bytes(HAND_MADE[name])
    for read in (read_pairs, preview, read_prompts, lambda path: load_judge(str(path))):
        survives(read, tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "run",
    ["../../etc", "rank-../../../../etc", "rank-0123456789abcdef/..", "/etc", "", "rank-", "\0"],
)
def test_a_run_id_is_never_a_path(tmp_path, run):
    with pytest.raises(UserError):
        Store(tmp_path).folder(run)


def test_an_array_that_is_a_pickle_is_not_loaded(tmp_path):
    np.save(tmp_path / "vectors.npy", np.array([object()], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        np.load(tmp_path / "vectors.npy", allow_pickle=False)
    root = Path(__file__).parents[1]
    for path in [*root.glob("core/**/*.py"), *root.glob("pages/*.py")]:
        source = path.read_text(encoding="utf-8")
        assert "allow_pickle=True" not in source, path
        assert "import pickle" not in source, path
        assert "trust_remote_code=True" not in source, path


@pytest.mark.parametrize(
    "column", ['x"; DROP TABLE t; --', "x') OR 1=1", "read_csv('/etc/passwd')"]
)
def test_a_column_name_is_no_query(tmp_path, column):
    pd.DataFrame({"x": [1]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match="has no column"):
        table(tmp_path / "t.parquet", [column])


def test_a_damaged_pair_list_is_told(tmp_path):
    (tmp_path / "pairs.parquet").write_bytes(b"PAR1nothing")
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read_pair_list(tmp_path)
