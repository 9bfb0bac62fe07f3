"""Map and Clusters on maps with nothing much on them: all noise, one spot, no places."""

import numpy as np
import pytest

from tests.pages import workspaces

ODD = ("all noise", "one spot", "no places", "one cluster")


def odd(kind, rng):
    tables = workspaces.discovery(rng)
    pairs = tables["pairs"]
    if kind == "all noise":
        pairs["cluster"] = -1
        tables["clusters"] = tables["clusters"].head(0)
    if kind in ("one spot", "no places"):
        pairs[["x", "y"]] = 1.0 if kind == "one spot" else np.nan
    if kind == "one cluster":
        pairs["cluster"] = 0
        tables["clusters"] = tables["clusters"].head(1)
    return tables


@pytest.mark.parametrize("kind", ODD)
def test_an_odd_map_is_shown_and_searched(open_page, store, project, rng, kind):
    workspaces.investigate(store, project, rng)
    spec = project.discover(store.run_id(project.generate()), store.run_id(project.index()))
    run = workspaces.finish(store, spec.model_copy(update={"seed": 9}), **odd(kind, rng))
    app = open_page("map", discover=run, phrase="lock of")
    assert not app.exception
    assert not app.error
    assert app.metric[0].value == "40"
    app = open_page("clusters", discover=run)
    assert not app.exception
    assert not app.error
    assert bool(app.warning) == (kind == "all noise")
    told = any("Discovery found a single cluster" in one.value for one in app.info)
    assert told == (kind == "one cluster")
