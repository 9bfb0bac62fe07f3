import re

import pandas as pd
import pytest

from core.report.findings import EditStory, Story
from core.report.html import readable, to_html, to_markdown
from core.specs.behaviors import Behavior
from core.specs.project import Project

HOSTILE = "<script>alert(1)</script> **bold** | ![x](http://example.com)"
RATES = pd.DataFrame(
    {
        "behavior": ["compliance", "compliance"],
        "wanted": [False, False],
        "arm": ["policy", "edited"],
        "rate": [0.5, 0.1],
        "low": [0.4, float("nan")],
        "high": [0.6, float("nan")],
        "n": [1200, 60],
        "seeds": [1, 2],
    }
)
PREDICTIONS = pd.DataFrame(
    {
        "behavior": "compliance",
        "arm": ["edited", "random control"],
        "seed": [0, 0],
        "train": ["train-1", "train-2"],
        "predicted change": [-0.5, 0.0],
        "measured change": [-0.4, 0.0],
    }
)


@pytest.fixture
def story():
    paths = dict.fromkeys(("reference", "policy", "pairs", "prompts", "heldout"), "x")
    behavior = Behavior(name="compliance", flag="complied", group="harmful")
    return Story(
        project=Project(name=HOSTILE, judge="refusal", behaviors=(behavior,), **paths),
        changes=RATES.rename(columns={"arm": "model"}),
        rankings=pd.DataFrame([{"behavior": HOSTILE, "layer": 2}]),
        edits=[
            EditStory(
                run="edit-1",
                words=[HOSTILE],
                touched="3 flipped",
                recipes="[]",
                rates=RATES,
                seeds=RATES.assign(seed=pd.array([pd.NA, 0], dtype="Int64")),
                commands=["pairtrace train"],
            )
        ],
        predictions=PREDICTIONS,
        environment=pd.DataFrame([{"run": "r", "CPU-seconds": 1.5}]),
        author="Ana",
        date="2026-12-01",
        pairs=[
            {
                "prompt": HOSTILE,
                "chosen": "the chosen text",
                "rejected": "</script>",
                "source": HOSTILE,
                "chosen_parts": [("the chosen text", 0.25)],
                "rejected_parts": [("</script>", 1.0), (HOSTILE, -0.5)],
            }
        ],
        pairs_of="compliance",
        example={"prompt": HOSTILE, "before": "the answer before", "after": "the answer after"},
        points={
            "x": [0],
            "y": [0],
            "c": [1],
            "t": [["</script><script>alert(1)</script>", "", ""]],
            "e": [0],
            "names": {"1": "1 · (letters)"},
            "sample": "All 1 pairs",
        },
        clusters=pd.DataFrame([{"cluster": HOSTILE, "pairs": 1}]),
    )


def test_a_rate_is_shown_with_its_interval_and_n():
    cell = readable(RATES)["policy"].iloc[0]
    assert cell == "50.0% [40.0%, 60.0%], n = 1,200"


def test_a_rate_without_an_interval_says_none():
    assert readable(RATES)["edited"].iloc[0] == "10.0%, n = 60"


def test_the_html_report_needs_no_other_machine(story):
    text = to_html(story)
    assert "default-src 'none'" in text
    assert not re.search(r"<link|src=|href=|url\(|import\(", text)


def test_text_from_data_never_becomes_html(story):
    text = to_html(story)
    assert "alert(1)" in text
    assert "<script>alert" not in text
    assert "</script>" not in text.split('id="points">')[1].split("</script>")[0].lower()
    assert text.count("<script") == 2


def test_the_five_cards_quote_pairs_completions_and_clusters(story):
    text = to_html(story)
    assert text.count('class="card"') == 5
    for quoted in ("the chosen text", "the answer before", "the answer after", "1 · (letters)"):
        assert quoted in text
    assert "by Ana" in text
    assert "2026-12-01" in text


def test_words_are_colored_by_their_part_and_never_markup(story):
    text = to_html(story)
    assert '<span style="background:rgba(213,94,0,0.6)">&lt;/script&gt;</span>' in text
    assert '<span style="background:rgba(0,114,178,0.3)">' in text
    assert "Blue words count against the behavior" in text


def test_text_from_data_never_becomes_markdown(story):
    text = to_markdown(story)
    assert "**bold**" not in text
    assert "![x]" not in text
    assert "<script>" not in text
    assert "pairtrace train" in text


def test_an_empty_investigation_still_has_a_report(story):
    nothing = pd.DataFrame()
    empty = Story(story.project, nothing, nothing, [], nothing, nothing)
    assert "Nothing was edited" in to_html(empty)


def test_predicted_changes_stand_beside_the_measured_ones(story):
    text = to_markdown(story)
    assert "2 predictions made before training" in text
    assert "slope of measured on predicted 0.80" in text
    assert "| compliance | edited | 0 | train-1 | -50.0 | -40.0 |" in text.replace("\\", "")
