"""The preview: what steering along the vector did to reference and policy."""

import pytest

from core.specs.recipes import Edit, TopK
from core.workspace.catalog import Catalog
from pages.components.intervene import steering
from tests.pages import workspaces
from tests.pages.conftest import page_text


@pytest.fixture
def steered(store, project, investigated):
    """The specs of the two steered evaluations, with an edit in the cart to open the page on."""
    rank = investigated["rank compliance"]
    edit = Edit(action="flip", recipe=TopK(rank=rank, k=40))
    Catalog(store.workspace).add(edit, who="ana")
    return list(steering.models(project, rank, 1.0).values())[1::2]


def finish(store, spec, column, rng):
    workspaces.finish(
        store,
        spec,
        completions=workspaces.completions(("evaluated",), (column,), rng),
        rates=workspaces.rates({"evaluated": column}),
        summary={},
    )


def test_the_steered_specs_are_valid_and_differ_in_what_they_do(steered):
    assert [spec.steering for spec in steered] == ["add", "project_out"]
    for spec in steered:
        assert type(spec).model_validate(spec.model_dump()) == spec


def test_before_it_ran_it_offers_both_and_their_commands(open_page, steered):
    app = open_page("intervene")
    labels = [button.label for button in app.button]
    assert "Measure: reference + vector" in labels
    assert "Measure: policy without it" in labels
    assert "--steering project_out" in page_text(app)


@pytest.mark.parametrize("state", ["running", "failed"])
def test_a_preview_under_way_or_failed_says_so(open_page, store, steered, state):
    workspaces.begin(store, steered[0], state, error="out of memory")
    app = open_page("intervene")
    assert not app.exception
    assert ("out of memory" in page_text(app)) == (state == "failed")


def test_finished_previews_show_rates_and_completions(open_page, store, steered, rng):
    finish(store, steered[0], 1, rng)
    finish(store, steered[1], 0, rng)
    told = page_text(open_page("intervene"))
    assert "takes the reference from 1.0% to 55.0%" in told
    assert "takes the policy from 55.0% to 1.0%" in told
    assert "reference + vector: " in told
