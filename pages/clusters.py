"""What is in the data? Clusters as a list, with words, examples, names, marks and notes."""

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from pages.components import cache, cart, glossary, lazy, pickers, reading, text, words
from pages.components.clusters import (
    carry_over,
    history,
    label_form,
    state,
    table,
    tree,
)

EXAMPLES = 9  # of the pairs that belong most clearly
EXPLAINED = 30  # of them, whose scores are split over their words

glossary.heading("What is in the data?", *glossary.CLUSTERS)
st.caption("Clusters of pairs with similar effects. Read a few examples, then name and mark them.")
project = cache.project()
run = pickers.discovery(project)
if run is None:
    st.stop()
points = cache.map_points(run)
pairs = cache.pairs(project.pairs)
catalog, labels = cart.catalog(), state.labels(run)
suggested = state.suggest_runs(run)
names = state.names(run)
membership = state.membership(run, labels)


def show_cluster(cluster: int) -> None:
    """One cluster: its notes, what can be done with it, its profile, and examples."""
    name = names[cluster] if cluster in labels.names else str(cluster)
    st.header(f"Cluster {text.escape(text.short(name))}")
    for remark in labels.notes.get(cluster, ()):
        st.text(text.visible(f"{remark.who}: {remark.text}"))
    if cluster not in labels.names:
        state.show_suggestions(run, cluster, catalog)
    label_form.show(run, cluster, labels, catalog)
    with st.expander("Words, score, behaviors and sources, as discovered", expanded=True):
        table.show_profile(run, cluster)
    members = membership == cluster
    lazy.expander(
        "The words that its pairs teach, as a name",
        lambda: show_words(cluster, points[members]),
        key=f"open-words-{cluster}",
    )
    left, right = st.columns([5, 2], vertical_alignment="bottom")
    with left:
        cart.offer(
            labels.recipe(cluster), count=int(members.sum()), key=f"cluster-{cluster}",
            why=text.short(names[cluster]),
        )  # fmt: skip
    query = {"discover": run, "cluster": str(cluster)}
    right.page_link("map.py", label="Show on the map", query_params=query)
    show_examples(cluster, members)


def show_words(cluster: int, members: pd.DataFrame) -> None:
    """What its strongest pairs teach, in their words, and this line as a name."""
    strongest = members.sort_values("strength", ascending=False, kind="stable")["uid"]
    line = words.name_by_spans(strongest.head(EXPLAINED).tolist(), key=f"cluster-{cluster}")
    if line:
        catalog.rename(run, cluster, line[:80], who=cart.who())
        st.rerun()


@st.fragment  # who reads on need not wait for the rest of the page
def show_examples(cluster: int, members: NDArray[np.bool_]) -> None:
    """The medoid first, then the pairs that belong most strongly, then those at its edge."""
    st.subheader("Examples")
    examples = find_examples(cluster, points[members])
    if not examples:
        st.info("This cluster has no pairs any more.")
        return
    facts = pd.DataFrame({"example": examples})
    reading.show(
        pairs.positions(list(examples)), lambda pair: show_pair(cluster, pair),
        key=f"example-{cluster}", facts=facts,
    )  # fmt: skip


def show_pair(cluster: int, pair: pd.Series) -> None:
    """One pair, and the way out of the cluster for it."""
    words.show_pair(pair, key="cluster")
    label_form.offer_move(run, cluster, pair["uid"], catalog)


def find_examples(cluster: int, members: pd.DataFrame) -> dict[str, str]:
    """Uids to read, each with why it is an example."""
    clusters = cache.table(run, "clusters")
    medoids = clusters.loc[clusters["cluster"] == cluster, "medoid_uid"]
    uids = members.sort_values("strength", ascending=False, kind="stable")["uid"]
    uids = uids[pairs.positions(uids) >= 0]
    examples = {uid: "most central" for uid in medoids if uid in set(uids)}
    examples |= {uid: examples.get(uid, "") for uid in uids.head(EXAMPLES)}
    return examples | {uid: examples.get(uid, "at the edge") for uid in uids.tail(3)}


state.explain_few(run)
if names:
    show_cluster(table.choose(run, names, labels, membership))
carry_over.show(run, labels, catalog)
tree.show_levels(run)
if names:
    lazy.expander(
        "The tree: clusters, and the HDBSCAN clusters they are made of",
        lambda: tree.show(run, labels, membership),
        key="open-tree",
    )
    with st.expander("Ask a language model for names", key="open-ask"):
        state.ask_for_names(run, drawn=suggested)
history.show(catalog, run, labels)
