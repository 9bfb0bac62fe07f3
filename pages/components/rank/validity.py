"""Whether a behavior vector means anything, and whether few pairs taught the behavior or all did.

Shown wherever a ranking is.
"""

from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from pages.components import cache, theme

TERMS = """
- **Layer**: where in the model the vectors are read; layer *l* is what decoder block *l* reads.
- **Behavior vector**: mean difference between the policy's and the reference's completions of the
  same prompts, both read by the reference.
- **Split-half**: the prompts are split in two at random, 100 times; the cosine between the two
  halves' vectors. Near 1: the vector does not depend on which prompts were used.
- **Held-out AUC**: how well the vector tells policy from reference completions of prompts it was
  not built from. 0.5 is guessing, 1 is perfect.
- **Null**: the same numbers with the models' labels shuffled or the vector drawn at random. A
  vector that does not beat its null ranks pairs by chance.
- **Sparse or diffuse**: *look-alikes* of a pair are those of the same source with the most similar
  prompts. Where the look-alikes of the best pairs push the same way, a kind of pairs is at fault,
  and editing it should undo the behavior: *sparse*. Where they push both ways, the data only lean,
  everywhere a little: *diffuse*.
- **Random directions**: what the same pairs hold for vectors that nobody asked about, with the same
  spread and the same gate. Attribution that is no more concentrated than that shows nothing.
"""
BAND = "rgba(0,114,178,.25)"


def banner(rank: str) -> None:
    """One line: valid or not, at which layer, from how many prompts."""
    known = cache.summary(rank)
    said = (
        f"Behavior vector at layer {known['layer']}, from {known['n_prompts_passed']} of "
        f"{known['n_prompts']} prompts. {known['verdict']}"
    )
    left, right = st.columns(2)
    with left:
        if known["valid"]:
            st.success(said)
        else:
            st.warning(f"{said} Do not trust this order.")
    with right:
        _show_verdict(known)
    if known.get("filter_used") == "rising":
        st.caption(
            "The reference already shows this behavior here and there, so the vector comes from "
            "all prompts on which the policy shows it more often."
        )
    if known["n_undefined"]:
        n, total = known["n_undefined"], known["n_pairs"]
        st.caption(f"Without a defined similarity: {n:,} of {total:,} pairs; they come last.")


def _show_verdict(known: dict[str, Any]) -> None:
    """Sparse, mixed or diffuse, with its evidence."""
    found = known.get("concentration")
    if found is None:
        st.caption("Whether it is sparse or diffuse was not measured yet: rank again to see.")
        return
    show = {"sparse": st.success, "undecided": st.info}.get(found["verdict"], st.warning)
    show(found["evidence"])


def show_layers(rank: str) -> None:
    """Both curves over the layers, and how concentrated attribution is, against their nulls."""
    layers = cache.table(rank, "layers")
    left, middle, right = st.columns(3)
    left.plotly_chart(_split_half(layers), key="split-half")
    middle.plotly_chart(_auc(layers), key="auc")
    if cache.summary(rank).get("concentration"):
        right.plotly_chart(_concentration(cache.table(rank, "concentration")), key="held")
    with st.expander("What these words mean"):
        st.markdown(TERMS)


def _split_half(layers: pd.DataFrame) -> go.Figure:
    figure = go.Figure()
    band = {"x": layers["layer"], "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    figure.add_trace(go.Scatter(y=layers["split_half_low"], showlegend=False, **band))
    figure.add_trace(
        go.Scatter(
            y=layers["split_half_high"],
            fill="tonexty",
            fillcolor=BAND,
            name="95% of splits",
            **band,
        )
    )
    figure.add_trace(_line(layers, "split_half", "split-half cosine"))
    figure.add_trace(_line(layers, "null_split_half", "null", dash="dot"))
    return _finished(figure, "split-half cosine", [-0.05, 1.05])


def _auc(layers: pd.DataFrame) -> go.Figure:
    figure = go.Figure([_line(layers, "auc", "held-out AUC")])
    figure.add_trace(_line(layers, "null_auc", "null", dash="dot"))
    return _finished(figure, "held-out AUC", [0.35, 1.05])


def _concentration(held: pd.DataFrame) -> go.Figure:
    """What the best pairs hold of all attribution, over their share of the pairs."""
    figure = go.Figure()
    band = {"x": held["share"], "mode": "lines", "line": {"width": 0}, "hoverinfo": "skip"}
    figure.add_trace(go.Scatter(y=held["null_low"], showlegend=False, **band))
    figure.add_trace(
        go.Scatter(
            y=held["null_high"],
            fill="tonexty",
            fillcolor=theme.GREY,
            name="random directions",
            **band,
        )
    )
    figure.add_trace(
        go.Scatter(
            x=held["share"],
            y=held["attribution"],
            name="this behavior",
            mode="lines+markers",
            line={"color": theme.CATEGORIES[0]},
        )
    )
    figure.update_xaxes(
        title="best pairs (log)",
        type="log",
        tickvals=[0.005, 0.05, 1],  # more would overlap on a small screen
        tickangle=0,
        tickformat=".1~%",
    )
    figure.update_yaxes(title="share of attribution", range=[0, 1.05], tickformat=".0%")
    figure.update_layout(height=280, **theme.LAYOUT)
    return figure


def _line(layers: pd.DataFrame, column: str, name: str, dash: str = "solid") -> go.Scatter:
    color = theme.CATEGORIES[0] if dash == "solid" else theme.MODEL["reference"]
    return go.Scatter(
        x=layers["layer"],
        y=layers[column],
        name=name,
        mode="lines+markers",
        line={"dash": dash, "color": color},
    )


def _finished(figure: go.Figure, title: str, span: list[float]) -> go.Figure:
    figure.update_xaxes(title="layer", dtick=1)
    figure.update_yaxes(title=title, range=span)
    figure.update_layout(
        height=280,
        **theme.LAYOUT,
    )
    return figure
