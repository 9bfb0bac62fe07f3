"""Name what was found: clusters as a list, with words, examples, and what people said of them."""

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from pages.components import cache, cart, lazy, pickers, shortcuts, text
from pages.components.clusters import (
    carry_over,
    history,
    label_form,
    profile,
    state,
    suggestions,
    table,
    tree,
)

EXAMPLES = 9  # of the pairs that belong most clearly
TERMS = """
- **Pairs, share**: how many pairs, and which part of all pairs. **All columns** shows every number.
- **Chosen words, rejected words**: words that distinguish this cluster's chosen (or rejected)
  completions from the other clusters' (class-based TF-IDF). Training on its pairs makes the chosen
  words likelier.
- **Score**: mean gated similarity of its pairs to the prompt cluster that they score highest on,
  with a 95% interval over prompts. **Effect size**: distance of its pairs' mean from all others',
  in standard deviations. **Share of attribution**: its part of all positive scores there.
- **Behavior, part**: the behavior that the cluster makes up most of, and its part of the behavior's
  positive attribution.
- **Prompts, group similarity**: the group and condition of prompts that its pairs score highest on,
  and the mean gated similarity to them. **Sign agreement**: the share of its pairs whose score is
  positive on both halves of those prompts, split at random. **Stability**: mean Jaccard with the
  best match in clusterings of other prompts (of a cut: of other seeds); below 0.5 it dissolves.
- A name in (parentheses) is a suggestion, made of typical words or by a language model. It stays
  one until somebody accepts it or gives the cluster a name.
- **Mark**: *harmful*, *unwanted* and *wanted* say what the pairs teach; *ignore* takes a cluster
  out of the alarms.
- **HDBSCAN cluster**: a dense group on the map; a cluster is made of one or more.
- **Merge**, **split** and **move** change which pairs a cluster contains. Nothing is lost: every
  change is in the history below, and can be undone.
"""

heading = st.container(horizontal=True, vertical_alignment="bottom")
heading.title("What is in the data?")
heading.popover("What these words mean").markdown(TERMS)
st.caption("Clusters of pairs with similar effects. Read a few examples, then name and mark them.")
project = cache.project()
run = pickers.discovery(project)
if run is None:
    st.stop()
found = cache.table(run, "clusters")
places = cache.map_points(run)
pairs = cache.pairs(project.pairs)
catalog, said = cart.catalog(), state.labels(run)
suggested = suggestions.finished(run)
names = state.names(run)
now = state.membership(run, said)


def show_cluster(cluster: int) -> None:
    """What people said of a cluster, what can be done with it, and examples."""
    called = names[cluster] if cluster in said.names else str(cluster)
    st.header(f"Cluster {text.escape(text.short(called))}")
    for remark in said.notes.get(cluster, ()):
        st.text(text.visible(f"{remark.who}: {remark.text}"))
    if cluster not in said.names:
        suggestions.show(run, cluster, catalog)
    label_form.show(run, cluster, said, catalog)
    with st.expander("Words, score, behaviors and sources, as discovered", expanded=True):
        profile.show(run, cluster)
    members = now == cluster
    left, right = st.columns([5, 2], vertical_alignment="bottom")
    with left:
        cart.offer(
            said.recipe(cluster),
            count=int(members.sum()),
            key=f"cluster-{cluster}",
            why=text.short(names[cluster]),
        )
    here = {"discover": run, "cluster": str(cluster)}
    right.page_link("map.py", label="Show on the map", query_params=here)
    show_examples(cluster, members)


@st.fragment  # who reads on need not wait for the rest of the page
def show_examples(cluster: int, members: NDArray[np.bool_]) -> None:
    """The medoid first, then the pairs that belong most strongly, then those at its edge."""
    st.subheader("Examples")
    examples = _examples(cluster, places[members])
    if not examples:
        st.info("This cluster has no pairs any more.")
        return
    uids = list(examples)
    number = st.pills(
        "Example",
        range(len(uids)),
        default=0,
        required=True,
        format_func=lambda one: f"{one + 1} {examples[uids[one]]}".strip(),
        key=f"example-{cluster}",
        label_visibility="collapsed",
    )
    uid = uids[min(int(number or 0), len(uids) - 1)]
    ways = st.container(horizontal=True)
    ways.button("↑ Previous", on_click=_step, args=(cluster, -1, len(uids)),
                key="example-before", shortcut=shortcuts.PREVIOUS)  # fmt: skip
    ways.button("↓ Next", on_click=_step, args=(cluster, 1, len(uids)),
                key="example-after", shortcut=shortcuts.NEXT)  # fmt: skip
    rows = pairs.rows(pairs.positions([uid]))
    text.show_pair(rows.iloc[0])
    label_form.offer_move(run, cluster, uid, catalog)


def _step(cluster: int, by: int, n: int) -> None:
    """Read the example before or after this one; the last is followed by the first."""
    key = f"example-{cluster}"
    st.session_state[key] = (int(st.session_state[key] or 0) + by) % n


def _examples(cluster: int, inside: pd.DataFrame) -> dict[str, str]:
    """Uids to read, each with why it is an example."""
    medoid = list(found.loc[found["cluster"] == cluster, "medoid_uid"])
    ordered = inside.sort_values("strength", ascending=False, kind="stable")["uid"]
    known = pairs.positions(ordered) >= 0
    ordered = ordered[known]
    chosen = {uid: "most central" for uid in medoid if uid in set(ordered)}
    chosen |= {uid: chosen.get(uid, "") for uid in ordered.head(EXAMPLES)}
    return chosen | {uid: chosen.get(uid, "at the edge") for uid in ordered.tail(3)}


state.explain_few(run)
if names:
    show_cluster(table.choose(run, names, said, now))
carry_over.show(run, said, catalog)
tree.show_levels(run)
if names:
    lazy.expander(
        "The tree: clusters, and the HDBSCAN clusters they are made of",
        lambda: tree.show(run, said, now),
        key="open-tree",
    )
    with st.expander("Ask a language model for names", key="open-ask"):
        suggestions.ask(run, drawn=suggested)
history.show(catalog, run, said)
