"""Memory-mapped pairs by column and by row: the same as `read_pairs`, for any file."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from core.data.canonical import write_pairs
from core.data.pair_table import open_columns
from core.data.pairs import CHUNK, read_pairs
from core.errors import UserError

ROWS = pd.DataFrame(
    {
        "uid": [f"u{i}" for i in range(9)],
        "prompt": ["ask"] * 9,
        "chosen": [f"yes {i}" for i in range(8)] + [""],  # the last row is not usable
        "rejected": ["no"] * 9,
        "source": ["a", "b", "c"] * 3,
        "score": [float(i) for i in range(9)],
        "flag": [True, None, False] * 3,
    }
)


@pytest.fixture(params=["pairs.parquet", "pairs.jsonl"])
def path(tmp_path, request):
    path = tmp_path / request.param
    if path.suffix == ".parquet":
        ROWS.to_parquet(path)
    else:
        ROWS.to_json(path, orient="records", lines=True)
    return path


def test_columns_are_those_that_read_pairs_gives(path, tmp_path):
    columns = open_columns(path, tmp_path / "cache")
    expected = read_pairs(path).pairs
    assert list(columns) == list(expected)
    assert len(columns) == len(expected) == 8
    for name in expected:
        assert columns[name].tolist() == expected[name].tolist() or name == "flag"
    pd.testing.assert_frame_equal(columns.skipped, read_pairs(path).skipped)
    assert columns["flag"].isna().sum() == 3


def test_a_column_that_changes_its_type_late_is_written_as_read_pairs_reads_it(tmp_path):
    n = CHUNK + 50  # the last fifty rows come in another chunk
    late = [i + 0.5 if i > CHUNK else i for i in range(n)]
    rows = [
        {"uid": f"u{i}", "prompt": "ask", "chosen": f"yes {i}", "rejected": "no", "score": late[i]}
        | ({"note": "only now"} if i == n - 1 else {})
        for i in range(n)
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    columns = open_columns(path, tmp_path / "cache")
    assert list(columns) == list(read_pairs(path).pairs)
    assert columns["score"].tolist() == late
    assert columns["note"].dropna().to_dict() == {f"u{n - 1}": "only now"}
    kept = sorted(file.name for file in (tmp_path / "cache").glob("pairs-*-*"))
    assert [name.partition(".")[2] for name in kept] == ["arrow", "skipped.parquet"]


def test_canonical_pairs_are_the_same_on_disk(path, tmp_path):
    pairs = read_pairs(path).pairs
    pairs["kind"] = pd.Categorical(["x", "y"] * 4)
    canonical = tmp_path / "canonical.parquet"
    write_pairs(pairs, canonical)
    columns = open_columns(canonical, tmp_path / "cache")
    assert list(columns) == list(pairs)
    for name in pairs:
        assert columns[name].astype(object).tolist() == pairs[name].astype(object).tolist() or (
            name == "flag" and columns[name].isna().tolist() == pairs[name].isna().tolist()
        )


def test_canonical_pairs_that_somebody_changed_lose_their_bad_rows_only(path, tmp_path):
    pairs = read_pairs(path).pairs
    pairs.loc[2, "rejected"] = pairs.loc[2, "chosen"]
    canonical = tmp_path / "canonical.parquet"
    write_pairs(pairs, canonical)
    assert "u2" not in open_columns(canonical, tmp_path / "cache").index
    assert len(open_columns(canonical, tmp_path / "cache")) == 7


def test_a_file_without_a_usable_pair_is_refused_and_leaves_no_copy(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text('{"prompt": "ask", "chosen": "same", "rejected": "same"}\n')
    with pytest.raises(UserError, match="Row 1, field 'chosen': the same text"):
        open_columns(path, tmp_path / "cache")
    assert not list((tmp_path / "cache").glob("pairs-*-*"))


def test_rows_come_in_the_order_asked_for(path, tmp_path):
    columns = open_columns(path, tmp_path / "cache")
    rows = columns.rows(columns.positions(["u7", "u2"]))
    assert rows["chosen"].tolist() == ["yes 7", "yes 2"]
    assert list(rows.index) == ["u7", "u2"]
    assert columns.rows(np.array([], int)).empty


def test_the_order_of_a_column_puts_pairs_without_a_value_last_and_keeps_ties(path, tmp_path):
    columns = open_columns(path, tmp_path / "cache")
    assert columns["source"].iloc[columns.order("source")].is_monotonic_increasing
    assert list(columns.order("score", descending=True)) == list(range(8))[::-1]
    assert list(columns.order("source")) == [0, 3, 6, 1, 4, 7, 2, 5]
    assert list(columns.order("flag")) == [2, 5, 0, 3, 6, 1, 4, 7]
    assert list(columns.order("flag", descending=True))[-3:] == [1, 4, 7]


def test_lengths_are_in_characters(path, tmp_path):
    columns = open_columns(path, tmp_path / "cache")
    assert columns.lengths["chosen"].tolist() == [5] * 8
    assert list(columns.lengths) == ["prompt", "chosen", "rejected"]


def test_a_column_of_the_file_may_have_any_name(tmp_path):
    path = tmp_path / "pairs.jsonl"
    row = {"uid": "u", "prompt": "ask", "chosen": "yes", "rejected": "no"}
    path.write_text(json.dumps(row | {"characters in prompt": 5000}))
    columns = open_columns(path, tmp_path / "cache")
    assert columns["characters in prompt"].tolist() == [5000]
    assert columns.lengths["prompt"].tolist() == [3]


@pytest.mark.parametrize(
    ("uids", "places"),
    [
        ([], []),
        (["u1", "gone"], [1, -1]),
        (["u3", None], [3, -1]),
        (["u3", "u3"], [3, 3]),
        (["u7", "gone", "u7", "u0"], [7, -1, 7, 0]),
        ([f"u{i}" for i in range(8)], list(range(8))),
    ],
)
def test_unknown_uids_have_no_position(path, tmp_path, uids, places):
    assert list(open_columns(path, tmp_path / "cache").positions(uids)) == places


def test_uids_of_several_tables_have_positions(path, tmp_path):
    uids = pd.concat([pd.Series(["u7"], dtype="str"), pd.Series(["u2"], dtype="str")])
    columns = open_columns(path, tmp_path / "cache")
    assert list(columns["uid"].iloc[columns.positions(uids)]) == ["u7", "u2"]


def test_a_changed_file_is_read_again_and_its_old_copy_goes(path, tmp_path):
    before = open_columns(path, tmp_path / "cache")
    other = open_columns(_another(tmp_path), tmp_path / "cache")
    ROWS.head(3).to_parquet(tmp_path / "other.parquet")
    if path.suffix == ".parquet":
        (tmp_path / "other.parquet").replace(path)
    else:
        ROWS.head(3).to_json(path, orient="records", lines=True)
    after = open_columns(path, tmp_path / "cache")
    assert len(after) == 3
    assert {*(tmp_path / "cache").glob("*.arrow")} == {after.path, other.path}
    assert before["chosen"].tolist()[7] == "yes 7"  # whoever has it open reads on


def _another(tmp_path):
    path = tmp_path / "another.jsonl"
    ROWS.to_json(path, orient="records", lines=True)
    return path


def test_columns_of_few_values_and_columns_of_numbers(path, tmp_path):
    columns = open_columns(path, tmp_path / "cache")
    assert columns.few_valued(3) == ["source", "flag"]
    assert columns.numeric() == ["score"]


WRITE = """
import os, signal, sys
from pathlib import Path
from core.data.pair_table import open_columns

def before(event, _):
    if event == "os.rename":
        print("half", flush=True)
        os.kill(os.getpid(), signal.SIGKILL) if sys.argv[3] == "dies" else input()

sys.addaudithook(before)
open_columns(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def test_half_a_copy_goes_when_its_writer_was_killed_and_stays_while_it_writes(tmp_path):
    cache, paths = tmp_path / "cache", [tmp_path / f"{name}.parquet" for name in "abc"]
    for path in paths:
        ROWS.to_parquet(path)

    def writer(path: Path, fate: str) -> subprocess.Popen:
        command = [sys.executable, "-c", WRITE, str(path), str(cache), fate]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        process = subprocess.Popen(command, text=True, **pipes)
        assert process.stdout.readline() == "half\n"
        return process

    with writer(paths[0], "dies") as killed:
        assert killed.wait() == -signal.SIGKILL
    with writer(paths[1], "lives") as alive:
        halves = {path.name for path in cache.glob("*.part")}
        assert halves
        assert all(f".{alive.pid}." in name for name in halves)
        assert len(open_columns(paths[2], cache)) == 8
        assert {path.name for path in cache.glob("*.part")} == halves
        alive.communicate("\n" * 9)
        assert alive.returncode == 0
    assert list(cache.glob("*.part")) == []
    assert len(open_columns(paths[1], cache)) == 8
