import io
import json
import zipfile

import pandas as pd
import pytest

from core.data.pairs import read_pairs
from core.errors import UserError
from core.report.export import export_pairs, exported, formula_safe
from core.runs.store import Store

RUN = "edit-0123456789abcdef"


@pytest.fixture
def store(tmp_path):
    """A workspace with one finished edit run, written in the documented format."""
    store = Store(tmp_path / "workspace")
    pairs = pd.DataFrame(
        {
            "uid": ["a", "b"],
            "prompt": ["=1+1", "p"],
            "chosen": ["yes", "no"],
            "rejected": ["no", "yes"],
            "source": ["s", "s"],
            "flipped": [False, True],
        }
    )
    (store.folder(RUN) / "output").mkdir(parents=True)
    pairs.to_parquet(store.folder(RUN) / "output" / "pairs.parquet")
    store.write_record(RUN, {"step": "edit", "spec": {"edits": [{"why": "mislabelled"}]}})
    return store


@pytest.mark.parametrize("form", ["parquet", "jsonl"])
def test_an_export_reads_back_as_the_same_pairs(store, tmp_path, form):
    path = export_pairs(store, RUN, tmp_path / f"out.{form}", form=form)
    expected = pd.read_parquet(store.output(RUN) / "pairs.parquet")
    pd.testing.assert_frame_equal(read_pairs(path).pairs[list(expected)], expected)


def test_a_spreadsheet_never_runs_a_pair_as_a_formula(store, tmp_path):
    path = export_pairs(store, RUN, tmp_path / "out.csv", form="csv")
    assert pd.read_csv(path)["prompt"].tolist() == ["'=1+1", "p"]


def test_text_that_is_no_formula_is_left_alone():
    table = pd.DataFrame({"a": ["x = 1", 3, None]}, dtype=object)
    pd.testing.assert_frame_equal(formula_safe(table), table)


def test_a_datasets_folder_loads_and_gives_the_reasons(store, tmp_path):
    folder = export_pairs(store, RUN, tmp_path / "out", form="datasets")
    assert pd.read_parquet(next(folder.glob("data/*.parquet")))["uid"].tolist() == ["a", "b"]
    card = (folder / "README.md").read_text()
    assert "mislabelled" in card
    assert json.loads(card.partition("```json")[2].partition("```")[0])["step"] == "edit"


def test_nothing_is_overwritten(store, tmp_path):
    (tmp_path / "out.csv").write_text("mine")
    with pytest.raises(UserError, match="exists already"):
        export_pairs(store, RUN, tmp_path / "out.csv", form="csv")
    assert (tmp_path / "out.csv").read_text() == "mine"


def test_a_download_contains_what_the_file_would_and_the_same_bytes_each_time(store, tmp_path):
    path = export_pairs(store, RUN, tmp_path / "out.jsonl", form="jsonl")
    assert exported(store, RUN, form="jsonl") == path.read_bytes()
    zipped = exported(store, RUN, form="datasets")
    assert zipped == exported(store, RUN, form="datasets")
    with zipfile.ZipFile(io.BytesIO(zipped)) as archive:
        assert "mislabelled" in archive.read("edited-pairs/README.md").decode()
        (table,) = [name for name in archive.namelist() if name.endswith(".parquet")]
        assert len(pd.read_parquet(io.BytesIO(archive.read(table)))) == 2
