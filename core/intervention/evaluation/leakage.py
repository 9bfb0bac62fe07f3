"""Keep apart the prompts that built a behavior's vector and those that its rate is measured on.

An edit chosen by looking at some prompts looks better on them than it is. Where a model descends
from a ranking or a map (through an edit, or a vector that steers), the prompts of the generate run
behind these are known, and none of them may be measured. Prompts that merely resemble each other
are not found, nor those of runs that were deleted.
"""

import pandas as pd

from core.data.prompts import expand, read_prompts
from core.errors import UserError
from core.runs.execute import inputs
from core.runs.store import Store
from core.specs.base import Spec
from core.specs.steps import EvaluateSpec
from core.storage.tables import table as read_table


def refuse_leaks(spec: EvaluateSpec, sent: pd.DataFrame, store: Store) -> None:
    """Raises `UserError` where a generate run behind the model sent one of the same texts."""
    for run in sorted(_generate_runs(spec, store)):
        built = read_table(store.output(run) / "completions.parquet", columns=["prompt"])
        leaked = sent.loc[sent["prompt"].isin(built["prompt"]), "prompt"]
        if not leaked.empty:
            raise UserError(
                f"{spec.prompts}: {len(leaked)} of its {len(sent)} prompts also built the behavior "
                f"({run}), such as {leaked.iloc[0]!r}. Measure on prompts of their own."
            )


def refuse_shared_prompts(prompts: str, heldout: str) -> None:
    """The same refusal before anything is trained: `UserError` where two prompt files overlap."""
    built, measured = (expand(read_prompts(path))["prompt"] for path in (prompts, heldout))
    shared = measured[measured.isin(built)]
    if not shared.empty:
        raise UserError(
            f"{heldout}: {len(shared)} of its {len(measured)} prompts are also in {prompts}, such "
            f"as {shared.iloc[0]!r}. Measure on prompts that built no behavior."
        )


def _generate_runs(spec: Spec, store: Store) -> set[str]:
    """The generate runs among all runs that the spec's inputs were made from."""
    ahead, seen = inputs(spec), set[str]()
    while ahead:
        run = ahead.pop()
        if run not in seen and store.state(run) == "finished":
            seen.add(run)
            ahead += inputs(store.spec(run))
    return {run for run in seen if run.startswith("generate-")}
