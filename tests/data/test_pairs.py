"""Reading pairs: every bad row is named and skipped, every good one is kept."""

import gzip
import json

import pandas as pd
import pytest

from core.data.pairs import read_pairs
from core.errors import UserError

GOOD = {"uid": "a", "prompt": "p", "chosen": "yes", "rejected": "no", "source": "s"}
OTHER = {"uid": "z", "prompt": "q", "chosen": "one", "rejected": "two", "source": "s"}


def jsonl(path, *rows):
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def without(name):
    return {key: value for key, value in GOOD.items() if key != name}


@pytest.mark.parametrize(
    ("bad", "field", "reason"),
    [
        (without("prompt"), "prompt", "missing, and chosen and rejected share no beginning"),
        (GOOD | {"source": 7}, "source", "a int, not text"),
        (GOOD | {"prompt": None}, "prompt", "missing"),
        (GOOD | {"chosen": None}, "chosen", "missing"),
        (GOOD | {"rejected": "  "}, "rejected", "empty"),
        (GOOD | {"prompt": 5}, "prompt", "a int, not text"),
        (GOOD | {"chosen": ["yes"]}, "chosen", "message 1 is a str"),
        (GOOD | {"rejected": "yes"}, "chosen", "the same text as rejected"),
        (GOOD | {"chosen": "half \ud800"}, "chosen", "not valid Unicode"),
        (GOOD | {"notes": {"deep": ["\ud800"]}}, "notes", "not valid Unicode"),
        (GOOD | {"chosen": "y" * 1_000_001}, "chosen", "1,000,001 characters; at most"),
        (GOOD | {"uid": 1.5}, "uid", "a float, not text"),
        (GOOD | {"uid": "z"}, "uid", "repeats row 1"),
        ("a string", "", "not an object"),
    ],
)
def test_a_bad_row_is_skipped_with_its_row_field_and_reason(tmp_path, bad, field, reason):
    table = read_pairs(jsonl(tmp_path / "pairs.jsonl", OTHER, bad, GOOD | {"uid": "last"}))
    assert table.pairs["uid"].tolist() == ["z", "last"]
    skipped = table.skipped.iloc[0]
    assert (skipped["row"], skipped["field"]) == (2, field)
    assert reason in skipped["reason"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"uid": "b", "prompt": \n', "not JSON"),
        (b'{"prompt": "caf\xe9"}\n', "not UTF-8 text (byte 15"),
        (b"[" * 100_000 + b"\n", "not JSON"),
    ],
)
def test_a_broken_line_costs_that_line_only(tmp_path, line, reason):
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b"\n" + line + json.dumps(OTHER).encode() + b"\n")
    table = read_pairs(path)
    assert table.pairs["uid"].tolist() == ["a", "z"]
    assert table.skipped["row"].tolist() == [2]
    assert reason in table.skipped.loc[0, "reason"]


def test_a_file_cut_in_its_last_line_keeps_the_rest_and_says_so(tmp_path):
    path = jsonl(tmp_path / "pairs.jsonl", GOOD, OTHER)
    path.write_bytes(path.read_bytes()[:-20])
    table = read_pairs(path)
    assert table.pairs["uid"].tolist() == ["a"]
    assert "cut off" in table.skipped.loc[0, "reason"]


def test_a_damaged_gzip_file_keeps_the_rows_before_the_damage(tmp_path):
    rows = [GOOD | {"uid": str(i), "prompt": f"prompt {i * 7919}"} for i in range(5000)]
    packed = gzip.compress("".join(f"{json.dumps(row)}\n" for row in rows).encode())
    path = tmp_path / "pairs.jsonl.gz"
    path.write_bytes(packed[: len(packed) // 2])
    table = read_pairs(path)
    assert 1000 < len(table.pairs) < 5000
    assert "damaged" in table.skipped["reason"].iloc[-1]


def test_a_file_without_any_usable_pair_is_an_error_that_names_the_first_reason(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("prompt: p, chosen: a, rejected: b")
    with pytest.raises(UserError, match=r"pairs\.jsonl: none of its .* Row 1: not JSON"):
        read_pairs(path)


def test_an_empty_file_and_a_missing_file_are_errors(tmp_path):
    (tmp_path / "pairs.jsonl").touch()
    with pytest.raises(UserError, match="empty"):
        read_pairs(tmp_path / "pairs.jsonl")
    with pytest.raises(UserError, match="no such file"):
        read_pairs(tmp_path / "other.jsonl")


def test_a_format_that_is_not_known_is_refused(tmp_path):
    with pytest.raises(UserError, match="Convert the file"):
        read_pairs(jsonl(tmp_path / "pairs.xlsx", GOOD))


def test_a_parquet_file_without_a_column_names_it(tmp_path):
    pd.DataFrame([without("rejected")]).to_parquet(tmp_path / "pairs.parquet")
    with pytest.raises(UserError, match="column 'rejected' is missing"):
        read_pairs(tmp_path / "pairs.parquet")


def test_a_row_without_uid_gets_one_that_depends_on_its_content_only(tmp_path):
    a = read_pairs(jsonl(tmp_path / "a.jsonl", without("uid"), OTHER)).pairs
    b = read_pairs(jsonl(tmp_path / "b.jsonl", OTHER, without("uid"))).pairs
    assert a["uid"].iloc[0] == b["uid"].iloc[1] != "a"


def test_a_source_that_nobody_gave_is_named_unknown(tmp_path):
    assert read_pairs(jsonl(tmp_path / "p.jsonl", without("source"))).pairs.loc[0, "source"] == (
        "unknown"
    )


def test_columns_of_other_names_are_mapped(tmp_path):
    row = {"question": "q", "good": "yes", "bad": "no", "set": "s", "n": 2**70}
    columns = {"prompt": "question", "chosen": "good", "rejected": "bad", "source": "set"}
    pairs = read_pairs(jsonl(tmp_path / "p.jsonl", row), columns).pairs
    assert pairs.loc[0, ["prompt", "chosen", "rejected", "source", "n"]].tolist() == [
        *("q", "yes", "no", "s"),
        str(2**70),
    ]


def test_a_file_with_too_many_columns_is_refused(tmp_path):
    rows = [GOOD | {"uid": str(i), f"column {i}": 1} for i in range(300)]
    with pytest.raises(UserError, match="more than 256 different fields"):
        read_pairs(jsonl(tmp_path / "p.jsonl", *rows))
