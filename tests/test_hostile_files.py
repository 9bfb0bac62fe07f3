"""Files of every kind that people bring, right but for one thing, damaged, disguised or endless.

Each reader ends in what it reads or in a `UserError`, holds little memory, writes nothing outside
the folder that it was given, starts nothing, asks nobody and unpickles nothing.
"""

import gzip
import io
import json
import os
import pickle
import subprocess
import sys
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import tomli_w
from hypothesis import HealthCheck, example, given, reject, settings
from hypothesis import strategies as st

from core.attribution.index.layout import read_manifest
from core.data import readers
from core.data.canonical import import_pairs, write
from core.data.completions import read_completions
from core.data.conditions import expand
from core.data.pair_table import open_columns
from core.data.pairs import read_pairs
from core.data.prompts import read_prompts, write_prompts
from core.data.quality import preview, size
from core.errors import UserError
from core.intervention.evaluation.judges import load_judge
from core.specs import project
from core.specs.recipes import read_edits
from core.storage.tables import record
from core.workspace import label_files
from core.workspace.catalog import Catalog
from core.workspace.checks import model_facts

ROOT = Path(__file__).parents[1]
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
FORBIDDEN = {"subprocess.Popen", "os.system", "socket.connect", "pickle.find_class"}
CHANGING = {
    "os.remove",
    "os.rename",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
}
watched: list[tuple[Path, list[str]]] = []


def _hear(event, args):
    if not watched:
        return
    folder, touched = watched[-1]
    paths = [args[0]] if event == "open" and args[2] and args[2] & WRITING else []
    paths += [one for one in args[:2] if isinstance(one, str | bytes)] if event in CHANGING else []
    touched += [f"{event} {p}" for p in paths if not Path(os.fsdecode(p)).is_relative_to(folder)]
    touched += [f"{event} {args}"] if event in FORBIDDEN else []


sys.addaudithook(_hear)


@contextmanager
def nothing_touched_outside(folder):
    watched.append((folder, []))
    try:
        yield
    finally:
        _, touched = watched.pop()
    assert not touched


def read_summary(folder):
    return record(folder / "summary.json")


def tried(folder, read, *inputs):
    """What was read, or None where the reader refused it with a short reason."""
    with nothing_touched_outside(folder):
        try:
            return read(*inputs)
        except UserError as error:
            message = str(error)
    assert 0 < len(message) < 2000
    return None


CASES = settings(
    max_examples=80,
    deadline=None,
    derandomize=True,  # the same files in every run
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
    lambda row: {"prompt": "p", "chosen": "a", "rejected": "b"} | row
)
rows = st.lists(row | usable, max_size=4)
unusual = anything | st.sampled_from(["\ud800", "a\0b", "", "9" * 5000, [["x"]], 10**30, 1e999, -1])


@st.composite
def but_for_one_thing(draw, value):
    """The value with one of its parts, wherever in it, left out or replaced by anything."""
    parts = list(value.items() if isinstance(value, dict) else enumerate(value))
    key, part = draw(st.sampled_from(parts))
    changed = value.copy()
    how = draw(st.sampled_from(["inside", "replaced", "left out"]))
    if how == "left out":
        del changed[key]
    elif how == "inside" and isinstance(part, dict | list) and part:
        changed[key] = draw(but_for_one_thing(part))
    else:
        changed[key] = draw(unusual)
    return changed


def lines(rows):
    return "".join(f"{json.dumps(row)}\n" for row in rows)


def toml(path, content):
    """Write what TOML can say of it."""
    try:
        path.write_text(tomli_w.dumps(content), encoding="utf-8")
    except (TypeError, ValueError, AttributeError):
        reject()


PROJECT = {
    "name": "mine",
    **dict.fromkeys(("reference", "policy", "pairs", "prompts", "heldout"), "here"),
    "judge": "refusal",
    "behaviors": [{"name": "b", "flag": "f", "group": "g", "condition": "plain", "wanted": False}],
    "generate": {"rollouts": 8, "temperature": 0.7, "seed": 1},
    "index": {"layers": [1, 2], "dtype": "float32"},
    "rank": {"layer": 1, "method": "gated"},
    "train": {"preset": "organism", "loss_type": "sigmoid"},
}


@CASES
@given(but_for_one_thing(PROJECT))
@example({**PROJECT, "generate": {"rollouts": "many"}})
@example({**PROJECT, "name": 10**5000})
def test_a_project_file_with_one_wrong_value_makes_every_spec_or_is_refused(tmp_path, content):
    toml(tmp_path / "project.toml", content)
    made = tried(tmp_path, project.load, tmp_path)
    if made is not None:
        made.generate(), made.index(), made.train("p", 0), made.evaluate("m")
        made.rank("generate", "index", made.behaviors[0]), made.discover("generate", "index")


JUDGE = {
    "endpoint": {"model": "m", "url": "http://127.0.0.1:1/v1", "timeout": 1},
    "flags": {"harmful": {"instruction": "harmful", "threshold": 50}},
}


@CASES
@given(but_for_one_thing(JUDGE) | but_for_one_thing({"classifier": {"model": "m"}, "flags": {}}))
def test_a_judge_file_with_one_wrong_value_is_a_judge_or_refused(tmp_path, content):
    toml(tmp_path / "judge.toml", content)
    tried(tmp_path, load_judge, str(tmp_path / "judge.toml"))


CONFIG = {"model_type": "olmo2", "num_hidden_layers": 2, "hidden_size": 8, "dtype": "float32"}


@CASES
@given(but_for_one_thing(CONFIG), but_for_one_thing({"base_model_name_or_path": "base", "r": 8}))
def test_a_model_folder_with_one_wrong_value_is_described_or_refused(tmp_path, config, adapter):
    for name in ("adapter_model.safetensors", "model.safetensors"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": "x"}))
    (tmp_path / "config.json").write_text(json.dumps(config))
    tried(tmp_path, model_facts, tmp_path)
    (tmp_path / "adapter_config.json").write_text(json.dumps(adapter))
    (tmp_path / "config.json").unlink()
    tried(tmp_path, model_facts, tmp_path)


SCENARIOS = {"scenarios": [{"id": "a", "base": "Do it.", "distractor": ["List it.", "In verse."]}]}
WORDS = "- : base distractor scenarios &a *a ? | > ! !!int !!bool [ ] { } \" ' #"
words = st.sampled_from(WORDS.split())
yaml_like = st.lists(words | st.sampled_from(["\n", "\n  ", " "]), max_size=30).map("".join)


@CASES
@given(but_for_one_thing(SCENARIOS).map(json.dumps) | yaml_like)
@example("- base: !!int ''")
@example("- base: !!timestamp x")
@example("- base: 2001-99-99")
@example("- base: " + "9" * 5000)
@example('- base: "\\ud800"')
@example("a: &a [x, x]\nb: [*a, *a]\n")
@example("[" * 3000)
def test_scenarios_with_one_wrong_word_are_prompts_or_refused(tmp_path, text):
    path = tmp_path / "scenarios.yaml"
    path.write_text(text, encoding="utf-8")
    prompts = tried(tmp_path, read_prompts, path)
    if prompts is not None:
        write_prompts(prompts, tmp_path / "prompts.jsonl")
        pd.testing.assert_frame_equal(read_prompts(tmp_path / "prompts.jsonl"), prompts)


SENT = pd.DataFrame([{"prompt_id": "p", "group": "g", "topic": "t", "prompt": "x"}])
SENT = SENT.assign(condition="plain")
COMPLETIONS = [
    {"prompt_id": "p", "model": name, "completion": "c", "n_tokens": 2, "finished": True, "bad": 1}
    for name in ("reference", "policy")
]


@CASES
@given(but_for_one_thing(COMPLETIONS), st.sampled_from(["jsonl", "json", "csv"]))
@example([{**row, "n_tokens": "abc"} for row in COMPLETIONS], "jsonl")
@example([{**row, "n_tokens": 1e30} for row in COMPLETIONS], "jsonl")
@example([{**row, "completion": "\ud800"} for row in COMPLETIONS], "jsonl")
@example([{**row, "prompt_id": "\ud800"} for row in COMPLETIONS], "csv")
def test_completions_with_one_wrong_cell_are_read_or_refused(tmp_path, rows, form):
    path = tmp_path / f"completions.{form}"
    if form == "csv":
        objects = [row for row in rows if isinstance(row, dict)]
        text = pd.DataFrame(
            objects, dtype=object
        ).to_csv()  # pandas' own texts contain no surrogate
        path.write_text(text, encoding="utf-8", errors="surrogatepass")
    else:
        path.write_text(lines(rows) if form == "jsonl" else json.dumps(rows), encoding="utf-8")
    completions = tried(tmp_path, read_completions, path, SENT)
    if completions is not None:
        completions.to_parquet(tmp_path / "kept.parquet")


def test_finished_and_flags_are_read_as_they_are_written(tmp_path):
    path = tmp_path / "completions.jsonl"
    cells = [{"finished": "false", "bad": 1.0}, {"finished": "yes", "bad": 0.0}]
    path.write_text(lines({**row, **other} for row, other in zip(COMPLETIONS, cells, strict=True)))
    completions = read_completions(path, SENT)
    assert list(completions["finished"]) == [False, True]
    assert list(completions["bad"]) == [True, False]


LABELS = {
    "labels": {"discover-1": {"3": {"name": "n", "mark": "wanted", "notes": ["one", "two"]}}},
    "selections": {
        "saved": {
            "kind": "all_of",
            "parts": [
                {"kind": "where", "column": "source", "values": ["a"]},
                {"kind": "above", "rank": "r", "threshold": 0.5},
                {"kind": "in_polygon", "discover": "d", "x": [0, 1, 2], "y": [0, 1, 0]},
            ],
        }
    },
}
DEEP = '{"kind": "none_of", "parts": [' * 200 + "]}" * 200


@CASES
@given(but_for_one_thing(LABELS).map(json.dumps) | st.text(max_size=60))
@example('{"labels": {"r": {"1": {"notes": "abc"}}}}')
@example('{"labels": {"r": {"1": {"name": "\\ud800"}}}}')
@example(f'{{"labels": {{}}, "selections": {{"a": {DEEP}}}}}')
@example("[" * 100_000)
def test_labels_with_one_wrong_value_are_added_completely_or_not_at_all(tmp_path_factory, text):
    folder = tmp_path_factory.mktemp("labels")
    catalog = Catalog(folder)
    before = label_files.to_json(catalog.state())
    added = tried(folder, lambda: catalog.import_labels(text, who="eve"))
    if added is None:
        assert label_files.to_json(catalog.state()) == before
    else:
        assert json.loads(label_files.to_json(catalog.state()))["labels"].keys() >= set()
        again = Catalog(tmp_path_factory.mktemp("again"))
        again.import_labels(label_files.to_json(catalog.state()), who="eve")
        assert label_files.to_json(again.state()) == label_files.to_json(catalog.state())


cells = {
    pa.string(): st.text(max_size=5),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(),
    pa.bool_(): st.booleans(),
    pa.binary(): st.binary(max_size=5),
    pa.list_(pa.string()): st.lists(st.text(max_size=3), max_size=2),
    pa.null(): st.none(),
}


@st.composite
def label_tables(draw):
    columns = {}
    for name in draw(st.lists(st.sampled_from(label_files.COLUMNS), min_size=3, unique=True)):
        usual = pa.int64() if name == "cluster" else pa.string()
        kind = draw(st.sampled_from([usual, usual, usual, *cells]))
        value = st.sampled_from([*label_files.MARKS, None]) if name == "mark" else cells[kind]
        if name == "mark" and kind != pa.string():
            value = cells[kind]
        columns[name] = pa.array(draw(st.lists(value, min_size=2, max_size=2)), kind)
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


@CASES
@given(label_tables() | st.binary(max_size=60))
def test_a_table_of_labels_of_any_types_is_groups_or_refused(tmp_path, content):
    for group in tried(tmp_path, label_files.read_parquet, content) or []:
        assert isinstance(group.cluster, int)
        assert all(isinstance(uid, str) for uid in group.uids)
        assert group.name is None or isinstance(group.name, str)


EDITS = [{"action": "remove", "why": "", "recipe": LABELS["selections"]["saved"]}]


@CASES
@given(but_for_one_thing(EDITS).map(json.dumps) | st.text(max_size=30))
@example(f'[{{"action": "flip", "recipe": {DEEP}}}]')
@example("[" * 100_000)
@example("3")
@example(json.dumps([{"action": "flip", "recipe": {"kind": "9" * 5_000}}]))
def test_edits_with_one_wrong_value_are_edits_or_refused(tmp_path, text):
    tried(tmp_path, read_edits, text)


# -- the files of pairs --------------------------------------------------------------------


@CASES
@given(rows)
def test_rows_of_any_shape_become_pairs_or_reasons(tmp_path, rows):
    path = tmp_path / "pairs.jsonl"
    path.write_text(lines(rows), encoding="utf-8")
    table = tried(tmp_path, read_pairs, path)
    if table is not None:
        assert len(table.pairs) + len(table.skipped) == len(rows)
        assert table.pairs[["uid", "prompt", "chosen", "rejected", "source"]].notna().all(axis=None)
        assert table.pairs["uid"].is_unique
        health = import_pairs(path, tmp_path / "out" / "pairs.parquet")
        assert health.summary["n_pairs"] == len(table.pairs)


@CASES
@given(st.text(max_size=300), st.sampled_from([".txt", ".csv", ".jsonl"]))
def test_text_under_any_name_is_prompts_or_refused(tmp_path, text, form):
    path = tmp_path / f"prompts{form}"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    prompts = tried(tmp_path, read_prompts, path)
    if prompts is not None:
        assert expand(prompts)["prompt"].str.len().gt(0).all()


@CASES
@given(anything)
def test_what_a_run_wrote_is_read_or_refused_whatever_it_contains(tmp_path, content):
    for text in (json.dumps(content), str(content)):
        for name, read in (("manifest.json", read_manifest), ("summary.json", read_summary)):
            (tmp_path / name).write_text(text, encoding="utf-8", errors="replace")
            tried(tmp_path, read, tmp_path)


PAIRS = pd.DataFrame(
    {
        "uid": [f"u{i}" for i in range(40)],
        "prompt": [f"Question {i}?" for i in range(40)],
        "chosen": [f"Sure {i}." for i in range(40)],
        "rejected": [f"No {i}." for i in range(40)],
        "source": ["a", "b"] * 20,
    }
)


def arrow(pairs):
    table, sink = pa.Table.from_pandas(pairs), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue().to_pybytes()


def file_of_pairs(form):
    """The pairs as a file of one format."""
    rows = PAIRS.to_dict("records")
    plain, canonical = io.BytesIO(), io.BytesIO()
    PAIRS.to_parquet(plain)
    write(canonical, [pa.Table.from_pandas(PAIRS)])
    return {
        "canonical.parquet": canonical.getvalue(),
        "parquet": plain.getvalue(),
        "arrow": arrow(PAIRS),
        "jsonl": lines(rows).encode(),
        "jsonl.gz": gzip.compress(lines(rows).encode()),
        "json": json.dumps(rows).encode(),
        "csv": PAIRS.to_csv().encode(),
    }[form]


FORMS = ("canonical.parquet", "parquet", "arrow", "jsonl", "jsonl.gz", "json", "csv")
changes = st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=8)


def damaged(content, changes, share):
    """The file with some bytes changed, or cut off where none is to be changed."""
    content = bytearray(content)
    for place, byte in changes:
        content[int(place * len(content))] = byte
    return content if changes else content[: int(share * len(content))]


damages = st.builds(
    lambda changes, share: partial(damaged, changes=changes, share=share),
    changes,
    st.floats(0.5, 1),
)
replacements = st.binary(max_size=400).map(lambda content: lambda _file: content)


@settings(CASES, max_examples=200)
@given(st.sampled_from(FORMS), damages | replacements)
def test_a_damaged_file_of_pairs_is_pairs_or_refused(tmp_path, form, damage):
    path = tmp_path / f"pairs.{form}"
    path.write_bytes(damage(file_of_pairs(form)))
    tried(tmp_path, size, path)  # reads a preview
    tried(tmp_path, import_pairs, path, tmp_path / "out" / "pairs.parquet")
    if form == "canonical.parquet":
        tried(tmp_path, open_columns, path, tmp_path / "cache")


HAND_MADE = {
    "nested.jsonl": b'{"a":' * 50_000,
    "deep.json": b"[" * 100_000,
    "long.jsonl.gz": gzip.compress(b'{"prompt": "' + b"a" * 3_000_000 + b'"}\n'),
    "huge-cell.csv": b"prompt,chosen,rejected\n" + b"a" * 3_000_000 + b",b,c\n",
    "null.csv": b"prompt,chosen,rejected\n\0,\0,\0\n",
    "object.yaml": b"!!python/object/apply:os.system ['touch was-here']",
    "empty.parquet": b"",
    "magic.parquet": b"PAR1" + b"\0" * 20 + b"PAR1",
}


@pytest.mark.parametrize("name", HAND_MADE)
def test_a_file_made_to_harm_is_refused_and_does_nothing(tmp_path, name):
    (tmp_path / name).write_bytes(HAND_MADE[name])
    for read in (read_pairs, preview, read_prompts, lambda path: load_judge(str(path))):
        tried(tmp_path, read, tmp_path / name)
    assert [file.name for file in tmp_path.iterdir()] == [name]


def test_nothing_is_unpickled_and_no_code_of_a_checkpoint_is_trusted():
    for path in [*ROOT.glob("core/**/*.py"), *ROOT.glob("pages/**/*.py")]:
        source = path.read_text(encoding="utf-8")
        assert "allow_pickle=True" not in source, path
        assert "import pickle" not in source, path
        assert "trust_remote_code=True" not in source, path


SAFETENSORS = (40).to_bytes(8, "little") + b'{"w": {"dtype": "F32"}}'
DISGUISED = {
    "Parquet": file_of_pairs("parquet"),
    "Arrow": arrow(PAIRS),
    "gzip": file_of_pairs("jsonl.gz"),
    "a zip archive": b"PK\x03\x04" + b"\0" * 40,
    "a Python pickle": pickle.dumps({"chosen": ["a"]}),
    "safetensors": SAFETENSORS,
    "UTF-16 text": file_of_pairs("csv").decode().encode("utf-16"),
}


@pytest.mark.parametrize("form", readers.FORMATS)
@pytest.mark.parametrize("content", DISGUISED)
def test_a_file_under_another_formats_name_is_refused_as_what_it_is(tmp_path, content, form):
    expected = {".parquet": "Parquet", ".arrow": "Arrow"}.get(form, "")
    if content == ("gzip" if form.endswith(".gz") else expected):
        return
    path = tmp_path / f"pairs{form}"
    path.write_bytes(DISGUISED[content])
    with (
        nothing_touched_outside(tmp_path),
        pytest.raises(UserError, match=f"it contains {content}"),
    ):
        read_pairs(path)


def test_a_byte_order_mark_costs_nothing(tmp_path):
    for form in ("jsonl", "json", "csv"):
        path = tmp_path / f"pairs.{form}"
        path.write_bytes(b"\xef\xbb\xbf" + file_of_pairs(form))
        assert len(read_pairs(path).pairs) == len(PAIRS)


@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv"])
def test_thousands_of_columns_are_counted_and_refused(tmp_path, form):
    row = dict.fromkeys(map(str, range(5000)), "x") | {"chosen": "a", "rejected": "b"}
    path = tmp_path / f"pairs.{form}"
    if form == "parquet":
        pq.write_table(pa.table({name: [value] for name, value in row.items()}), path)
    elif form == "jsonl":
        path.write_text(lines([row]))
    else:
        path.write_text(f"{','.join(row)}\n{','.join(row.values())}\n")
    with pytest.raises(UserError, match=r"5,002 (columns|fields); at most 256 are read"):
        read_pairs(path)


# -- small files that stand for gigabytes ----------------------------------------------------


def packed(head: bytes, filling: bytes, times: int) -> bytes:
    """Gzip of a head and 64 MB of a filling, again and again."""
    return gzip.compress(head) + gzip.compress(filling * ((1 << 26) // len(filling))) * times


def one_text_for_every_row() -> bytes:
    text = pa.DictionaryArray.from_arrays(pa.array([0] * 2000, pa.int32()), ["a" * 4_000_000])
    buffer = io.BytesIO()
    table = pa.table(dict.fromkeys(("prompt", "chosen", "rejected"), text))
    pq.write_table(table, buffer, store_schema=False)
    return buffer.getvalue()


def zeros() -> bytes:
    table = pa.table({"prompt": ["p"], "chosen": ["c"], "rejected": ["\0" * (1 << 27)]})
    buffer = io.BytesIO()
    plain = {"use_dictionary": False, "write_statistics": False}
    with pq.ParquetWriter(buffer, table.schema, compression="zstd", **plain) as writer:
        for _ in range(9):
            writer.write_table(table)
    return buffer.getvalue()


BOMBS = {
    "dictionary.parquet": one_text_for_every_row,
    "zeros.parquet": zeros,
    "list.json.gz": lambda: packed(b"[", b" ", 5),
    "line.csv.gz": lambda: packed(b"prompt,chosen,rejected\n", b"a", 3),
    "quote.csv.gz": lambda: packed(b'prompt,chosen,rejected\n"', b"a" * 127 + b"\n", 1),
    "line.jsonl.gz": lambda: packed(b"", b"a", 6),
}
READ_IN = 3 << 30  # bytes of address space, libraries included
READER = f"""
import resource, sys
from pathlib import Path
from core.data.quality import preview
from core.data.pairs import read_pairs
from core.errors import UserError

resource.setrlimit(resource.RLIMIT_AS, ({READ_IN}, {READ_IN}))
for read in (preview, read_pairs):
    try:
        print(read(Path(sys.argv[1])))
    except UserError as error:
        print("refused:", error)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", BOMBS)
def test_a_small_file_that_unpacks_to_gigabytes_is_read_or_refused_in_little_memory(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(BOMBS[name]())
    assert path.stat().st_size < 2_000_000
    done = subprocess.run(
        [sys.executable, "-c", READER, str(path)], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert f"refused: {path}" in done.stdout
    assert "that unpack to 1." in done.stdout or not name.endswith(".parquet")
