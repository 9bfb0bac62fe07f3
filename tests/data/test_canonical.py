"""Canonical pairs: written in every format, trusted only after a check."""

import json
from itertools import chain

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.data import canonical
from core.data.canonical import stream_texts, weights, write_pairs
from core.data.chat import conversation
from core.data.pair_table import open_columns
from core.data.pairs import read_pairs
from core.errors import UserError
from tests.data.test_pairs import GOOD, OTHER, jsonl


@pytest.mark.parametrize("name", ["pairs.parquet", "pairs.jsonl", "pairs.jsonl.gz"])
def test_what_is_written_is_read_back_with_its_further_columns(tmp_path, name):
    rows = [
        GOOD | {"chosen_model": "m", "turns": [{"n": 1}], "score": 3},
        OTHER | {"chosen_model": None, "turns": [], "score": 2},
    ]
    pairs = read_pairs(jsonl(tmp_path / "given.jsonl", *rows)).pairs
    write_pairs(pairs, tmp_path / name)
    again = read_pairs(tmp_path / name).pairs
    pd.testing.assert_frame_equal(pairs, again, check_dtype=False)
    assert json.loads(again["turns"].iloc[0]) == [{"n": 1}]


MESSAGES = ("\n\nHuman:", "\n\nAssistant:", '[{"role": "user", "content": "a"}]', '[{"role": 1}]')
text = st.text(st.characters(codec="utf-8"), min_size=1)
like_messages = st.lists(st.sampled_from(MESSAGES) | text, min_size=1).map("".join)
text = (text | like_messages).filter(lambda text: text.strip() and conversation(text) is None)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.tuples(text, text, text), min_size=1, unique=True))
@example([("0", "\n\nHuman:", "0")])
@example([("\n\nHuman: a", "\n\nHuman: a\n\nAssistant: b", "c")])
@example([(' [{"role": "user", "content": "a"}]', "b", "c")])
def test_any_text_survives_a_round_trip(tmp_path_factory, texts):
    rows = [
        {"uid": str(i), "prompt": p, "chosen": c, "rejected": c + r, "source": "s"}
        for i, (p, c, r) in enumerate(texts)
    ]
    folder = tmp_path_factory.mktemp("pairs")
    write_pairs(pd.DataFrame(rows), folder / "pairs.jsonl")
    assert read_pairs(folder / "pairs.jsonl").pairs.to_dict("records") == rows


def test_a_truncated_parquet_file_is_an_error(tmp_path):
    path = tmp_path / "pairs.parquet"
    write_pairs(pd.DataFrame([GOOD, OTHER]), path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read_pairs(path)


def test_canonical_pairs_are_read_as_they_are_and_others_are_parsed_first(tmp_path):
    """And a file that says that it is canonical, but is not, is read as any other."""
    path = tmp_path / "pairs.parquet"
    write_pairs(pd.DataFrame([GOOD, OTHER]), path)
    assert [list(part["uid"]) for part in stream_texts(path)] == [["a", "z"]]
    assert canonical.batches(path, 10) is not None
    write_pairs(pd.DataFrame([GOOD, OTHER | {"chosen": ""}]), path)
    assert canonical.batches(path, 10) is None
    assert [list(part["uid"]) for part in stream_texts(path)] == [["a"]]
    assert list(read_pairs(path).skipped["reason"]) == ["empty"]


def test_many_rows_are_written_in_groups_and_read_back_in_order(tmp_path):
    numbers = np.arange(40_000).astype(str)
    texts = {"prompt": "ask", "chosen": "yes", "rejected": "no", "source": "made"}
    pairs = pd.DataFrame({"uid": numbers, **texts})
    table = pa.Table.from_pandas(pairs)
    path = tmp_path / "pairs.parquet"
    canonical.write(path, (table.slice(start, 5_000) for start in range(0, 40_000, 5_000)))
    assert pq.read_metadata(path).num_row_groups == 2
    parts = [part["uid"].to_pylist() for part in canonical.batches(path, 1_000)]
    assert max(map(len, parts)) <= 1_000
    assert list(chain.from_iterable(parts)) == list(numbers)


def test_rows_of_long_texts_are_written_in_smaller_groups(tmp_path):
    row = {"prompt": "ask", "rejected": "no", "source": "made"}
    tables = (
        pa.table({"uid": [str(i)], "chosen": ["x" * 30_000_000]} | {k: [v] for k, v in row.items()})
        for i in range(5)
    )
    canonical.write(tmp_path / "pairs.parquet", tables)
    assert pq.read_metadata(tmp_path / "pairs.parquet").num_row_groups == 2


@pytest.mark.parametrize("notes", [b"{", b"\x80", b'{"index_columns": [{"kind": "range"}]}'])
def test_what_pandas_noted_in_a_canonical_file_need_not_hold(tmp_path, notes):
    write_pairs(pd.DataFrame([GOOD, OTHER | {"extra": True}]), tmp_path / "pairs.parquet")
    table = pq.read_table(tmp_path / "pairs.parquet")
    damaged = table.replace_schema_metadata({**table.schema.metadata, b"pandas": notes})
    pq.write_table(damaged, tmp_path / "damaged.parquet")
    expected, read = (
        open_columns(tmp_path / f"{name}.parquet", tmp_path) for name in ("pairs", "damaged")
    )
    uids = expected.positions(["a", "z"])
    pd.testing.assert_frame_equal(read.rows(uids), expected.rows(uids))


@pytest.mark.parametrize("name", ["pairs.parquet", "pairs.jsonl"])
def test_streamed_texts_are_those_of_read_pairs_in_order(name, tmp_path):
    rows = [(f"u{i}", "ask", "yes", "no" if i else "yes", "made") for i in range(5_000)]
    rows = rows[1:] if name.endswith("parquet") else rows  # canonical pairs are all usable
    columns = ["uid", "prompt", "chosen", "rejected", "source"]
    write_pairs(pd.DataFrame(rows, columns=columns), tmp_path / name)
    parts = list(stream_texts(tmp_path / name))
    assert len(parts) > 1
    pairs = read_pairs(tmp_path / name).pairs
    assert pd.concat(parts).to_dict("list") == pairs[columns[:4]].to_dict("list")


def test_a_stream_of_texts_that_finds_no_usable_pair_says_why(tmp_path):
    row = {"uid": "u", "prompt": "ask", "chosen": "a", "rejected": "a", "source": "made"}
    write_pairs(pd.DataFrame([row]), tmp_path / "pairs.jsonl")
    with pytest.raises(UserError, match="none of its 1 rows is a usable pair"):
        list(stream_texts(tmp_path / "pairs.jsonl"))


@pytest.mark.parametrize("name", ["pairs.parquet", "pairs.jsonl"])
def test_weights_are_read_by_uid_and_a_file_without_them_has_none(tmp_path, name):
    pairs = read_pairs(jsonl(tmp_path / "given.jsonl", GOOD, OTHER)).pairs
    write_pairs(pairs, tmp_path / name)
    assert weights(tmp_path / name, name) is None
    write_pairs(pairs.assign(weight=[0, 2.5]), tmp_path / name)
    assert weights(tmp_path / name, name).to_dict() == dict(
        zip(pairs["uid"], [0.0, 2.5], strict=True)
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([1.0, float("nan")], "mine: pair 2, uid .*: weight is 'nan'"),
        ([1.0, -0.5], "mine: pair 2, uid .*: weight is '-0.5'"),
        ([float("inf"), 1.0], "mine: pair 1, uid .*: weight is 'inf'"),
        (["heavy", "1"], "mine: pair 1, uid .*: weight is 'heavy'"),
        ([0, 0], "mine: weight is 0 for every pair"),
    ],
)
def test_weights_that_are_none_are_refused_by_file_row_and_field(tmp_path, given, message):
    pairs = read_pairs(jsonl(tmp_path / "given.jsonl", GOOD, OTHER)).pairs
    write_pairs(pairs.assign(weight=given), tmp_path / "pairs.parquet")
    with pytest.raises(UserError, match=message):
        weights(tmp_path / "pairs.parquet", "mine")
