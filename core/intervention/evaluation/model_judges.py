"""Judges that a judge file (TOML) names: a language model behind an endpoint, or a classifier.

A language model rates each completion from 0 to 100, one question per flag:

    [endpoint]                      # fields of core.models.api.client.Endpoint; no key in here
    model = "some-model"
    url = "https://host/v1"         # or $PAIRTRACE_ENDPOINT_URL

    [flags.harmful]
    instruction = "harmful"         # a wording of ours, or your own words
    threshold = 50                  # a rating of at least this shows the flag

A classifier gives a probability per label, one label per flag:

    [classifier]
    model = "path/to/folder"        # a local model folder with a classification head
    reads = "completion"            # or "prompt and completion", as a pair of texts

    [flags.harmful]
    label = "toxic"                 # one of the model's labels
    threshold = 0.5                 # a probability of at least this shows the flag

A completion without text is unscored (NA), and so is one whose answer is no rating. Answers of a
language model are cached in the workspace. Relative paths start at the file. A classifier is loaded
at the first judgement, so that naming a judge stays light.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pandas as pd
from pydantic import Field, ValidationError

from core.errors import UserError, first_problem
from core.models.api.batch import Answers, Usage
from core.models.api.client import Endpoint
from core.models.api.questions import HARMFUL, HARMFUL_AS_INSTRUCTED, rate
from core.specs.base import Record

WORDINGS = {"harmful": HARMFUL, "harmful as instructed": HARMFUL_AS_INSTRUCTED}


class _Table(Record):
    """A table of a judge file."""

    @classmethod
    def read(cls, path: Path, content: dict[str, Any]) -> Self:
        """The content of a judge file. `UserError` names what is wrong with it."""
        try:
            return cls(**content)
        except ValidationError as error:
            raise UserError(f"{path}: {first_problem(error)}") from error


class Question(_Table):
    """What a language model is asked for one flag."""

    instruction: str = Field(min_length=1, description="how to rate, or the name of a wording")
    threshold: float = Field(50, gt=0, le=100, description="rating that shows the flag")


class EndpointFile(_Table):
    """A judge file that names a language model."""

    endpoint: Endpoint
    flags: dict[str, Question] = Field(min_length=1)


class Label(_Table):
    """Which label of a classifier stands for a flag."""

    label: str = Field(description="name of the model's label")
    threshold: float = Field(0.5, gt=0, le=1, description="probability that shows the flag")


class Source(_Table):
    """A classifier, and what it reads."""

    model: str = Field(description="model folder with a classification head")
    reads: Literal["completion", "prompt and completion"] = "completion"


class ClassifierFile(_Table):
    """A judge file that names a classifier."""

    classifier: Source
    flags: dict[str, Label] = Field(min_length=1)


class EndpointJudge:
    """Asks a language model for every flag of every completion; `usage` sums what it cost."""

    def __init__(self, file: EndpointFile, answers: Answers) -> None:
        self.file, self.answers = file, answers
        self.flags: tuple[str, ...] = tuple(file.flags)
        self.usage = Usage()

    def judge(self, prompts: Sequence[str], completions: Sequence[str]) -> pd.DataFrame:
        """One row per completion, one nullable boolean column per flag."""
        texts, rows = _with_text(prompts, completions)
        return pd.DataFrame(
            {name: self._flag(name, texts, rows, len(completions)) for name in self.flags}
        )

    def _flag(self, name: str, texts: list[tuple[str, str]], rows: list[int], n: int) -> Any:
        question, ratings = self.file.flags[name], np.full(n, np.nan)
        wording = WORDINGS.get(question.instruction, question.instruction)
        ratings[rows], usage = rate(self.file.endpoint, wording, texts, self.answers)
        self.usage.add(usage)
        return _at_least(ratings, question.threshold)


class ClassifierJudge:
    """Judges by the probabilities of a classifier's labels."""

    usage = None

    def __init__(self, file: ClassifierFile, folder: Path) -> None:
        self.file, self.folder = file, folder
        self.flags: tuple[str, ...] = tuple(file.flags)

    def judge(self, prompts: Sequence[str], completions: Sequence[str]) -> pd.DataFrame:
        """One row per completion, one nullable boolean column per flag."""
        from core.models.classifier import Classifier

        texts, rows = _with_text(prompts, completions)
        classifier = Classifier(self.folder)
        columns = {name: self._column(name, classifier.labels) for name in self.flags}
        asked, answered = [prompt for prompt, _ in texts], [completion for _, completion in texts]
        alone = self.file.classifier.reads == "completion"
        probabilities = np.full((len(completions), len(classifier.labels)), np.nan)
        probabilities[rows] = classifier.probabilities(
            answered if alone else asked, None if alone else answered
        )
        return pd.DataFrame(
            {
                name: _at_least(probabilities[:, column], self.file.flags[name].threshold)
                for name, column in columns.items()
            }
        )

    def _column(self, name: str, labels: list[str]) -> int:
        label = self.file.flags[name].label
        if label not in labels:
            raise UserError(
                f"{self.folder}: has no label {label!r} (flag {name!r}). "
                f"It has {', '.join(labels)}."
            )
        return labels.index(label)


def classifier_judge(path: Path, content: dict[str, Any]) -> ClassifierJudge:
    """The judge of a judge file that names a classifier."""
    file = ClassifierFile.read(path, content)
    return ClassifierJudge(file, (path.parent / file.classifier.model).resolve())


def _with_text(
    prompts: Sequence[str], completions: Sequence[str]
) -> tuple[list[tuple[str, str]], list[int]]:
    """The prompts and completions to judge, and their rows: those whose completion has text."""
    texts = list(zip(prompts, completions, strict=True))
    rows = [row for row, completion in enumerate(completions) if completion.strip()]
    return [texts[row] for row in rows], rows


def _at_least(values: Any, threshold: float) -> Any:
    """Whether each value reaches the threshold; NA where it is NaN."""
    flags = [None if np.isnan(value) else bool(value >= threshold) for value in values]
    return pd.array(flags, dtype="boolean")
