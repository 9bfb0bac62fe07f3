"""The spot-check: people label completions blinded, and the judge is compared with them.

Neither the model nor the judge's label is shown before one's own. Labels go to the log, with who
and when; everybody reads the same queue.
"""

import pandas as pd
import streamlit as st

from core.intervention.evaluation import spot_check
from core.specs.behaviors import Behavior
from core.specs.events import Completion, Verdict, Verdicts
from core.stats import Interval
from core.workspace.labels import in_force
from pages.components import cache, cart, glossary, rates, text

ANSWERS: tuple[tuple[str, str, bool | None], ...] = (
    ("Yes", "Y", True),
    ("No", "N", False),
    ("Cannot tell", "U", None),
)


def show(measured: pd.DataFrame, behavior: Behavior) -> None:
    """The queue's next completion, then the agreement of judge and people."""
    n = st.number_input(
        "Completions to read", 10, 1000, 40, 10, key="spot-check-n",
        help="Drawn at random, equally many from every model.",
    )  # fmt: skip
    evaluations = tuple(sorted(measured["evaluate"].unique()))
    queue = _queue(str(cache.store().workspace), evaluations, behavior, int(n))
    if queue.empty:
        st.info("No measured completion belongs to this behavior.")
        return
    verdicts, who = cart.catalog().state().verdicts, cart.who()
    keys = spot_check.keys(queue, behavior.flag)
    unread = [row for row, key in enumerate(keys) if (key, who) not in verdicts]
    done = len(keys) - len(unread)
    st.progress(done / len(keys), text=f"{who} has read {done} of {len(keys)}")
    if unread:
        _ask(queue.loc[unread[0]], keys[unread[0]], behavior)
    else:
        st.success("All of them are read.")
    if done and st.button("↩ Take back my last answer", shortcut="B", key="spot-back"):
        _take_back(who)
    with st.expander("Agreement of the judge with people (ends the blinding)"):
        _show_agreement(queue, verdicts, behavior)


def _ask(row: pd.Series, key: Completion, behavior: Behavior) -> None:
    flag, meaning = rates.flag_words(behavior.flag), behavior.description or behavior.name
    st.text(text.visible(f"Does this completion show “{flag}” ({meaning})?"))
    text.box("prompt, as sent", row["prompt"])
    text.box("completion", row["completion"])
    for column, (label, letter, shown) in zip(st.columns(3), ANSWERS, strict=True):
        if column.button(label, shortcut=letter, key=f"spot-{letter}", width="stretch"):
            cart.catalog().change(Verdict(**key._asdict(), shown=shown), who=cart.who())
            st.rerun()


def _take_back(who: str) -> None:
    events = in_force(cart.catalog().events())
    answers = [e.id for e in events if e.who == who and isinstance(e.change, Verdict)]
    if answers:
        cart.catalog().undo(answers[-1], who=who)
    st.rerun()


def _show_agreement(queue: pd.DataFrame, verdicts: Verdicts, behavior: Behavior) -> None:
    by_person = spot_check.agreement_by_person(queue, verdicts, flag=behavior.flag)
    if not by_person:
        st.text("Nobody has read any of these completions yet.")
        return
    rows = [
        {
            "who": who,
            "compared": agreement.both
            + agreement.neither
            + agreement.only_first
            + agreement.only_second,
            "agreement": f"{agreement.agreement:.0%}",
            "kappa": _interval(agreement.kappa),
            "interpretation": spot_check.in_words(agreement),
            "only the judge says yes": agreement.only_first,
            "only the person says yes": agreement.only_second,
        }
        for who, agreement in by_person.items()
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True)
    st.markdown(glossary.markdown("Cohen's kappa"))


def _interval(kappa: Interval) -> str:
    if pd.isna(kappa.value):
        return "unknown"
    return f"{kappa.value:.2f} [{kappa.low:.2f}, {kappa.high:.2f}]"


@st.cache_data(show_spinner=False, max_entries=8, hash_funcs={Behavior: Behavior.model_dump_json})
def _queue(
    workspace: str, evaluations: tuple[str, ...], behavior: Behavior, n: int
) -> pd.DataFrame:
    return spot_check.draw(cache.store(), evaluations, behavior, n=n)
