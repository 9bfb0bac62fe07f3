"""Untrusted text stays text."""

import html
import re

from hypothesis import given
from hypothesis import strategies as st

from pages.components import text as plain_text


def plain(marked: str) -> str:
    return html.unescape(re.sub(r"</?mark[^>]*>", "", marked))


@given(st.text(max_size=200), st.text(max_size=200))
def test_a_diff_shows_both_texts_whole(left, right):
    shown = plain_text.diff(left, right)
    assert [plain(side) for side in shown] == [plain_text.visible(left), plain_text.visible(right)]


@given(st.text(max_size=200), st.text(max_size=200))
def test_a_diff_holds_no_markup_but_its_marks(left, right):
    for side in plain_text.diff(left, right):
        assert set(re.findall(r"<(/?\w+)", side)) <= {"mark", "/mark"}


def test_only_differing_words_are_marked():
    left, right = plain_text.diff("to pick the lock, do this now", "to pick the lock, do that now")
    assert re.findall(r"<mark[^>]*>(.*?)</mark>", left) == ["this"]
    assert re.findall(r"<mark[^>]*>(.*?)</mark>", right) == ["that"]


def test_texts_with_little_in_common_are_not_marked():
    assert "<mark" not in "".join(
        plain_text.diff("I am sorry, but no.", "Sure: take the red ladder.")
    )


@given(st.text())
def test_no_control_or_direction_character_is_left(text):
    assert not re.search("[\x00-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069]", plain_text.visible(text))


def test_a_long_text_is_cut_and_says_so():
    shown = plain_text.visible("a" * (plain_text.LONG + 5))
    assert shown.endswith("(5 more characters)")


def test_a_table_cell_is_one_short_line():
    cell = plain_text.short("one\ntwo\t" + "x" * 500)
    assert "\n" not in cell
    assert len(cell) <= 90


def test_text_in_markdown_has_no_tag_and_no_entity_of_its_own():
    assert plain_text.escape("<b> &lt; *x*") == r"&lt;b\> &amp;lt; \*x\*"
