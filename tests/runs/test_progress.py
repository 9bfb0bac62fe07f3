"""Time that is left: from the pace of the part under way, whatever came before it."""

import pytest

from core.runs.progress import Pace, seconds_left


def event(time, done, total, **more):
    return {"event": "progress", "time": float(time), "done": done, "total": total, **more}


def test_an_even_pace_gives_the_truth_from_its_first_unit_on():
    pace, left = Pace(), []
    for second in range(11):  # a model is loaded for 30 seconds, then a unit a second
        pace.add(event(30 + second if second else 0, second, 10))
        left.append(pace.left)
    assert left[0] is None
    assert left[2:] == pytest.approx([8, 7, 6, 5, 4, 3, 2, 1, 0])


def test_units_of_different_size_are_counted_by_their_work():
    seconds = [1, 1, 1, 1, 4, 4, 4, 4]  # the second half is longer: by count it would creep
    total, now = sum(seconds), 0
    events = [event(0, 0, 8, work=0.0)]
    for done, took in enumerate(seconds, 1):
        now += took
        events.append(event(now, done, 8, work=now / total))
        assert now + (seconds_left(events) or 0) == pytest.approx(total)


def test_a_new_part_has_its_own_pace():
    events = [event(0, 0, 4), event(1, 4, 4), event(1, 0, 4), event(3, 1, 4), event(6, 2, 4)]
    assert seconds_left(events[:3]) is None
    assert seconds_left(events) == pytest.approx(6)


def test_work_that_an_earlier_attempt_did_makes_nothing_faster():
    events = [event(0, 90, 100), event(5, 91, 100), event(10, 92, 100)]
    assert seconds_left(events) == pytest.approx(40)


@pytest.mark.parametrize("damaged", [{"done": "x"}, {"total": None}, {"event": "log"}])
def test_an_event_without_counts_changes_nothing(damaged):
    events = [event(0, 0, 4), event(1, 1, 4), event(2, 2, 4)]
    assert seconds_left([*events, event(9, 3, 4) | damaged]) == seconds_left(events) == 2
