"""Judges written as a Python function, which runs only where the command line allows it.

    [python]
    module = "my_judge.py"          # relative to the file
    function = "judge"              # judge(prompts, completions) → {flag: [True, False or None]}
    flags = ["polite"]              # what it returns, in this order or any other
    seconds = 60                    # time limit of all completions together

The code can do anything that its user can, so `pairtrace --trust-judge-code …` has to allow it;
the browser and background jobs never do. It runs in a child process: what it prints goes to
standard error; a crash, a hang or a result of another shape is a `UserError`, never a flag. Only
text leaves the child. Completions without text are not sent to it; they are unscored (NA).
"""

import importlib.util
import json
import os
import sys
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pydantic import Field, ValidationError

from core import environment
from core.errors import UserError, first_problem
from core.runs.workers import child_process
from core.specs.base import Record
from core.storage.parse import from_json

LAST_LINES = 8  # of a traceback, in a message
ANSWERS = "Return {flag: [True, False or None, …]}, one per completion"


class Source(Record):
    """A function of a user's module, and what it gives."""

    module: str = Field(min_length=1, description="path of a Python file")
    function: str = Field("judge", pattern=r"^[A-Za-z_]\w*$")
    flags: tuple[str, ...] = Field(min_length=1, description="the flags that it returns")
    seconds: float = Field(60, gt=0, le=86_400, description="time limit")


class PythonJudge:
    """Flags by a function of the user's own module, in a child process."""

    usage = None

    def __init__(self, path: Path, source: Source) -> None:
        self.path, self.source = path, source
        self.flags: tuple[str, ...] = source.flags

    def judge(self, prompts: Sequence[str], completions: Sequence[str]) -> pd.DataFrame:
        """One row per completion, one nullable boolean column per flag."""
        if len(prompts) != len(completions):
            raise ValueError(f"{len(prompts)} prompts but {len(completions)} completions")
        rows = [row for row, text in enumerate(completions) if text.strip()]
        answers: dict[str, list[bool | None]] = {flag: [] for flag in self.flags}
        if rows:
            answers = self._answers([prompts[i] for i in rows], [completions[i] for i in rows])
        table = pd.DataFrame(answers, index=rows, columns=list(self.flags))
        return table.reindex(range(len(completions))).astype("boolean")

    def _answers(self, prompts: list[str], completions: list[str]) -> dict[str, list[bool | None]]:
        """What the function returns for completions with text; `UserError` for anything else."""
        place = f"{self.path}: {self.source.function}"
        start = time.monotonic()

        def check_time(_note: str) -> None:
            if time.monotonic() - start > self.source.seconds:
                raise UserError(
                    f"{place}: did not return within {self.source.seconds:g} s. Make it faster, or "
                    "set seconds in the judge file."
                )

        advice = "Run it by itself to see why."
        with child_process(check_time, advice) as call:
            words = (str(self.path), self.source.function, prompts, completions)
            text = call(place, _run, *words)
        try:
            result = from_json(text)
        except ValueError as error:
            raise UserError(f"{place}: returned {error}. {ANSWERS}.") from error
        if "error" in result:
            raise UserError(f"{place}: {result['error']}")
        return _checked(place, self.flags, result["answers"], len(completions))


def read_python(path: Path, content: Any) -> PythonJudge:
    """The judge of a file's `[python]`. `UserError` names the field, or what is not allowed."""
    if not isinstance(content, dict):
        raise UserError(f"{path}: python: write a table with module, function and flags.")
    try:
        source = Source(**content)
    except ValidationError as error:
        raise UserError(f"{path}: python.{first_problem(error)}") from error
    if len(set(source.flags)) < len(source.flags):
        raise UserError(f"{path}: python.flags: a flag is named twice.")
    module = (path.parent / source.module).resolve()
    if module.suffix != ".py" or not module.is_file():
        raise UserError(f"{path}: python.module: {module} is no Python file.")
    if not environment.trusts_judge_code():
        raise UserError(
            f"{path}: runs the code of {module}, which can do anything that you can. Read it; to "
            "trust it, run the command in a terminal as `pairtrace --trust-judge-code …`. The "
            "browser and background jobs never do."
        )
    return PythonJudge(module, source)


def _checked(
    place: str, flags: Sequence[str], answers: Any, n: int
) -> dict[str, list[bool | None]]:
    if not isinstance(answers, dict) or set(answers) != set(flags):
        got = ", ".join(map(str, answers)) if isinstance(answers, dict) else "no dictionary"
        raise UserError(f"{place}: returned {got}, not the flags {', '.join(flags)}. {ANSWERS}.")
    for flag, values in answers.items():
        if not isinstance(values, list) or len(values) != n:
            count = f"{len(values)} answers" if isinstance(values, list) else "no list"
            raise UserError(f"{place}: flag {flag!r}: {count} for {n} completions. {ANSWERS}.")
        for row, value in enumerate(values):
            if not (value is None or isinstance(value, bool)):
                raise UserError(f"{place}: flag {flag!r}: answer {row} is {value!r}. {ANSWERS}.")
    return answers


def _run(path: str, function: str, prompts: list[str], completions: list[str]) -> str:
    """In the child process: the function's answers, or what went wrong, as JSON."""
    try:
        os.dup2(2, 1)  # standard output is the command's
        sys.path.append(str(Path(path).parent))
        spec = importlib.util.spec_from_file_location("judge_of_the_user", path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        judge = getattr(module, function, None)
        if not callable(judge):
            return json.dumps({"error": "there is no such function in the module."})
        return json.dumps({"answers": _plain(judge(prompts, completions))}, default=_answer)
    except BaseException:  # noqa: BLE001  sys.exit, too: the parent reports it
        lines = traceback.format_exc().strip().splitlines()[-LAST_LINES:]
        return json.dumps({"error": "raised an error.\n" + "\n".join(lines)})


def _plain(answers: Any) -> Any:
    """The lists of a dictionary, also of arrays and series; None for anything else."""
    if not isinstance(answers, dict):
        return None
    lists = {str(k): v.tolist() if hasattr(v, "tolist") else v for k, v in answers.items()}
    return {flag: values if isinstance(values, list) else None for flag, values in lists.items()}


def _answer(value: Any) -> Any:
    """One answer that JSON does not know: NumPy's booleans, pandas' NA; else its text."""
    if value is pd.NA:
        return None
    return bool(value) if type(value).__name__ in ("bool", "bool_") else repr(value)[:100]
