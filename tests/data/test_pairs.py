"""Reading pairs: every bad row is named and skipped, every good one is kept."""

import gzip
import json

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from core.data.chat import conversation
from core.data.pairs import fingerprint, read_pairs, stream_texts, write_pairs
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
        (without("prompt"), "prompt", "missing, and chosen and rejected do not begin alike"),
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


def test_a_truncated_parquet_file_is_an_error(tmp_path):
    path = tmp_path / "pairs.parquet"
    write_pairs(pd.DataFrame([GOOD, OTHER]), path)
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(UserError, match="not a readable Parquet file"):
        read_pairs(path)


def test_a_row_without_uid_gets_one_that_depends_on_its_content_only(tmp_path):
    a = read_pairs(jsonl(tmp_path / "a.jsonl", without("uid"), OTHER)).pairs
    b = read_pairs(jsonl(tmp_path / "b.jsonl", OTHER, without("uid"))).pairs
    assert a["uid"].iloc[0] == b["uid"].iloc[1] != "a"


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


def test_the_fingerprint_follows_the_content_not_the_format(tmp_path):
    pairs = read_pairs(jsonl(tmp_path / "pairs.jsonl", GOOD, OTHER)).pairs
    write_pairs(pairs, tmp_path / "pairs.parquet")
    assert fingerprint(read_pairs(tmp_path / "pairs.parquet").pairs) == fingerprint(pairs)
    assert fingerprint(pairs.iloc[::-1]) != fingerprint(pairs)


MESSAGES = ("\n\nHuman:", "\n\nAssistant:", '[{"role": "user", "content": "a"}]', '[{"role": 1}]')
text = st.text(st.characters(codec="utf-8"), min_size=1)
like_messages = st.lists(st.sampled_from(MESSAGES) | text, min_size=1).map("".join)
text = (text | like_messages).filter(lambda text: text.strip() and conversation(text) is None)


@settings(max_examples=100, deadline=None)
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


def test_what_we_wrote_is_read_without_looking_at_every_row_again(tmp_path):
    """And a file that says it is ours, but is not, is read as any other."""
    path = tmp_path / "pairs.parquet"
    write_pairs(pd.DataFrame([GOOD, OTHER]), path)
    assert list(read_pairs(path).pairs["uid"]) == ["a", "z"]
    write_pairs(pd.DataFrame([GOOD, OTHER | {"chosen": ""}]), path)
    table = read_pairs(path)
    assert list(table.pairs["uid"]) == ["a"]
    assert list(table.skipped["reason"]) == ["empty"]


def test_a_file_with_too_many_columns_is_refused(tmp_path):
    rows = [GOOD | {"uid": str(i), f"column {i}": 1} for i in range(300)]
    with pytest.raises(UserError, match="more than 256 different fields"):
        read_pairs(jsonl(tmp_path / "p.jsonl", *rows))


@pytest.mark.parametrize("notes", [b"{", b"\x80", b'{"index_columns": [{"kind": "range"}]}'])
def test_what_pandas_noted_in_a_file_of_our_own_need_not_hold(tmp_path, notes):
    pairs = pd.DataFrame([GOOD, OTHER | {"extra": True}])
    write_pairs(pairs, tmp_path / "pairs.parquet")
    table = pq.read_table(tmp_path / "pairs.parquet")
    expected = read_pairs(tmp_path / "pairs.parquet").pairs
    damaged = table.replace_schema_metadata({**table.schema.metadata, b"pandas": notes})
    pq.write_table(damaged, tmp_path / "damaged.parquet")
    pd.testing.assert_frame_equal(read_pairs(tmp_path / "damaged.parquet").pairs, expected)


@pytest.mark.parametrize("name", ["pairs.parquet", "pairs.jsonl"])
def test_streamed_texts_are_those_of_the_whole_in_order(name, tmp_path, monkeypatch):
    monkeypatch.setattr("core.data.pairs.CHUNK", 2)
    rows = [(f"u{i}", "ask", "yes", "no" if i else "yes", "made") for i in range(7)]
    rows = rows[1:] if name.endswith("parquet") else rows  # what we write ourselves is usable
    columns = ["uid", "prompt", "chosen", "rejected", "source"]
    write_pairs(pd.DataFrame(rows, columns=columns), tmp_path / name)
    parts = list(stream_texts(tmp_path / name))
    assert len(parts) > 1
    whole = read_pairs(tmp_path / name).pairs
    assert pd.concat(parts).to_dict("list") == whole[columns[:4]].to_dict("list")


def test_a_stream_of_texts_that_finds_no_usable_pair_says_why(tmp_path):
    row = {"uid": "u", "prompt": "ask", "chosen": "a", "rejected": "a", "source": "made"}
    write_pairs(pd.DataFrame([row]), tmp_path / "pairs.jsonl")
    with pytest.raises(UserError, match="none of its 1 rows is a usable pair"):
        list(stream_texts(tmp_path / "pairs.jsonl"))
