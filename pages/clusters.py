"""Name what was found: clusters as a list, with words, examples, and what people said of them."""

import pandas as pd
import streamlit as st

from core.runs.changes import Marking
from pages import _cart, _choose, _clusters, _history, _loaders, _selection, _text

MARKS: dict[Marking, str] = {
    "harmful": "harmful",
    "unwanted": "unwanted",
    "wanted": "wanted",
    "ignore": "ignore",
}
TERMS = """
- **Size, share**: how many pairs, and which part of all pairs.
- **Typical words**: words that tell this cluster's chosen (or rejected) completions from the
  others' (class-based TF-IDF).
- **Pushes, how far**: the kind of prompts that the cluster's pairs push most, and the mean gated
  similarity to them.
- A name in (parentheses) is a suggestion made of typical words. It stays one until somebody
  gives the cluster a name.
- **Merge** makes clusters one; nothing is lost, and every change can be undone.
"""

st.title("What is in the data?")
st.caption("Clusters of pairs that act alike. Read a few examples, then name and mark them.")
project = _loaders.project()
run = _choose.discovery(project)
if run is None:
    st.stop()
found = _loaders.table(run, "clusters")
places = _loaders.places(run)
pairs = _loaders.columns(project.pairs)
catalog, said = _cart.catalog(), _clusters.labels(run)
names = _clusters.names(run)
if not names:
    st.warning("No cluster was found: every pair is noise. Try a smaller smallest cluster.")
    st.stop()


def listed() -> pd.DataFrame:
    """One row per cluster as it is now."""
    now = pd.Series(_clusters.membership(run, said))
    sizes = now.value_counts()
    sources = pd.Series(_selection.kinds("source")[_selection.map_rows(run)])
    rows = []
    for cluster, name in names.items():
        inside = sources[now == cluster]
        top = inside.value_counts(normalize=True)
        rows.append(
            {
                "cluster": cluster,
                "name": _text.short(name, 60),
                "mark": MARKS.get(said.marks.get(cluster), ""),
                "pairs": int(sizes.get(cluster, 0)),
                "share": 100 * sizes.get(cluster, 0) / len(places),
                "top source": top.index[0] if len(top) else "",
                "of it": 100 * top.iloc[0] if len(top) else None,
                "notes": len(said.notes.get(cluster, ())),
            }
        )
    return pd.DataFrame(rows).merge(_words(), on="cluster", how="left")


def _words() -> pd.DataFrame:
    pushed = found["top_group"] + ", " + found["top_condition"]
    words = ["words_chosen", "words_rejected", "words_prompt"]
    kept = found.assign(pushed=pushed)[["cluster", "pushed", "top_group_similarity", *words]]
    return kept.rename(
        columns={
            "pushed": "pushes",
            "top_group_similarity": "how far",
            "words_chosen": "chosen",
            "words_rejected": "rejected",
            "words_prompt": "prompt",
        }
    )


def choose(table: pd.DataFrame) -> int:
    """The cluster that was clicked, or picked by name."""
    event = st.dataframe(
        table,
        hide_index=True,
        on_select="rerun",
        selection_mode="single-row",
        key="cluster-rows",
        column_config={
            "share": st.column_config.NumberColumn(format="%.1f %%"),
            "of it": st.column_config.NumberColumn(format="%.0f %%"),
            "how far": st.column_config.NumberColumn(format="%.3f"),
        },
    )
    ids = list(table["cluster"])
    clicked = [number for number in event.selection.rows if number < len(ids)]
    if clicked and st.session_state.get("clicked") != clicked[0]:
        st.session_state["one"] = ids[clicked[0]]
    st.session_state["clicked"] = clicked[0] if clicked else None
    return _choose.one("Cluster", ids, lambda known: _text.short(names[known], 80), key="one")


def show_forms(cluster: int) -> None:
    """Rename, mark, note and merge; every change is an event with who and why."""
    left, middle, right = st.columns(3)
    with left.form(f"rename-{cluster}"):
        name = st.text_input("Name", said.names.get(cluster, ""), max_chars=80)
        if st.form_submit_button("Rename"):
            catalog.rename(run, cluster, name, who=_cart.who())
            st.rerun()
    with middle.form(f"mark-{cluster}"):
        options = [None, *MARKS]
        mark = st.selectbox(
            "Mark",
            options,
            index=options.index(said.marks.get(cluster)),
            format_func=lambda one: MARKS.get(one, "none"),
        )
        if st.form_submit_button("Mark"):
            catalog.mark(run, cluster, mark, who=_cart.who())
            st.rerun()
    with right.form(f"note-{cluster}", clear_on_submit=True):
        note = st.text_input("Note")
        if st.form_submit_button("Add the note") and note.strip():
            catalog.note(run, cluster, note, who=_cart.who())
            st.rerun()
    with st.expander("Merge other clusters into this one"), st.form(f"merge-{cluster}"):
        others = [other for other in names if other != cluster]
        chosen = st.multiselect("Clusters", others, format_func=lambda one: names[one])
        why = st.text_input("Why")
        if st.form_submit_button("Merge") and chosen:
            catalog.merge(run, cluster, chosen, who=_cart.who(), why=why)
            st.rerun()


def show_cluster(cluster: int) -> None:
    """What people said of a cluster, what can be done with it, and examples."""
    st.header(_plain(names[cluster]))
    for event in said.notes.get(cluster, ()):
        st.text(_text.visible(f"{event.who}: {event.change.text}"))
    show_forms(cluster)
    members = _selection.uids(said.recipe(cluster))
    _cart.offer(
        said.recipe(cluster), count=len(members), key=f"cluster-{cluster}", why=names[cluster]
    )
    show_examples(cluster, members)


def show_examples(cluster: int, members: pd.Index) -> None:
    """The medoid first, then the pairs that belong most strongly."""
    strongest = list(places.loc[members].sort_values("strength", ascending=False)["uid"].head(9))
    medoid = list(found.loc[found["cluster"] == cluster, "medoid_uid"])
    examples = list(dict.fromkeys([uid for uid in medoid if uid in set(members)] + strongest))
    st.subheader("Examples")
    if not examples:
        st.info("This cluster holds no pairs any more.")
        return
    st.caption("The most central pair first, then those that belong most clearly.")
    number = (
        st.slider("Example", 1, len(examples), 1, key=f"example-{cluster}")
        if len(examples) > 1
        else 1
    )
    _text.show_pair(pairs.rows(pairs.positions([examples[number - 1]])).iloc[0])


def _plain(name: str) -> str:
    """A name as a heading: letters that markdown would act on are taken out."""
    return "Cluster " + "".join(letter for letter in name if letter not in "*_`[]()<>#$:!|\\~")


with st.expander("What these words mean"):
    st.markdown(TERMS)
show_cluster(choose(listed()))
_history.show(catalog)
