"""A sequence classifier as judge: one label's probability per flag, read from a judge file (TOML).

    [classifier]
    model = "path/to/folder"        # a local model folder with a classification head
    reads = "completion"            # or "prompt and completion", as a pair of texts

    [flags.harmful]
    label = "toxic"                 # one of the model's labels
    threshold = 0.5                 # a probability of at least this shows the flag

A completion without text is unscored. Relative paths start at the file. The model is loaded at the
first judgement, so that naming a judge stays light.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pandas as pd
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.errors import UserError, first_problem


class Label(BaseModel):
    """Which label of the model stands for a flag."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    label: str = Field(description="name of the model's label")
    threshold: float = Field(0.5, gt=0, le=1, description="probability that shows the flag")


class Source(BaseModel):
    """The model, and what it reads."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str = Field(description="model folder with a classification head")
    reads: Literal["completion", "prompt and completion"] = "completion"


class ClassifierFile(BaseModel):
    """A judge file that names a classifier."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    classifier: Source
    flags: dict[str, Label] = Field(min_length=1)


class ClassifierJudge:
    """Judges by the probabilities of a classifier's labels."""

    def __init__(self, known: ClassifierFile, folder: Path) -> None:
        self.known, self.folder = known, folder
        self.flags: tuple[str, ...] = tuple(known.flags)

    def judge(self, prompts: Sequence[str], completions: Sequence[str]) -> pd.DataFrame:
        """One row per completion, one nullable boolean column per flag."""
        if len(prompts) != len(completions):
            raise ValueError(f"{len(prompts)} prompts but {len(completions)} completions")
        from core.models.classifier import Classifier

        classifier = Classifier(self.folder)
        columns = {name: self._column(name, classifier.labels) for name in self.flags}
        shown = [row for row, text in enumerate(completions) if text.strip()]
        texts = [completions[row] for row in shown]
        asked = [prompts[row] for row in shown]
        pairs = (texts, None) if self.known.classifier.reads == "completion" else (asked, texts)
        probabilities = np.full((len(completions), len(classifier.labels)), np.nan)
        probabilities[shown] = classifier.probabilities(*pairs)
        return pd.DataFrame(
            {name: self._flag(name, probabilities[:, at]) for name, at in columns.items()}
        )

    def _column(self, name: str, labels: list[str]) -> int:
        wanted = self.known.flags[name].label
        if wanted not in labels:
            known = ", ".join(labels)
            raise UserError(
                f"{self.folder}: has no label {wanted!r} (flag {name!r}). It has {known}."
            )
        return labels.index(wanted)

    def _flag(self, name: str, values: Any) -> Any:
        threshold = self.known.flags[name].threshold
        shown = [None if np.isnan(value) else bool(value >= threshold) for value in values]
        return pd.array(shown, dtype="boolean")


def read_classifier_file(path: Path, content: dict[str, Any]) -> ClassifierJudge:
    """The judge of a judge file's content, checked."""
    try:
        known = ClassifierFile(**content)
    except ValidationError as error:
        raise UserError(f"{path}: {first_problem(error)}") from error
    return ClassifierJudge(known, classifier_folder(path, content))


def classifier_folder(path: Path, content: dict[str, Any]) -> Path:
    """Where a judge file's model lies."""
    return (path.parent / str(content["classifier"]["model"])).resolve()
