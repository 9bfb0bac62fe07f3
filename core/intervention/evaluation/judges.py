"""Judges: which flags a completion shows.

A judge answers each flag with True, False or NA. NA means unscored: the judge could not decide. It
is counted beside every rate and never taken for False. The judge of an organism's world parses
completions (core.organism.sampling); a judge file holds patterns and rules (`text_judge`), or names
a Python function (`python_judge`), a language model or a classifier (`model_judges`), and may
combine flags:

    [combined]
    complied = "not refused"
    sweet_talk = "flattered and (complied or not refused)"

Combined flags follow three-valued logic, so that NA or True is True. docs/judges.md has an example
of each.
"""

import ast
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from core import environment
from core.data.completions import COLUMNS, KEPT
from core.errors import UserError
from core.intervention.evaluation.model_judges import EndpointFile, EndpointJudge, classifier_judge
from core.intervention.evaluation.python_judge import read_python
from core.intervention.evaluation.text_judge import Pattern, TextJudge, read_text_judge
from core.models.api.batch import Answers, Usage
from core.organism.sampling import GrammarJudge
from core.organism.world import World, read_world
from core.specs.behaviors import NO_JUDGE
from core.storage.parse import toml_file

TAKEN = COLUMNS | set(KEPT)


class Judge(Protocol):
    """One row per completion, one nullable boolean column per flag.

    `usage` sums what a judge that asks an endpoint has cost; None for one that runs locally.
    """

    @property
    def flags(self) -> tuple[str, ...]: ...

    @property
    def usage(self) -> Usage | None: ...

    def judge(self, prompts: Sequence[str], completions: Sequence[str]) -> pd.DataFrame: ...


class NoJudge:
    """Gives no flags: what can be found without a judge is found without one."""

    flags: tuple[str, ...] = ()
    usage = None

    def judge(self, prompts: Sequence[str], completions: Sequence[str]) -> pd.DataFrame:
        """One row per completion, no column."""
        return pd.DataFrame(index=range(len(completions)))


class CombinedJudge:
    """The flags of several judges, and flags that are combined from these."""

    def __init__(self, judges: Sequence[Judge], combined: Mapping[str, ast.expr]) -> None:
        self.judges, self.combined = list(judges), dict(combined)
        names = [name for judge in judges for name in judge.flags]
        self.flags: tuple[str, ...] = (*names, *combined)
        self.usage = next((judge.usage for judge in judges if judge.usage), None)

    def judge(self, prompts: Sequence[str], completions: Sequence[str]) -> pd.DataFrame:
        """One row per completion, one nullable boolean column per flag."""
        table = pd.concat([judge.judge(prompts, completions) for judge in self.judges], axis=1)
        for name, expression in self.combined.items():
            table[name] = _value(expression, table)
        return table[list(self.flags)]


def load_judge(reference: str) -> Judge:
    """The judge that a spec names: `refusal`, `none`, a world file, or a judge file (TOML)."""
    if reference == "refusal":
        patterns = TextJudge({"refused": [Pattern(set="refusal")]})
        return _combine(Path(reference), [patterns], {"complied": "not refused"})
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
    return dict(vars(judge.usage)) if judge.usage else {}


def _read(path: Path, content: dict[str, Any]) -> Judge:
    """The judge of a file: of its tables, or of a world."""
    combined = content.pop("combined", None)
    parts: list[Judge] = []
    for table in ("patterns", "rules"):
        if table in content:
            parts.append(read_text_judge(path, table, content.pop(table)))
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
        return _combine(path, parts, combined)
    if not parts and not content.keys() & World.model_fields.keys():
        raise UserError(
            f"{path}: neither a judge file nor a world. A judge file has one of the tables "
            "patterns, rules, python, classifier, endpoint (docs/judges.md)."
        )
    if not parts:
        return GrammarJudge(read_world(path))
    return parts[0] if len(parts) == 1 else _combine(path, parts, {})


def _combine(path: Path, judges: Sequence[Judge], content: Any) -> CombinedJudge:
    """The judge of a whole file: `judges` of its parts, and the flags of its `[combined]`.

    A combined flag may name flags of the parts and combined flags above it.
    """
    names = [name for judge in judges for name in judge.flags]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise UserError(f"{path}: flag {twice[0]!r} is given twice. Rename one of them.")
    if not isinstance(content, dict):
        raise UserError(f'{path}: combined: write lines such as complied = "not refused".')
    combined: dict[str, ast.expr] = {}
    for name, text in content.items():
        combined[name] = _expression(f"{path}: combined.{name}", text, [*names, *combined])
    if taken := sorted(combined.keys() & set(names)):
        raise UserError(f"{path}: combined.{taken[0]}: there is a flag of that name already.")
    return CombinedJudge(judges, combined)


def _expression(place: str, text: Any, names: Sequence[str]) -> ast.expr:
    """The parsed expression; `UserError` where it is more than not, and, or over `names`."""
    advice = f"combine flags by not, and, or. Flags: {', '.join(names)}."
    if not isinstance(text, str):
        raise UserError(f"{place}: {text!r} is no text; {advice}")
    try:
        expression = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise UserError(f"{place}: {text!r} is no expression; {advice}") from error
    allowed = (ast.BoolOp, ast.UnaryOp, ast.Name, ast.And, ast.Or, ast.Not, ast.Load)
    for node in ast.walk(expression):
        if not isinstance(node, allowed):
            raise UserError(f"{place}: {ast.unparse(node)!r} is not allowed; {advice}")
        if isinstance(node, ast.Name) and node.id not in names:
            raise UserError(f"{place}: there is no flag {node.id!r}; {advice}")
    return expression


def _value(expression: ast.expr, table: pd.DataFrame) -> pd.Series:
    """The expression over a table of nullable booleans, by Kleene's three-valued logic."""
    if isinstance(expression, ast.BoolOp):
        values = [_value(part, table) for part in expression.values]
        result = values[0]
        for value in values[1:]:
            result = result & value if isinstance(expression.op, ast.And) else result | value
        return result
    if isinstance(expression, ast.UnaryOp):
        return ~_value(expression.operand, table)
    assert isinstance(expression, ast.Name)
    return table[expression.id].astype("boolean")
