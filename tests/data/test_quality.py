"""What is wrong with a preference set is counted, and a copy of it is as good as the original."""

import json

import pandas as pd
import pytest

from core.data.canonical import import_pairs
from core.data.pairs import read_pairs, stream_pairs
from core.data.quality import Examination, preview
from core.errors import UserError

ROWS = [
    {"uid": "a", "prompt": "p", "chosen": "long yes", "rejected": "no", "source": "s"},
    {"uid": "b", "prompt": "p", "chosen": "no", "rejected": "long yes", "source": "s"},
    {"uid": "c", "prompt": "p", "chosen": "long yes", "rejected": "no", "source": "t"},
    {"uid": "a", "prompt": "q", "chosen": "x", "rejected": "y", "source": "t"},
    {"uid": "d", "prompt": "q", "chosen": "same", "rejected": "same", "source": "t"},
    {"uid": "e", "prompt": "A question of some words?", "chosen": "A question of some words? Yes.",
     "rejected": "No.", "notes": {"n": 1}},
]  # fmt: skip


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in ROWS))
    return path


def examined(path):
    examination = Examination()
    for chunk in stream_pairs(path):
        examination.see(chunk)
    return examination


def test_every_notice_is_counted_and_listed_with_its_row(path):
    health = examined(path).health()
    expected = {"n_rows": 6, "n_pairs": 4, "n_skipped": 2, "n_same_text": 1, "n_contradicted": 2}
    expected |= {"n_echoes": 1, "n_no_source": 1, "n_prompts": 2, "n_sources": 3}
    assert {name: health.summary[name] for name in expected} == expected
    assert {"field": "uid", "reason": "repeats row …", "n": 1} in health.summary["reasons"]
    rows = health.rows.set_index("row")
    assert rows.loc[4, "skipped"]
    assert not rows.loc[2, "skipped"]
    assert dict(health.sources[["source", "n"]].to_numpy()) == {"s": 2, "t": 1, "unknown": 1}


def test_a_tokenizer_tells_what_is_too_long_and_what_its_template_refuses(path):
    def lengths(pair):
        refused = pair["uid"] == "b"
        return {"prompt": 0 if refused else 5, "chosen": len(pair["chosen"]), "rejected": 2}

    summary = examined(path).health(lengths, max_length=20).summary
    assert summary["share_too_long"] == 0.25
    assert summary["share_refused_by_template"] == 0.25
    assert any("template refuses 25.0%" in advice for advice in summary["advice"])


def test_a_copy_holds_the_same_pairs(path, tmp_path):
    seen = []
    health = import_pairs(path, tmp_path / "out" / "pairs.parquet", tick=seen.append)
    assert sum(seen) == len(ROWS)
    assert health.summary["n_pairs"] == 4
    copied = read_pairs(tmp_path / "out" / "pairs.parquet").pairs
    pd.testing.assert_frame_equal(copied, read_pairs(path).pairs)
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["pairs.parquet"]


def test_a_preview_shows_columns_pairs_and_what_is_left_out(tmp_path):
    pd.DataFrame([{"q": "p", "good": "a", "bad": "b"}, {"q": "p", "good": "a", "bad": "a"}]).to_csv(
        tmp_path / "p.csv", index=False
    )
    result = preview(tmp_path / "p.csv", {"prompt": "q", "chosen": "good", "rejected": "bad"})
    assert result.columns == ["q", "good", "bad"]
    assert result.pairs["chosen"].tolist() == ["a"]
    assert result.skipped["row"].tolist() == [2]


def test_nothing_is_written_of_a_file_without_pairs(tmp_path):
    (tmp_path / "p.jsonl").write_text('{"chosen": "a", "rejected": "a", "prompt": "p"}\n')
    with pytest.raises(UserError, match="none of its 1 rows is a usable pair"):
        import_pairs(tmp_path / "p.jsonl", tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
