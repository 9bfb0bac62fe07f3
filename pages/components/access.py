"""Login and permissions: who is at this browser, and what they may do.

Without `[auth]` in Streamlit's secrets the app is for whoever is at this machine: it listens on
localhost only (.streamlit/config.toml), and people type a name. With it, everybody logs in
(OpenID Connect), changes are logged under that identity, and `[pairtrace] editors = [...]` in the
secrets says who may change anything; for everybody else the app is read-only. See
docs/deployment.md.
"""

import time
from typing import NamedTuple

import streamlit as st

from core import environment
from pages.components import text

PRESENT = 300  # seconds after the last click of somebody
HERE = "Somebody of another name used this project in the last five minutes."


def configured() -> bool:
    """Whether people log in."""
    return bool(st.secrets.load_if_toml_exists() and "auth" in st.secrets)


def require_login() -> None:
    """Stop the page for who has not logged in, or, without logins, is on another machine."""
    if _logged_in() if configured() else _on_this_machine():
        return
    st.title("PairTrace")
    if configured():
        st.text("Log in to see this investigation.")
        st.button("Log in", on_click=st.login, type="primary", key="login")
    else:
        st.error("Without a login, this app serves its own machine only. See docs/deployment.md.")
    st.stop()


def _on_this_machine() -> bool:
    """Whether the browser may be served without a login; one on this machine has no address."""
    return not isinstance(st.context.ip_address, str) or environment.trusts_network()


def serves_this_machine_only() -> bool:
    """Whether nobody but who is at this machine is served: neither logins nor an open network."""
    return not configured() and not environment.trusts_network()


def may_edit() -> bool:
    """Whether this person may start, stop and change things."""
    if not configured():
        return True
    rules = st.secrets.get("pairtrace", {})
    editors = [str(editor).lower() for editor in rules.get("editors", [])]
    return _logged_in() and _identity().lower() in editors


def who() -> str:
    """The name that changes are logged under."""
    if configured():
        return _identity()
    return str(st.session_state.get("who") or "analyst")


def show() -> None:
    """Who this is; for the sidebar."""
    if not configured():
        st.text_input("Your name, for the log", "analyst", key="who", persist_state="session")
        return
    role = "may change things" if may_edit() else "read-only: nothing can be changed"
    st.text(f"{_identity()}\n{role}")
    st.button("Log out", on_click=st.logout, type="tertiary", key="logout")


class Seen(NamedTuple):
    """Where and when somebody last did something."""

    page: str
    time: float


VISITS: dict[tuple[str, str], Seen] = {}  # of this server, by workspace and name


def show_others(workspace: str, page: str) -> None:
    """Note that this person is at a page, and show who else is in the workspace, by their names.

    By names, since a reloaded window is a new visit of the same person.
    """
    now, name = time.monotonic(), who()
    VISITS.pop((workspace, st.session_state.get("seen-as", name)), None)  # an earlier name, too
    st.session_state["seen-as"] = name
    VISITS[workspace, name] = Seen(page, now)
    for (place, other), seen in list(VISITS.items()):
        if now - seen.time > PRESENT:
            VISITS.pop((place, other), None)
        elif place == workspace and other != name:
            shown = text.escape(f"Also here: {text.short(other, 40)} ({seen.page})")
            st.caption(f":material/group: {shown}", help=HERE)


def _identity() -> str:
    """The verified address, else the subject: a name can be chosen freely."""
    email = st.user.get("email") if st.user.get("email_verified") is not False else None
    return str(email or st.user.get("sub") or "unknown")


def _logged_in() -> bool:
    return bool(st.user.get("is_logged_in", False))
