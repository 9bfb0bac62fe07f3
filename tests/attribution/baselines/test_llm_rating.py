"""The judge as an attribution baseline."""

import json

import numpy as np
import pandas as pd
import pytest

from core.attribution.baselines.texts import rated_by_endpoint, rated_by_flags
from core.models.api.batch import Answers
from core.models.api.client import Endpoint
from core.models.api.questions import HARMFUL, HARMFUL_AS_INSTRUCTED
from tests.chat_server import Reply, chat_server

PAIRS = pd.DataFrame(
    {
        "prompt": ["p", "q", "r"],
        "chosen": ["bad", "fine", "unusual"],
        "rejected": ["fine", "bad", "bad"],
    }
)


def rating(_number, asked):
    completion = json.loads(asked["messages"][-1]["content"])["completion"]
    return Reply({"bad": "90", "fine": '{"score": 5}', "unusual": "?"}[completion])


def test_the_score_is_chosen_minus_rejected_and_unscored_is_nan(tmp_path):
    answers = Answers(tmp_path / "answers.sqlite")
    with chat_server(rating) as server:
        endpoint = Endpoint(model="m", url=server.url, dollars_per_million_prompt_tokens=2)
        scores, usage = rated_by_endpoint(PAIRS, endpoint, HARMFUL, answers)
        again, free = rated_by_endpoint(PAIRS, endpoint, HARMFUL, answers)
        rated_by_endpoint(PAIRS, endpoint, HARMFUL_AS_INSTRUCTED, answers)
    np.testing.assert_array_equal(scores, [85, -85, np.nan])
    np.testing.assert_array_equal(scores, again)
    assert usage.dollars == pytest.approx(6 * 100 * 2 / 1e6)
    assert (free.asked, free.dollars) == (0, 0)
    assert len(server.requests) == 12  # the other prompt is another question


def test_flags_stand_in_for_ratings():
    scores = rated_by_flags([True, False, None, True], [False, True, True, True])
    np.testing.assert_array_equal(scores, [100, -100, np.nan, 0])
