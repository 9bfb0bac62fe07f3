"""The map's figure, kept between runs of the page that do not change it.

It is known by the discover run and a digest of all that it is drawn from; visitors share it, so it
is read-only. Knows nothing of how it is drawn.
"""

import hashlib
from collections.abc import Callable

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from core.discovery.raster import View
from core.intervention.recipes import InPolygon
from pages import _loaders, _map
from pages._coloring import Coloring

KEPT = 32  # figures, each up to 0.5 MB


def figure(
    run: str,
    places: pd.DataFrame,
    coloring: Coloring,
    *,
    shown: NDArray[np.bool_],
    outline: InPolygon | None,
    part: View,
) -> go.Figure:
    """`_map.figure` of a discover run's places; shared, read-only."""
    said = (str(_loaders.store().folder(run)), coloring.title, coloring.names, outline, part)
    drawn_from = [places["x"], places["y"], coloring.kinds, coloring.values, shown]
    known = hashlib.sha256(repr(said).encode())
    for values in drawn_from:
        known.update(b"none" if values is None else np.ascontiguousarray(values))
    return _figure(
        known.hexdigest(),
        lambda: _map.figure(places, coloring, shown=shown, outline=outline, part=part),
    )


@st.cache_resource(show_spinner=False, max_entries=KEPT)
def _figure(known: str, _draw: Callable[[], go.Figure]) -> go.Figure:
    return _draw()
