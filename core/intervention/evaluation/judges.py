"""Judges: which flags a completion shows.

A judge answers each flag with True, False or NA. NA means unscored: the judge could not decide. It
is counted beside every rate and never taken for False. The judge of an organism's world parses
completions (core.organism.judge); a judge file holds regular expressions (`pattern_judge`), rules
(`rule_judge`), or names a Python function (`python_judge`), a language model or a classifier
(`model_judges`); `refusal` is a set of expressions. docs/judges.md has an example of each.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from core import environment
from core.data.completions import COLUMNS, KEPT
from core.errors import UserError
from core.intervention.evaluation.model_judges import EndpointFile, EndpointJudge, classifier_judge
from core.intervention.evaluation.pattern_judge import (
    CombinedJudge,
    combine,
    read_patterns,
    refusal_judge,
)
from core.intervention.evaluation.python_judge import read_python
from core.intervention.evaluation.rule_judge import read_rules
from core.models.api.batch import Answers
from core.organism.judge import GrammarJudge
from core.organism.world import World, read_world
from core.specs.behaviors import NO_JUDGE
from core.storage.parse import toml_file

TAKEN = COLUMNS | set(KEPT)


class Judge(Protocol):
    """One row per completion, one nullable boolean column per flag."""

    flags: tuple[str, ...]

    def judge(self, prompts: Sequence[str], completions: Sequence[str]) -> pd.DataFrame: ...


class NoJudge:
    """Gives no flags: what can be found without a judge is found without one."""

    flags: tuple[str, ...] = ()

    def judge(self, prompts: Sequence[str], completions: Sequence[str]) -> pd.DataFrame:
        """One row per completion, no column."""
        return pd.DataFrame(index=range(len(completions)))


def load_judge(reference: str) -> Judge:
    """The judge that a spec names: `refusal`, `none`, a world file, or a judge file (TOML)."""
    if reference == "refusal":
        return refusal_judge()
    if reference == NO_JUDGE:
        return NoJudge()
    path = Path(reference)
    if path.suffix != ".toml":
        raise UserError(
            f"judge {reference!r} is none of 'refusal', a world file (.toml), a judge file "
            "(.toml), 'none' (no flags)."
        )
    judge = _read(path, toml_file(path))
    if taken := sorted(TAKEN & set(judge.flags)):
        raise UserError(f"{path}: flag {taken[0]!r}: completions have such a column. Rename it.")
    return judge


def cost(judge: Judge) -> dict[str, float]:
    """What a judge has cost so far: questions, tokens, dollars; empty if it runs locally."""
    if isinstance(judge, CombinedJudge):
        parts = [part for part in judge.judges if isinstance(part, EndpointJudge)]
        return dict(vars(parts[0].usage)) if parts else {}
    return dict(vars(judge.usage)) if isinstance(judge, EndpointJudge) else {}


def _read(path: Path, content: dict[str, Any]) -> Judge:
    """The judge of a file: of its tables, or of a world."""
    combined = content.pop("combined", None)
    parts: list[Judge] = []
    if "patterns" in content:
        parts.append(read_patterns(path, content.pop("patterns")))
    if "rules" in content:
        parts.append(read_rules(path, content.pop("rules")))
    if "python" in content:
        parts.append(read_python(path, content.pop("python")))
    if "classifier" in content:
        parts.append(classifier_judge(path, content))
    elif "endpoint" in content:
        answers = Answers(environment.default_workspace() / "cache" / "answers.sqlite")
        parts.append(EndpointJudge(EndpointFile.read(path, content), answers))
    elif content and parts:
        raise UserError(
            f"{path}: {min(content)}: a judge file has patterns, rules, python, combined, …."
        )
    if combined is not None:
        return combine(path, parts, combined)
    if not parts and not content.keys() & World.model_fields.keys():
        raise UserError(
            f"{path}: neither a judge file nor a world. A judge file has one of the tables "
            "patterns, rules, python, classifier, endpoint (docs/judges.md)."
        )
    if not parts:
        return GrammarJudge(read_world(path))
    return parts[0] if len(parts) == 1 else combine(path, parts, {})
