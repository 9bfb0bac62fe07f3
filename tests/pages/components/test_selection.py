"""What recipes select is kept in memory, for the pairs' file as it is."""

from pathlib import Path

from core.data.canonical import write_pairs
from core.data.pairs import read_pairs
from core.specs.recipes import Edit, NoneOf, Where
from pages.components import selection


def test_a_pairs_file_that_changes_is_selected_from_anew(store, project, investigated):
    path = Path(project.pairs)
    pairs = read_pairs(path).pairs
    first, others = pairs["source"].iloc[0], pairs[pairs["source"] != pairs["source"].iloc[0]]
    recipe = Where(column="source", values=(first,))
    edits = [Edit(action="flip", recipe=NoneOf(parts=(recipe,)), why="others")]
    assert selection.mask(recipe).tolist() == (pairs["source"] == first).tolist()
    assert len(selection.actions(project.pairs, edits)) == len(others)
    assert list(selection.categories("source").categories) != list(others["source"].unique())
    write_pairs(others.tail(30).reset_index(drop=True), path)
    assert selection.mask(recipe).tolist() == [False] * 30
    assert selection.actions(project.pairs, edits)["uid"].tolist() == others["uid"].tolist()[-30:]
    assert selection.dry_run(project.pairs, edits).summary["n_flipped"] == 30
    assert len(selection.categories("source")) == 30
    assert selection.map_rows(investigated["discover"]).max() < 30
