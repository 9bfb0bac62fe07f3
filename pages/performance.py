"""How fast is it, against what, and where do the figures come from?"""

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.report import bench_results
from pages.components import theme

st.title("How fast is it?")
st.caption(
    "Measured, not estimated: the output of the benchmarks that come with the code. Ratios hold on "
    "other machines too, roughly; seconds are those of the machine below."
)


def show_extraction(rows: pd.DataFrame) -> None:
    """How many times cheaper than the published loop, per model."""
    st.subheader("Turning pairs into vectors, against the published way")
    left, right = st.columns([3, 2])
    figure = go.Figure()
    for number, (model, ways) in enumerate(rows.groupby("model", sort=False)):
        figure.add_bar(
            x=ways["times"], y=ways["way"], name=str(model), orientation="h",
            text=[f"{times:.2g}×" for times in ways["times"]],
            textposition="outside", textangle=0, cliponaxis=False,
            marker={"color": theme.CATEGORIES[number]},
        )  # fmt: skip
    figure.update_layout(height=300, **theme.LAYOUT)
    figure.update_xaxes(title="speed (published loop = 1)")
    figure.update_yaxes(autorange="reversed")
    times = [f"{row.model}, {row.way}: {row.times:.2g}" for row in rows.itertuples()]
    alt = f"Times as fast as the published loop. {'; '.join(times)}."
    left.plotly_chart(figure, key="extraction", alt=alt)
    right.markdown(
        "**Published loop**: one completion at a time, the whole model, twice per pair "
        "(arXiv 2602.11079). **Gradient**: what methods such as LESS need per pair. All of them "
        "read the same tokens on one core. *Lowest cosine* says how near the vectors are to the "
        "loop's, for the worst of all pairs: 1 is the same."
    )
    with st.expander("The numbers"):
        st.dataframe(
            rows.rename(columns={"cpu_seconds": "CPU-seconds", "min_cosine": "lowest cosine"}),
            hide_index=True,
            column_config={
                "CPU-seconds": st.column_config.NumberColumn(format="%.1f"),
                "times": st.column_config.NumberColumn("× the loop", format="%.2f"),
                "lowest cosine": st.column_config.NumberColumn(format="%.6f"),
            },
        )


performance = bench_results.read_performance()
results, machine = performance["results"], performance["machine"]
if "extraction" in results:
    show_extraction(bench_results.extraction_table(results["extraction"]))
st.subheader("At the size of a real data set")
for sentence in bench_results.performance_sentences(results):
    st.text(sentence)
st.subheader("Where these figures come from")
st.text(
    f"{performance['date']} · {machine['cpu']}, {machine['cores']} cores, "
    f"{machine['memory_gb']:g} GB · {machine['system']} · Python {machine['python']}, "
    f"torch {machine['torch']}. No GPU was used."
)
st.caption("Measure them again on your machine (about ten minutes; the map needs Chromium):")
st.code("pairtrace bench all", language="bash")
with st.expander("Everything that was measured"):
    st.json(results, expanded=1)
