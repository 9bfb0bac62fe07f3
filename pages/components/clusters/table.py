"""The clusters of a map as a table, and one of them as its discover run described it."""

from collections.abc import Mapping

import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from core.workspace.labels import Labels
from pages.components import cache, pickers, rates, selection, text, theme

COLUMNS = {  # of a discover run's table of clusters, by their titles here
    "push": "score",
    "top_group_similarity": "group similarity",
    "effect_size": "effect size",
    "sign_agreement": "sign agreement",
    "stability": "stability",
    "push_share": "share of attribution",
    "words_chosen": "chosen words",
    "words_rejected": "rejected words",
    "words_prompt": "prompt words",
}
FORMATS = {
    "share": "%.1f %%",
    "source share": "%.0f %%",
    "part": "%.0f %%",
    "score": "%.3f",
    "group similarity": "%.3f",
    "effect size": "%.1f",
    "sign agreement": "%.2f",
    "stability": "%.2f",
    "share of attribution": "%.2f",
}
WIDTHS = {  # of what fits side by side on a laptop, pixels
    "name": 380,
    "mark": 70,
    "pairs": 55,
    "prompts": 150,
    "behavior": 240,
    "part": 48,
    "top source": 143,
}

FEW = 6  # behaviors and sources listed
NEARLY = 0.9  # of the largest part: as large
REPEATS = {  # what clusterings were compared with
    "clusters_over_prompts": "other draws of prompts",
    "cut_over_seeds": "the same cut of maps of other seeds",
    "islands_over_seeds": "HDBSCAN on maps of other seeds",
}
Q = 0.05  # false discovery rate up to which a source counts as enriched


def choose(run: str, names: Mapping[int, str], labels: Labels, members: NDArray) -> int:
    """The cluster that was clicked, or picked by name; `members` as in `state.membership`."""
    table = _table(run, names, labels, members)
    place = st.container()
    left, right = st.columns([5, 2], vertical_alignment="bottom")
    everything = right.toggle("All columns", key="all-columns", help="Every number, and the words.")
    with place:
        _draw(table, everything)
        _show_stability(run)
    with left:
        return pickers.choose_one(
            "Cluster",
            list(table["cluster"]),
            lambda cluster: text.short(names[cluster], 80),
            key="one",
        )


def _draw(table: pd.DataFrame, everything: bool) -> None:
    """Draw the table; a row that is clicked becomes the chosen cluster."""
    filled = [name for name in table if (table[name].notna() & table[name].ne("")).any()]
    first = [name for name in WIDTHS if name in filled]
    if "behavior" in first:  # says more than the group of prompts
        first.remove("prompts")
    rest = [name for name in filled if name not in (*first, "cluster")]
    event = st.dataframe(
        table,
        hide_index=True,
        height=min(38 + 35 * len(table), 300),
        on_select="rerun",
        selection_mode="single-row",  # a cell is selected as soon as Tab reaches the table
        key="cluster-rows",
        column_order=first + rest if everything else first,
        column_config=theme.columns(WIDTHS, FORMATS),
    )
    clicked = pickers.clicked_rows(event, len(table))
    if clicked and st.session_state.get("clicked") != clicked[0]:
        st.session_state["one"] = int(table["cluster"].iloc[clicked[0]])
    st.session_state["clicked"] = clicked[0] if clicked else None


def _table(run: str, names: Mapping[int, str], labels: Labels, members: NDArray) -> pd.DataFrame:
    """One row per cluster as it is now."""
    sizes = pd.Series(members).value_counts()
    sources = pd.Series(selection.categories("source")[selection.map_rows(run)])
    rows = []
    for cluster, name in names.items():
        top = sources[members == cluster].value_counts(normalize=True)
        size = int(sizes.get(cluster, 0))
        rows.append(
            {
                "cluster": cluster,
                "name": text.short(name, 85),
                "mark": labels.marks.get(cluster) or "",
                "pairs": size,
                "share": 100 * size / len(members),
                "top source": text.short(top.index[0]) if size else "",
                "source share": 100 * top.iloc[0] if size else None,
                "notes": len(labels.notes.get(cluster, ())),
            }
        )
    table = pd.DataFrame(rows).merge(_as_discovered(run), on="cluster", how="left")
    return table.merge(_largest_parts(run), on="cluster", how="left")


def _as_discovered(run: str) -> pd.DataFrame:
    """The discover run's statistics of its clusters."""
    clusters = cache.table(run, "clusters")
    names = [name for name in COLUMNS if name in clusters]
    words = {name: clusters[name].map(text.short) for name in names if name.startswith("words_")}
    table = clusters[["cluster", *names]].assign(**words).rename(columns=COLUMNS)
    table["prompts"] = clusters["top_group"] + ", " + clusters["top_condition"]
    if "push_low" in clusters:
        ends = zip(clusters["push_low"], clusters["push_high"], strict=True)
        table["95%"] = [f"{low:.3f}–{high:.3f}" for low, high in ends]
    return table


def show_profile(run: str, cluster: int) -> None:
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


def _show_stability(run: str) -> None:
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


def _largest_parts(run: str) -> pd.DataFrame:
    """Of each cluster the behavior that it makes up most of: `cluster, behavior, part` (%).

    Among those that are nearly as large, a behavior of the project comes first, unwanted ones
    before wanted ones: many flags and groups overlap.
    """
    parts = _parts(run)
    if parts is None:
        return pd.DataFrame({"cluster": [], "behavior": [], "part": []})
    order = {each.name: 1 if each.wanted else 2 for each in cache.project().behaviors}
    near = parts["part"] >= NEARLY * parts.groupby("cluster")["part"].transform("max")
    parts = parts.assign(order=parts["behavior"].map(order).fillna(0).where(near, -1))
    ordered = parts.sort_values(["order", "part"], ascending=False, kind="stable")
    top = ordered.drop_duplicates("cluster")
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
