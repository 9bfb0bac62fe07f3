"""A language model as judge: one question per flag, read from a judge file (TOML).

    [endpoint]                      # fields of core.models.api.client.Endpoint; no key in here
    model = "some-model"
    url = "https://host/v1"         # or $PAIRTRACE_ENDPOINT_URL

    [flags.harmful]
    instruction = "harmful"         # a wording of ours, or your own words
    threshold = 50                  # a rating of at least this shows the flag

The model rates each completion from 0 to 100. An answer that is no rating leaves the flag NA
(unscored), and so does a completion without text. Answers are kept in the workspace's cache.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import UserError, first_problem
from core.models.api.batch import Usage
from core.models.api.cache import Answers
from core.models.api.client import Endpoint
from core.models.api.rating import HARMFUL, HARMFUL_AS_INSTRUCTED, rate

WORDINGS = {"harmful": HARMFUL, "harmful as instructed": HARMFUL_AS_INSTRUCTED}


class Question(BaseModel):
    """What is asked for one flag."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    instruction: str = Field(min_length=1, description="how to rate, or the name of a wording")
    threshold: float = Field(50, gt=0, le=100, description="rating that shows the flag")


class JudgeFile(BaseModel):
    """A judge file: whom to ask, and what for each flag."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    endpoint: Endpoint
    flags: dict[str, Question] = Field(min_length=1)


class EndpointJudge:
    """Asks for every flag of every completion; `usage` says what that cost so far."""

    def __init__(self, known: JudgeFile, answers: Answers) -> None:
        self.known = known
        self.answers = answers
        self.flags: tuple[str, ...] = tuple(known.flags)
        self.usage = Usage()

    def judge(self, prompts: Sequence[str], completions: Sequence[str]) -> pd.DataFrame:
        """One row per completion, one nullable boolean column per flag."""
        if len(prompts) != len(completions):
            raise ValueError(f"{len(prompts)} prompts but {len(completions)} completions")
        texts = list(zip(prompts, completions, strict=True))
        return pd.DataFrame({name: self._flag(name, texts) for name in self.flags})

    def _flag(self, name: str, texts: list[tuple[str, str]]) -> Any:
        asked = self.known.flags[name]
        has_text = np.array([bool(completion.strip()) for _, completion in texts], bool)
        ratings = np.full(len(texts), np.nan)
        ratings[has_text], usage = rate(
            self.known.endpoint,
            WORDINGS.get(asked.instruction, asked.instruction),
            [text for text, kept in zip(texts, has_text, strict=True) if kept],
            self.answers,
        )
        self.usage.add(usage)
        shown = [None if np.isnan(one) else one >= asked.threshold for one in ratings]
        return pd.array(shown, dtype="boolean")


def read_judge_file(path: Path, content: dict[str, Any]) -> JudgeFile:
    """A judge file's content, checked."""
    try:
        return JudgeFile(**content)
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}") from error
