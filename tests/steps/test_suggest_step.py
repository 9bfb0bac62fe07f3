"""Suggested names of a discover run's clusters, from an endpoint that speaks the protocol."""

import json

import numpy as np
import pytest

from core.cli.runs import clusters
from core.runs.execute import execute
from core.runs.store import Store
from core.specs.steps import SuggestSpec
from core.storage.tables import record, table
from tests.chat_server import Reply, chat_server
from tests.pages import workspaces


@pytest.fixture
def workspace(tmp_path):
    store = Store(tmp_path / "workspace")
    project = workspaces.make_project(tmp_path)
    return workspaces.investigate(store, project, np.random.default_rng(0)), store


def test_clusters_get_names_and_what_is_no_name_gets_none(workspace):
    runs, store = workspace

    def answer(_number, question):
        sent = json.loads(question["messages"][-1]["content"])
        assert len(sent["pairs"]) == 2
        wanted = "lock" in sent["words_chosen"]
        return Reply('{"name": "Helps thieves", "description": "Complies."}' if wanted else "?")

    with chat_server(answer) as server:
        spec = SuggestSpec(discover=runs["discover"], llm="m", url=server.url, examples=2)
        run = execute(spec, store)
    found = table(store.output(run) / "suggestions.parquet")
    assert found.to_dict("records") == [
        {"cluster": 1, "name": "Helps thieves", "description": "Complies.", "model": "m"}
    ]
    summary = record(store.output(run) / "summary.json")
    assert (summary["n_clusters"], summary["n_named"], summary["usage"]["asked"]) == (2, 1, 2)


def test_clusters_are_listed_with_alarm_and_part_in_every_behavior(workspace):
    runs, store = workspace
    first, second = clusters(store, runs["discover"])
    assert (first["cluster"], second["cluster"]) == (1, 0)
    assert first["alarm"]["alarm"] == pytest.approx(0.51 * 0.9)
    assert first["words_chosen"] == "sure, lock, pick"
    assert 0.5 < first["share_of_attribution"]["compliance"] < 1
