"""Ground truth of an organism: which pairs were planted.

It is a file beside the pairs that attribution never reads: `uid, rule, planted, decoy, swapped`.
`planted` and `decoy` name the behavior that the pair's rule teaches, or only resembles, and are
null for other pairs; `swapped` marks label noise. A diffuse drift is in the rates of all pairs and
so in no pair's truth.
"""

from pathlib import Path

import pandas as pd

from core.errors import UserError

COLUMNS = ("uid", "rule", "planted", "decoy", "swapped")


def read_truth(path: Path | str) -> pd.DataFrame:
    """The truth file of an organism, one row per pair."""
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}: there is no such truth file. Only organisms have one.")
    truth = pd.read_parquet(path)
    missing = [name for name in COLUMNS if name not in truth.columns]
    if missing:
        raise UserError(f"{path}: column {missing[0]!r} is missing. Build the organism again.")
    return truth


def planted_uids(truth: pd.DataFrame, behavior: str) -> set[str]:
    """The uids of the pairs that teach a behavior; `UserError` where no pair does."""
    uids = set(truth.loc[truth["planted"] == behavior, "uid"])
    if not uids:
        planted = ", ".join(sorted(truth["planted"].dropna().unique()))
        raise UserError(f"no pair was planted for {behavior!r}. Planted: {planted}.")
    return uids
