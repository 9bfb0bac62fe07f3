"""The contrast step: completions that show a behavior against others that do not, without a judge.

Examples come from a file. For a sentence, the reference completes each prompt twice, with the
sentence as system prompt and without it, or with one that asks for the opposite (Chen et al. 2025,
arXiv 2507.21509). Both are kept as answers to the plain prompt: activations are read without the
sentence, so that the vector is that of what was written, as for the pairs, and not of the request
to write so. Where the behavior names a flag, the judge decides which completions are kept: those
that show it with the sentence, those that do not without it.

The table is a generate run's: what shows the behavior has `policy` for its model, what lacks it
`reference`, and the flag `shows` tells them apart.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import fisher_exact

from core.data.completions import SIDES, paired, read_examples
from core.data.prompts import read_group
from core.data.tokens import asked_for
from core.errors import UserError
from core.intervention.evaluation.judges import load_judge
from core.runs.progress import Progress
from core.runs.store import Store
from core.specs.behaviors import CONTRAST, SHOWS, ContrastSpec
from core.steps.shared import SAMPLED, sample_completions, sampled_once, write_summary

MODEL = dict(zip(SIDES, ("policy", "reference"), strict=True))
SURE = 0.05  # one-sided p of Fisher's exact test: the sentence raises the flag's rate
MOST = 16  # completions of a prompt and side that are used
KEPT = ["prompt_id", "topic", "prompt", "side", "completion", "n_tokens", "finished"]


def run(spec: ContrastSpec, *, store: Store, output: Path, progress: Progress) -> None:
    """Write `completions.parquet` and `summary.json`."""
    rates: dict[str, Any] = {}
    if spec.examples is not None:
        rows = paired(read_examples(Path(spec.examples)))
        rows = rows.assign(topic=CONTRAST, n_tokens=0, finished=True)
    else:
        rows = sampled_once(output, lambda: _sampled(spec, store, progress))
        rows = rows[rows["completion"].str.strip().ne("")]
        _refuse_unmoved(rows)
        rows, rates = fitting(rows, spec)
    used = chosen(rows, spec.max_prompts, spec.seed)
    completions(used).to_parquet(output / "completions.parquet", index=False)
    prompts = used.groupby("prompt_id")["prompt"].nunique()
    summary = {
        "n_prompts": len(prompts),
        "n_shows": int(used["side"].eq("shows").sum()),
        "n_lacks": int(used["side"].eq("lacks").sum()),
        "n_different_prompts": int(prompts.gt(1).sum()),
        "n_left_out": len(rows) - len(used),
        "n_unfinished": int((~used["finished"]).sum()),
        "sentence_in": rows.attrs.get("sentence_in"),
        "dtype": rows.attrs.get("dtype"),
        **rates,
    }
    write_summary(output, summary)
    (output / SAMPLED).unlink(missing_ok=True)  # last: until then it saves sampling again
    progress(len(used), len(used), "collected")


def fitting(rows: pd.DataFrame, spec: ContrastSpec) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The rows that fit their side by the spec's flag, and the share of each side that shows it.

    Unscored completions fit no side. `UserError` where no prompt has both sides left.
    """
    if spec.judge is None or spec.flag is None:
        return rows, {}
    judge = load_judge(spec.judge)
    if spec.flag not in judge.flags:
        given = ", ".join(judge.flags) or "none"
        raise UserError(f"the judge {spec.judge!r} gives no flag {spec.flag!r}. It gives: {given}.")
    judged = judge.judge(rows["prompt"].tolist(), rows["completion"].tolist())
    shown = judged[spec.flag].set_axis(rows.index)
    sides = {side: rows["side"].eq(side) & shown.notna() for side in SIDES}
    n = {side: int(scored.sum()) for side, scored in sides.items()}
    k = {side: int(shown[scored].sum()) for side, scored in sides.items()}
    counts = f"{k['shows']} of {n['shows']} completions with the sentence show {spec.flag!r}, and "
    counts += f"{k['lacks']} of {n['lacks']} without it"
    kept = rows[(shown.eq(rows["side"].eq("shows"))).fillna(False)]
    if not kept.groupby("prompt_id")["side"].nunique().eq(2).any():
        raise UserError(
            f"{counts}: no prompt has one of each. The reference does not do what it asks. "
            "Use more prompts or rollouts, another sentence, or describe the behavior by examples."
        )
    moved = fisher_exact(
        [[k["shows"], n["shows"] - k["shows"]], [k["lacks"], n["lacks"] - k["lacks"]]], "greater"
    )
    return kept, {"sentence_did": counts, "sentence_works": bool(moved.pvalue < SURE)}


def chosen(rows: pd.DataFrame, max_prompts: int, seed: int) -> pd.DataFrame:
    """At most so many prompts, drawn at random, that have both sides, and `MOST` completions each.

    Ordered by prompt; what shows the behavior comes first.
    """
    rows = rows.dropna(subset="prompt_id")
    rows = rows[rows.groupby("prompt_id")["side"].transform("nunique").eq(2)]
    ids = np.sort(rows["prompt_id"].unique())
    drawn = np.random.default_rng(abs(seed)).permutation(ids)[:max_prompts]
    rows = rows[rows["prompt_id"].isin(drawn)]
    rows = rows.sort_values(["prompt_id", "side"], ascending=[True, False], kind="stable")
    return rows.groupby(["prompt_id", "side"], sort=False).head(MOST).reset_index(drop=True)


def completions(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows as a generate run has them."""
    table = rows[KEPT].assign(
        group=CONTRAST,
        condition="plain",
        model=rows["side"].map(MODEL),
        rollout=rows.groupby(["prompt_id", "side"]).cumcount(),
    )
    table[SHOWS] = rows["side"].eq("shows").astype("boolean")
    return table.drop(columns="side")


def _sampled(spec: ContrastSpec, store: Store, progress: Progress) -> pd.DataFrame:
    """What the reference writes with the sentence and without it, as answers to plain prompts."""
    from core.models.loading import load_model

    sentence = (spec.sentence or "").strip()
    prompts = read_group(spec.prompts or "", spec.group)
    n = min(spec.max_prompts, len(prompts))
    prompts = prompts.sample(n, random_state=abs(spec.seed)).sort_index(ignore_index=True)
    loaded = load_model(store.model(spec.reference), dtype=spec.dtype)
    plain = prompts["prompt"].tolist()
    asked, place = asked_for(loaded.tokenizer, plain, sentence)
    other = (spec.opposite or "").strip()
    against = asked_for(loaded.tokenizer, plain, other)[0] if other else plain
    tables = []
    for number, (side, texts) in enumerate((("shows", asked), ("lacks", against))):

        def report(done: int, total: int, note: str, number: int = number) -> None:
            progress(number * total + done, 2 * total, note)

        drawn = sample_completions(loaded, prompts.assign(prompt=texts), spec, report)
        tables.append(drawn.assign(prompt=np.repeat(plain, spec.rollouts), side=side))
    table = pd.concat(tables, ignore_index=True)
    table.attrs = {"dtype": tables[0].attrs["dtype"], "sentence_in": place}
    return table


def _refuse_unmoved(rows: pd.DataFrame) -> None:
    """`UserError` where the sentence changed nothing, or no prompt has both sides."""
    texts = rows.groupby(["prompt_id", "side"])["completion"].agg(sorted).unstack("side")
    pairs = texts.reindex(columns=list(SIDES)).dropna()
    if pairs.empty:
        raise UserError(
            "No prompt has a completion with the sentence and one without it: those of one side "
            "are empty. Use other prompts, or describe the behavior by examples."
        )
    if pairs["shows"].eq(pairs["lacks"]).all():
        raise UserError(
            "The reference writes the same with the sentence and without it, so there is nothing "
            "to compare. It may not follow system prompts: describe the behavior by examples."
        )
