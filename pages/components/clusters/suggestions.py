"""Suggested names of clusters: from typical words, and from a language model if one was asked.

Lists show them in (parentheses) until somebody accepts one; accepting is a rename like any other,
listed in the history and undone there.
"""

from dataclasses import dataclass

import streamlit as st

from core.errors import UserError
from core.runs import commands
from core.specs.steps import SuggestSpec
from core.workspace.catalog import Catalog
from pages.components import cache, cart, jobs, text

LONGEST = 80  # characters of a name, as in the field beside it


@dataclass(frozen=True)
class Suggestion:
    """A name for a cluster, one sentence if there is one, and where they come from."""

    name: str
    description: str
    source: str


def finished(run: str) -> list[str]:
    """Finished suggest runs on a map, newest first."""
    return [
        suggest
        for suggest, spec in cache.specs(SuggestSpec).items()
        if spec.discover == run and cache.store().state(suggest) == "finished"
    ]


def of(run: str, cluster: int) -> list[Suggestion]:
    """The suggestions for a cluster of a discover run, a language model's first."""
    by_model = [
        Suggestion(str(row.name), str(row.description), f"language model {row.model}")
        for suggest in finished(run)
        for row in cache.table(suggest, "suggestions").itertuples(index=False)
        if row.cluster == cluster
    ]
    typical = cache.table(run, "clusters").set_index("cluster")["suggested_name"]
    words = [str(typical[cluster])] if cluster in typical else []
    return by_model + [Suggestion(name, "", "typical words") for name in words]


def named(run: str) -> dict[int, str]:
    """The name that the newest finished suggest run has for each cluster."""
    for suggest in finished(run)[:1]:
        table = cache.table(suggest, "suggestions")
        return {int(row.cluster): str(row.name) for row in table.itertuples(index=False)}
    return {}


def show(run: str, cluster: int, catalog: Catalog) -> None:
    """Each suggestion with a button that makes it the name."""
    for number, suggestion in enumerate(of(run, cluster)):
        left, right = st.columns([4, 1], vertical_alignment="center")
        name, source = text.short(suggestion.name, LONGEST), text.short(suggestion.source, 60)
        description = text.short(suggestion.description, 300)
        left.text(f"Suggestion ({source}): “{name}”. {description}".strip())
        right.button(
            "Accept",
            key=f"accept-{cluster}-{number}",
            on_click=_accept,
            args=(run, cluster, suggestion, catalog),
            width="stretch",
            help="Make this the cluster's name. The history below can undo it.",
        )


def ask(run: str, *, drawn: list[str]) -> None:
    """A form for asking a language model, and its progress.

    `drawn` are the suggest runs whose names the page above shows; it is drawn again once another
    one has finished.
    """
    st.caption(
        "Typical words and five pairs of each cluster are sent to an OpenAI-compatible endpoint: "
        "the one of `$PAIRTRACE_ENDPOINT_URL`, unless another is given. Nothing is sent before you "
        "start it; the answers stay suggestions."
    )
    model, url = st.columns(2)
    llm = model.text_input("Model", key="suggest-model", help="The endpoint's name for it.")
    address = url.text_input("Endpoint", key="suggest-url", placeholder="https://…/v1")
    if not llm.strip():
        return
    try:
        values = {"discover": run, "llm": llm.strip(), "url": address.strip()}
        spec = commands.build(SuggestSpec, values, {})
    except UserError as error:
        text.refuse(error)
        return
    suggest = jobs.panel(spec, "Ask for names")
    if suggest and suggest not in drawn:
        st.rerun()
    if suggest:
        st.text(f"Clusters with a suggestion by it: {cache.summary(suggest)['n_named']:,}.")


def _accept(run: str, cluster: int, suggestion: Suggestion, catalog: Catalog) -> None:
    why = f"suggested by {suggestion.source}"
    catalog.rename(run, cluster, suggestion.name[:LONGEST], who=cart.who(), why=why)
