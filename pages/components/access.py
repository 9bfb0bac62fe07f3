"""Who is at this browser, and what they may do.

Without `[auth]` in Streamlit's secrets the app is for whoever is at this machine: it listens on
localhost only (.streamlit/config.toml), and people give their own name. With it, everybody logs in
(OpenID Connect), changes are logged under that identity, and `[pairtrace] editors = [...]` in the
secrets says who may change anything; everybody else who can log in looks on. docs/deployment.md.
"""

import streamlit as st

from core import environment


def configured() -> bool:
    """Whether people log in."""
    return bool(st.secrets.load_if_toml_exists() and "auth" in st.secrets)


def require_login() -> None:
    """Stop here, with a way to log in, unless somebody has."""
    if not configured():
        _require_this_machine()
        return
    if _logged_in():
        return
    st.title("PairTrace")
    st.text("Log in to see this investigation.")
    st.button("Log in", on_click=st.login, type="primary", key="login")
    st.stop()


def _require_this_machine() -> None:
    """Turn away browsers on other machines; one on this machine, or none, has no address here."""
    if not isinstance(st.context.ip_address, str) or environment.trusts_network():
        return
    st.title("PairTrace")
    st.error("Without a login, this app serves its own machine only. See docs/deployment.md.")
    st.stop()


def may_edit() -> bool:
    """Whether this person may start, stop and change things."""
    if not configured():
        return True
    rules = st.secrets.get("pairtrace", {})
    editors = [str(one).lower() for one in rules.get("editors", [])]
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
    role = "may change things" if may_edit() else "looks on: nothing can be changed"
    st.text(f"{_identity()}\n{role}")
    st.button("Log out", on_click=st.logout, type="tertiary", key="logout")


def _identity() -> str:
    """What the identity provider vouches for; a name alone can be chosen freely.

    An address that it says it has not verified could be anybody's.
    """
    email = st.user.get("email") if st.user.get("email_verified") is not False else None
    return str(email or st.user.get("sub") or "unknown")


def _logged_in() -> bool:
    return bool(st.user.get("is_logged_in", False))
