"""A cluster as its discover run described it: words, score, behaviors, sources, stability."""

import pandas as pd
import streamlit as st

from pages.components import cache, rates, text, theme

FEW = 6  # behaviors and sources listed
REPEATS = {  # what clusterings were compared with
    "clusters_over_prompts": "other draws of prompts",
    "cut_over_seeds": "the same cut of maps of other seeds",
    "islands_over_seeds": "HDBSCAN on maps of other seeds",
}
Q = 0.05  # false discovery rate up to which a source counts as enriched


def show(run: str, cluster: int) -> None:
    """Words of both sides; the behaviors it makes up, the sources it is rich in."""
    clusters = cache.table(run, "clusters").set_index("cluster")
    if cluster not in clusters.index:
        return
    row = clusters.loc[cluster]
    chosen, rejected, prompt = (
        text.short(row[f"words_{side}"], 200) or "none" for side in ("chosen", "rejected", "prompt")
    )
    st.text(f"Chosen words: {chosen}\nRejected words: {rejected}\nPrompt words: {prompt}")
    st.text(_score(row))
    left, right = st.columns([5, 6])
    with left:
        _show_behaviors(run, cluster)
    with right:
        _show_sources(run, cluster)


def _score(row: pd.Series) -> str:
    """The prompts it scores highest on, its score there and its stability, as far as measured."""
    parts = [f"Highest on {row['top_group']}, {row['top_condition']} prompts"]
    if pd.notna(row.get("push_low")):
        parts += [f"score {row['push']:.3f}, 95% {row['push_low']:.3f}–{row['push_high']:.3f}"]
    if pd.notna(row.get("effect_size")):
        parts += [f"effect size {row['effect_size']:.1f}"]
    if pd.notna(row.get("stability")):
        parts += [f"stability {row['stability']:.2f}"]
    return " · ".join(parts)


def show_stability(run: str) -> None:
    """One line: how well clusterings of other prompts or seeds agree with this map's."""
    summary = cache.summary(run).get("stability", {})
    values = [
        f"{what}: {rand['mean']:.2f} ({rand['low']:.2f} to {rand['high']:.2f}, n = {rand['n']})"
        for name, what in REPEATS.items()
        if (rand := summary.get(name, {"n": 0}))["n"]
    ]
    if values:
        st.caption(
            f"Stability (adjusted Rand index; 1 = identical, 0 = chance) {' · '.join(values)}."
        )
    else:
        st.caption("The stability of these clusters was not computed for this map.")


def largest_parts(run: str) -> pd.DataFrame:
    """Of each cluster the behavior that it makes up most of: `cluster, behavior, part` (%)."""
    parts = _parts(run)
    if parts is None:
        return pd.DataFrame({"cluster": [], "behavior": [], "part": []})
    top = parts.sort_values("part", ascending=False).drop_duplicates("cluster")
    return top[["cluster", "behavior", "part"]]


def _parts(run: str) -> pd.DataFrame | None:
    """The run's contributions with each behavior's name and the cluster's part of it in %."""
    if not cache.has_table(run, "contributions"):
        return None
    parts = cache.table(run, "contributions")
    names = rates.behavior_names(parts, cache.project().behaviors)
    return parts.assign(behavior=names, part=100 * parts["share_of_attribution"])


def _show_behaviors(run: str, cluster: int) -> None:
    st.caption("Part of each behavior's attribution")
    parts = _parts(run)
    if parts is None:
        st.text("Not computed: an earlier version made this map, or the one that it is a cut of.")
        return
    config = theme.columns({"behavior": 230, "part": 65}, {"part": "%.1f %%"})
    config["n_prompts"] = st.column_config.Column("on prompts", width=80, help="that show it")
    st.dataframe(
        parts[parts["cluster"] == cluster].nlargest(FEW, "part")[["behavior", "part", "n_prompts"]],
        hide_index=True,
        key="cluster-behaviors",
        column_config=config,
    )


def _show_sources(run: str, cluster: int) -> None:
    if not cache.has_table(run, "sources") or "q" not in cache.table(run, "sources"):
        return
    st.caption("Sources, against their share of the data")
    sources = cache.table(run, "sources")
    top = sources[sources["cluster"] == cluster].nlargest(FEW, "enrichment")
    ends = zip(top["enrichment_low"], top["enrichment_high"], strict=True)
    table = pd.DataFrame(
        {
            "source": top["source"].map(text.short),
            "pairs": top["size"],
            "enrichment": top["enrichment"],
            "95%": [f"{low:.2f}–{high:.2f}" for low, high in ends],
            f"q ≤ {Q}": top["q"].le(Q) & top["enrichment"].gt(1),
        }
    )
    widths = {"source": 130, "pairs": 55, "enrichment": 90, "95%": 90, f"q ≤ {Q}": 80}
    st.dataframe(
        table,
        hide_index=True,
        key="cluster-sources",
        column_config=theme.columns(widths, {"enrichment": "%.2f"}),
    )
