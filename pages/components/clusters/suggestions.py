"""Suggested names for clusters: from typical words, and from a language model if one was asked.

A suggestion is shown as one, in (parentheses) in lists, until somebody accepts it; accepting is a
rename like any other, in the history and undone there.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import streamlit as st

from core.errors import UserError
from core.runs import commands
from core.specs.steps import SuggestSpec
from core.workspace.catalog import Catalog
from pages.components import cache, cart, jobs
from pages.components import text as plain_text

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
        suggested
        for suggested, spec in cache.specs(SuggestSpec).items()
        if spec.discover == run and cache.store().state(suggested) == "finished"
    ]


def of(run: str, cluster: int) -> list[Suggestion]:
    """The suggestions for a cluster that a discover run found, a language model's first."""
    asked = list(_asked(run, cluster))
    found = cache.table(run, "clusters").set_index("cluster")["suggested_name"]
    words = [Suggestion(str(found[cluster]), "", "typical words")] if cluster in found else []
    return [*asked, *words]


def named(run: str) -> dict[int, str]:
    """The name that the newest finished suggest run has for each cluster."""
    for suggested in finished(run):
        table = cache.table(suggested, "suggestions")
        return {int(row.cluster): str(row.name) for row in table.itertuples(index=False)}
    return {}


def show(run: str, cluster: int, catalog: Catalog) -> None:
    """Each suggestion with a button that makes it the name."""
    for number, one in enumerate(of(run, cluster)):
        text, button = st.columns([4, 1], vertical_alignment="center")
        description = f" {plain_text.short(one.description, 300)}" if one.description else ""
        source = plain_text.short(one.source, 60)
        text.text(f"Suggestion ({source}): “{plain_text.short(one.name, LONGEST)}”.{description}")
        button.button(
            "Accept",
            key=f"accept-{cluster}-{number}",
            on_click=_accept,
            args=(run, cluster, one, catalog),
            width="stretch",
            help="Make this the cluster's name. The history below can undo it.",
        )


def ask(run: str, *, drawn: list[str]) -> None:
    """A form for asking a language model, and how far it is.

    `drawn` are the runs whose names the page above shows: one that finished since has it drawn
    again.
    """
    st.caption(
        "Typical words and five pairs of each cluster are sent to an OpenAI-compatible endpoint: "
        "the one of `$PAIRTRACE_ENDPOINT_URL`, unless another is given. Nothing is sent before you "
        "start it; what comes back stays a suggestion."
    )
    model, url = st.columns(2)
    llm = model.text_input("Model", key="suggest-model", help="The endpoint's name for it.")
    address = url.text_input("Endpoint", key="suggest-url", placeholder="https://…/v1")
    if llm.strip():
        try:
            spec = commands.build(
                SuggestSpec, {"discover": run, "llm": llm.strip(), "url": address.strip()}, {}
            )
        except UserError as error:
            plain_text.refuse(error)
            return
        done = jobs.panel(spec, "Ask for names")
        if done and done not in drawn:
            st.rerun()
        if done:
            st.text(f"Clusters with a suggestion by it: {cache.summary(done)['n_named']:,}.")


def _asked(run: str, cluster: int) -> Iterator[Suggestion]:
    for suggested in finished(run):
        table = cache.table(suggested, "suggestions")
        for row in table[table["cluster"] == cluster].itertuples(index=False):
            yield Suggestion(str(row.name), str(row.description), f"language model {row.model}")


def _accept(run: str, cluster: int, one: Suggestion, catalog: Catalog) -> None:
    why = f"suggested by {one.source}"
    catalog.rename(run, cluster, one.name[:LONGEST], who=cart.who(), why=why)
