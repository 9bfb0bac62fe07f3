"""Which way of ranking finds the pairs at fault, and what does each cost?"""

import streamlit as st

from pages.components import scoreboard

st.title("Which method finds the pairs at fault?")
st.caption("Every way of ranking pairs that PairTrace knows, on the same data. No project needed.")
scoreboard.show()
