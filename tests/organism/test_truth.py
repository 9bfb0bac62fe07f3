"""The truth file and the pairs that were planted."""

import pandas as pd
import pytest

from core.errors import UserError
from core.organism.sampling import planted_uids, read_truth


@pytest.fixture
def truth():
    return pd.DataFrame(
        {
            "uid": ["a", "b", "c"],
            "rule": "r",
            "planted": ["greed", None, None],
            "decoy": [None, "greed", None],
            "swapped": False,
        }
    )


def test_decoys_are_not_planted(truth):
    assert planted_uids(truth, "greed") == {"a"}


def test_a_behavior_without_planted_pairs_is_a_user_error(truth):
    with pytest.raises(UserError, match="Planted: greed"):
        planted_uids(truth, "drift")


def test_a_truth_file_is_complete_or_refused(truth, tmp_path):
    truth.to_parquet(tmp_path / "truth.parquet")
    pd.testing.assert_frame_equal(read_truth(tmp_path / "truth.parquet"), truth)
    truth.drop(columns="decoy").to_parquet(tmp_path / "old.parquet")
    with pytest.raises(UserError, match="'decoy' is missing"):
        read_truth(tmp_path / "old.parquet")
    with pytest.raises(UserError, match="no such truth file"):
        read_truth(tmp_path / "absent.parquet")
