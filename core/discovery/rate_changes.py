"""What the judge saw change on each kind of prompts that discovery found.

Rates per kind, flag and model, split by the prompts' own group and condition, with intervals by
prompt. Unscored completions are left out and counted. Knows completions and kinds only.
"""

import pandas as pd

from core.stats import rate_interval

COLUMNS = [
    *("prompt_cluster", "group", "condition", "flag", "model"),
    *("rate", "low", "high", "n", "n_unscored", "n_prompts"),
]


def changes(completions: pd.DataFrame, prompts: pd.DataFrame) -> pd.DataFrame:
    """`COLUMNS`, one row per kind × group × condition × flag × model.

    `prompts` has `prompt_id, condition, cluster`; −1 is no kind, and is kept.
    """
    flags = [str(name) for name in completions.select_dtypes("boolean")]
    kinds = prompts[["prompt_id", "condition", "cluster"]]
    rows = completions.merge(kinds, on=["prompt_id", "condition"], validate="many_to_one")
    found = [
        {"prompt_cluster": kind, "group": group, "condition": condition, "model": model}
        | {"flag": flag}
        | _rate(part, flag)
        for (kind, group, condition, model), part in rows.groupby(
            ["cluster", "group", "condition", "model"]
        )
        for flag in flags
    ]
    return pd.DataFrame(found, columns=COLUMNS)


def _rate(part: pd.DataFrame, flag: str) -> dict[str, float | int]:
    scored = part[part[flag].notna()]
    interval = rate_interval(scored[flag], scored["prompt_id"])
    return {
        "rate": interval.value,
        "low": interval.low,
        "high": interval.high,
        "n": len(scored),
        "n_unscored": len(part) - len(scored),
        "n_prompts": interval.n,
    }
