"""What a cluster says, does and comes from, as its discover run found it."""

import pandas as pd
import streamlit as st

from pages.components import cache, rates, text

FEW = 6  # behaviors and sources listed
AGAIN = {  # agreement with clusterings made once more
    "clusters_over_prompts": "from other draws of prompts",
    "cut_over_seeds": "cut as often from maps of other seeds",
    "islands_over_seeds": "islands of maps of other seeds",
}
CHANCE = 0.05  # q up to which a source is more than chance


def show(run: str, cluster: int) -> None:
    """Words of both sides; the behaviors it makes up, the sources it is rich in."""
    found = cache.table(run, "clusters").set_index("cluster")
    if cluster not in found.index:
        return
    row = found.loc[cluster]
    gained, lost, asked = (
        text.short(row[f"words_{side}"], 200) or "none" for side in ("chosen", "rejected", "prompt")
    )
    st.text(f"Chosen sides gain: {gained}\nChosen sides lose: {lost}\nPrompts: {asked}")
    st.text(_pushed(row))
    left, right = st.columns([5, 6])
    with left:
        _behaviors(run, cluster)
    with right:
        _sources(run, cluster)


def _pushed(row: pd.Series) -> str:
    """What it pushes and how far, and whether it would come again, as far as the map tells."""
    said = f"Pushes most: {row['top_group']}, {row['top_condition']} prompts"
    if pd.notna(row.get("push_low")):
        said += f" · push {row['push']:.3f}, 95% {row['push_low']:.3f}–{row['push_high']:.3f}"
    if pd.notna(row.get("effect_size")):
        said += f" · effect {row['effect_size']:.1f}"
    if pd.notna(row.get("stability")):
        said += f" · stability {row['stability']:.2f}"
    return said


def stability(run: str) -> None:
    """One line: whether the clusters of this map would come again."""
    known = cache.summary(run).get("stability", {})
    told = [
        f"{what}: {found['mean']:.2f} ({found['low']:.2f} to {found['high']:.2f}, n = {found['n']})"
        for name, what in AGAIN.items()
        if (found := known.get(name, {"n": 0}))["n"]
    ]
    if told:
        st.caption(f"Would they come again? {' · '.join(told)}. 1 is the same, 0 chance (adjusted "
                   "Rand index).")  # fmt: skip
    else:
        st.caption("Whether these clusters would come again was not computed for this map.")


def shares(run: str) -> pd.DataFrame:
    """Of each cluster the behavior that it makes up most of: `cluster, mostly, part` (percent)."""
    if not cache.has_table(run, "contributions"):
        return pd.DataFrame({"cluster": [], "mostly": [], "part": []})
    parts = _named(cache.table(run, "contributions"))
    top = parts.sort_values("part", ascending=False).drop_duplicates("cluster")
    return top[["cluster", "mostly", "part"]]


def _named(parts: pd.DataFrame) -> pd.DataFrame:
    named = rates.behavior_names(parts, cache.project().behaviors)
    return parts.assign(mostly=named, part=100 * parts["share_of_attribution"])


def _behaviors(run: str, cluster: int) -> None:
    st.caption("Part of each behavior's attribution")
    if not cache.has_table(run, "contributions"):
        st.text("Not computed: an earlier version drew this map, or the one that it is a cut of.")
        return
    parts = _named(cache.table(run, "contributions"))
    own = parts[parts["cluster"] == cluster].nlargest(FEW, "part")
    st.dataframe(
        own[["mostly", "part", "n_prompts"]],
        hide_index=True,
        key="cluster-behaviors",
        column_config={
            "mostly": st.column_config.Column("behavior", width=230),
            "part": st.column_config.NumberColumn("part", format="%.1f %%", width=65),
            "n_prompts": st.column_config.Column("on prompts", width=80, help="that show it"),
        },
    )


def _sources(run: str, cluster: int) -> None:
    if not cache.has_table(run, "sources"):
        return
    sources = cache.table(run, "sources")
    if "q" not in sources:
        return
    st.caption("Sources, against their share of the data")
    own = sources[sources["cluster"] == cluster].nlargest(FEW, "enrichment")
    shown = pd.DataFrame(
        {
            "source": own["source"].map(text.short),
            "pairs": own["size"],
            "times as many": own["enrichment"],
            "95%": [
                f"{low:.2f}–{high:.2f}"
                for low, high in zip(own["enrichment_low"], own["enrichment_high"], strict=True)
            ],
            "beyond chance": own["q"].le(CHANCE) & own["enrichment"].gt(1),
        }
    )
    widths = {"source": 130, "pairs": 55, "times as many": 100, "95%": 90, "beyond chance": 105}
    columns = {name: st.column_config.Column(width=width) for name, width in widths.items()}
    columns["times as many"] = st.column_config.NumberColumn(format="%.2f", width=100)
    st.dataframe(shown, hide_index=True, key="cluster-sources", column_config=columns)
