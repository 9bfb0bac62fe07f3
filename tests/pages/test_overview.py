"""Overview: what changed, how far the investigation is, one button for what comes next."""

import re

import pytest

from core.report.findings import gather
from core.report.html import to_html
from core.specs import project as projects
from core.specs.behaviors import Behavior
from core.specs.steps import CheckSpec
from core.workspace.catalog import Catalog
from tests.pages import workspaces
from tests.pages.conftest import opened, page_text


def test_a_new_project_offers_every_step_that_can_start(open_page, project):
    app = open_page("overview")
    assert "Next: generate, index, discover" in page_text(app)
    assert "→ " not in page_text(app)


def test_changes_are_shown_with_interval_and_n(open_page, investigated):
    shown = page_text(open_page("overview"))
    assert "**1.0% → 55.0%** compliance" in shown
    assert "rose, unwanted · harmful, distractor" in shown
    assert "[52.0%, 58.0%] · n\N{NBSP}=\N{NBSP}240\N{NBSP}each" in shown
    assert "Rates on the prompts of prompts.jsonl" in shown


def test_what_got_worse_comes_first_with_its_cause(open_page, investigated):
    shown = page_text(open_page("overview"))
    marks = re.findall(r"⚠ worse|= unchanged|✓ better", shown)
    assert marks == ["⚠ worse", "= unchanged", "= unchanged"]
    assert re.search(r"\d+ pairs, \d+% from \*\*instructions", shown)
    assert re.search(r"\d+% in cluster 1 · ", shown)


@pytest.mark.parametrize(
    ("wanted", "verdict"), [(True, "fell, though wanted"), (False, "refused less often")]
)
def test_an_unwanted_fall_is_traced_by_its_complement(
    open_page, investigated, store, project, wanted, verdict
):
    guard = Behavior(
        name="guard", flag="refused", group="harmful", condition="distractor", wanted=wanted
    )
    projects.save(project.model_copy(update={"behaviors": (guard,)}), store.workspace)
    app = open_page("overview")
    assert verdict in page_text(app)
    app.button("complement-guard").click().run()
    assert not app.exception
    added = projects.load(store.workspace).behaviors[-1]
    assert (added.flag, added.group, added.condition, added.wanted) == (
        *("complied", "harmful", "distractor", False),
    )
    steps = app.dataframe[-1].value
    assert "nothing to trace" not in steps.set_index("step")["state"][f"rank {added.name}"]


def test_a_finished_investigation_leads_on(open_page, investigated):
    assert "Everything up to retraining is done" in page_text(open_page("overview"))


def test_a_behavior_that_did_not_rise_is_not_ranked(open_page, investigated):
    steps = open_page("overview").dataframe[-1].value
    row = steps[steps["step"] == "rank plain compliance"].iloc[0]
    assert "nothing to trace" in row["state"]


def test_a_running_step_shows_progress_and_a_way_to_stop(open_page, project, store):
    run = workspaces.begin(store, project.generate(), "running")
    app = open_page("overview")
    assert f"{run}   running · 3 of 10" in page_text(app)
    assert app.button(f"cancel-{run}").label == "Cancel"


def test_a_failed_step_says_why_and_can_be_started_again(open_page, project, store):
    workspaces.begin(store, project.generate(), "failed", error="the prompts file is empty")
    app = open_page("overview")
    assert "the prompts file is empty" in page_text(app)
    assert "generate" in app.button("start-all").label or "Next: generate" in page_text(app)


def test_the_cause_of_a_failure_is_shown_once(open_page, project, store):
    failed = workspaces.begin(store, project.generate(), "failed", error="the file is empty")
    error = f"input {failed} is failed. Run it first, or run it again."
    spec = project.discover(failed, store.run_id(project.index()))
    workspaces.begin(store, spec, "failed", error=error)
    text = page_text(open_page("overview"))
    assert "the file is empty" in text
    assert "discover: stopped, since one of its inputs failed" in text
    assert error not in text


def test_what_the_check_of_the_pairs_found_is_repeated(open_page, investigated, project, store):
    advice = "The chosen text is the longer one in 67% of the pairs: training teaches length too."
    spec = CheckSpec(pairs=project.pairs, model=project.reference)
    workspaces.finish(store, spec, summary={"advice": [advice]})
    assert advice in page_text(open_page("overview"))
    assert to_html(gather(store)).count(f"Of the pairs: {advice}") == 1


def test_what_moved_most_is_added_as_a_behavior_on_a_press(open_page, investigated, store, project):
    few = project.model_copy(update={"behaviors": project.behaviors[1:]})
    projects.save(few, store.workspace)
    app = opened(open_page("overview"), "others")
    said = page_text(app)
    assert "What else moved, to be added as behaviors (1)" in [e.label for e in app.expander]
    assert "complied · harmful, distractor" in said
    assert "1.0% → 55.0% (+54.0 points, 95%\N{NBSP}[+49.8,\N{NBSP}+57.2]" in said
    assert "Pairs behind it: 1 · (lock, pick / cannot) (40 pairs)" in said
    app.button("add-False-complied · harmful · distractor").click().run()
    assert not app.exception
    added = projects.load(store.workspace).behaviors[-1]
    assert (added.flag, added.condition, added.wanted) == ("complied", "distractor", False)
    steps = app.dataframe[-1].value.set_index("step")["state"]
    assert "nothing to trace" not in steps[f"rank {added.name}"]


def test_a_fall_is_not_listed_where_its_complement_rose(open_page, investigated):
    labels = [each.label for each in open_page("overview").expander]
    assert not [label for label in labels if "What else moved" in label]


def alarms(app):
    (table,) = [frame.value for frame in app.dataframe if "alarm" in frame.value]
    return table


def test_the_cluster_behind_a_change_for_the_worse_is_listed_and_no_other(open_page, investigated):
    table = alarms(open_page("overview"))
    assert list(table["cluster"]) == [1]
    said_of_it = "compliance: 4% [1%, 7%] → 55% [52%, 58%], n = 240"
    assert table["what changed there"].iloc[0] == said_of_it
    assert table["alarm"].iloc[0] == pytest.approx(0.51 * 0.9)


def test_an_ignored_cluster_is_no_longer_listed(open_page, investigated, store):
    Catalog(store.workspace).mark(investigated["discover"], 1, "ignore", who="ana")
    app = open_page("overview")
    assert not [frame for frame in app.dataframe if "alarm" in frame.value]
    assert "No cluster of pairs goes with an unwanted change." in [i.value for i in app.info]


def test_a_behavior_that_rose_leads_to_its_pairs(open_page, investigated):
    links = [one.proto for one in open_page("overview").get("page_link")]
    (rank,) = [one for one in links if one.label == "What taught it? →"]
    assert rank.query_string == "behavior=compliance"
