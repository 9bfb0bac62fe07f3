"""Tables, records and arrays of a run are read as they were written, or refused by name."""

import pandas as pd
import pytest

from core.errors import UserError
from core.storage import tables


@pytest.fixture
def path(tmp_path):
    frame = pd.DataFrame(
        {
            "uid": ["a", "b", "c", "d"],
            "score": [0.5, None, 0.9, -0.1],
            "flag": pd.array([True, None, False, True], dtype="boolean"),
            "source": ["x", "y", "y", None],
            'od"d': [1, 2, 3, 4],
        }
    )
    frame.to_parquet(tmp_path / "table.parquet")
    return tmp_path / "table.parquet"


def test_rows_keep_the_order_of_the_file(path):
    assert list(tables.table(path, ["uid"])["uid"]) == ["a", "b", "c", "d"]


def test_a_column_with_a_quote_in_its_name_is_read(path):
    assert list(tables.table(path, ['od"d'])['od"d']) == [1, 2, 3, 4]


def test_an_unscored_flag_stays_missing(path):
    flags = tables.table(path, ["flag"])["flag"]
    assert flags.dtype == "boolean"
    assert flags.isna().tolist() == [False, True, False, False]


def test_an_unknown_column_is_named(path):
    with pytest.raises(UserError, match=r"no column.*nonsense"):
        tables.table(path, ["nonsense"])


@pytest.mark.parametrize("read", [tables.table, tables.data_frame, tables.columns])
def test_a_file_that_is_not_parquet_is_named(tmp_path, read):
    (tmp_path / "broken.parquet").write_text("no")
    with pytest.raises(UserError, match=r"broken\.parquet"):
        read(tmp_path / "broken.parquet")


def test_a_line_that_is_still_being_written_is_left_out(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1}\n{"step": 2}\n{"st')
    assert list(tables.lines(tmp_path / "log.jsonl")["step"]) == [1, 2]
