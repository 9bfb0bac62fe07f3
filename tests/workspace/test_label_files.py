"""Labels as one row per pair: written, read again, and refused where they are something else."""

import io

import numpy as np
import pandas as pd
import pytest

from core.errors import UserError
from core.workspace import label_files
from core.workspace.labels import Labels

SAID = Labels("discover-0", names={0: "één <b>", 2: "locks"}, marks={0: "harmful", 1: "ignore"})
UIDS = pd.Index([f"u{i}" for i in range(6)])
CLUSTERS = np.array([0, 0, 1, 2, -1, 3])


def test_every_pair_has_a_row():
    table = pd.read_parquet(io.BytesIO(label_files.to_parquet(UIDS, CLUSTERS, SAID)))
    assert table["uid"].tolist() == list(UIDS)
    assert table["cluster"].tolist() == list(CLUSTERS)
    assert table["name"].fillna("").tolist() == ["één <b>", "één <b>", "", "locks", "", ""]
    assert table["mark"].fillna("").tolist() == ["harmful", "harmful", "ignore", "", "", ""]


def test_what_was_said_comes_back_with_its_pairs():
    groups = label_files.read_parquet(label_files.to_parquet(UIDS, CLUSTERS, SAID))
    assert [(g.name, g.mark, list(g.uids)) for g in groups] == [
        ("één <b>", "harmful", ["u0", "u1"]),
        (None, "ignore", ["u2"]),
        ("locks", None, ["u3"]),
    ]


def test_labels_of_nothing_are_empty():
    assert (
        label_files.read_parquet(label_files.to_parquet(UIDS, CLUSTERS, Labels("discover-0"))) == []
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PAR1 not really", "not a readable Parquet"),
        (pd.DataFrame({"uid": ["a"]}).to_parquet(), "no column 'cluster'"),
        (
            pd.DataFrame(
                {"uid": ["a"], "cluster": [1], "name": ["x"], "mark": ["nice"]}
            ).to_parquet(),
            "'nice' is not a mark",
        ),
    ],
)
def test_another_file_is_refused_in_words(content, said):
    with pytest.raises(UserError, match=said):
        label_files.read_parquet(content)
