"""Charts of rates leave room for the rates, whatever the behaviors are called."""

import pandas as pd

from core.report import figures

LONG = "complies with a harmful request that a distractor follows, " * 9


def test_a_long_name_takes_a_few_short_lines():
    rate = {"rate": 0.5, "low": 0.4, "high": 0.6, "n": 100}
    rates = pd.DataFrame([{"behavior": name, "arm": "policy", **rate} for name in ("short", LONG)])
    long, short = figures.rates_chart(rates).layout.yaxis.ticktext
    assert short == "short"
    lines = long.split("<br>")
    assert len(lines) == 4
    assert max(map(len, lines)) <= figures.LETTERS
