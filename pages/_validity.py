"""Whether a behavior vector means anything, shown wherever its ranking is."""

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from pages import _colors, _loaders

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
"""
BAND = "rgba(0,114,178,.25)"


def banner(rank: str) -> None:
    """One line: valid or not, at which layer, from how many prompts."""
    known = _loaders.summary(rank)
    said = (
        f"Behavior vector at layer {known['layer']}, from {known['n_prompts_passed']} of "
        f"{known['n_prompts']} prompts. {known['verdict']}"
    )
    if known["valid"]:
        st.success(said)
    else:
        st.warning(f"{said} Do not trust this order.")
    if known["n_undefined"]:
        n, total = known["n_undefined"], known["n_pairs"]
        st.caption(f"Without a defined similarity: {n:,} of {total:,} pairs; they come last.")


def show_layers(rank: str) -> None:
    """Both curves over the layers, against their nulls."""
    layers = _loaders.table(rank, "layers")
    left, right = st.columns(2)
    left.plotly_chart(_split_half(layers), key="split-half")
    right.plotly_chart(_auc(layers), key="auc")
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


def _line(layers: pd.DataFrame, column: str, name: str, dash: str = "solid") -> go.Scatter:
    color = _colors.CATEGORIES[0] if dash == "solid" else _colors.MODEL["reference"]
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
        **_colors.LAYOUT,
    )
    return figure
