"""People log in at a provider that speaks OpenID Connect; editors change things, others read."""

import pytest
import tomli_w

from core.workspace.catalog import Catalog
from tests.browser.conftest import settle, until
from tests.oidc_provider import CLIENT, SECRET, oidc_provider

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
PEOPLE = {
    "ana": {"email": "Ana@Example.org", "email_verified": True},
    "eve": {"email": "eve@example.org", "email_verified": True},
    "mallory": {"email": "ana@example.org", "email_verified": False},
}


@pytest.fixture
def team(served, investigated, store, tmp_path):
    """An app with a login: its address."""
    with oidc_provider(PEOPLE) as provider:
        secrets = {
            "auth": {
                "redirect_uri": "http://127.0.0.1:{port}/oauth2callback",
                "cookie_secret": "a cookie secret that is known to this test only",
                "client_id": CLIENT,
                "client_secret": SECRET,
                "server_metadata_url": f"{provider.url}/.well-known/openid-configuration",
            },
            "pairtrace": {"editors": ["ana@example.org"]},
        }
        path = tmp_path / "secrets.toml"
        path.write_text(tomli_w.dumps(secrets), encoding="utf-8")
        with served(store.workspace, "--secrets.files", str(path)) as address:
            yield address


def log_in(tab, address, name):
    tab.goto(f"{address}/clusters?one=1")
    tab.get_by_role("button", name="Log in").click()
    tab.get_by_role("link", name=name).click()
    tab.get_by_role("button", name="Log out").wait_for()
    settle(tab)


def rename(tab, address, name):
    tab.goto(f"{address}/clusters?one=1")
    settle(tab)
    field = tab.get_by_role("textbox", name="Name", exact=True)
    field.fill(name)
    field.press("Enter")
    settle(tab)


def test_an_editor_changes_things_and_others_look_on(tab, team, store, investigated):
    tab.goto(f"{team}/clusters")
    tab.get_by_text("Log in to see this investigation").wait_for()
    assert not tab.get_by_text("lock, pick").count()

    log_in(tab, team, "ana")
    tab.get_by_text("may change things").wait_for()
    rename(tab, team, "lock picking")
    log = Catalog(store.workspace)
    until(lambda: log.state().of(investigated["discover"]).names, {1: "lock picking"})
    assert [event.who for event in log.events()] == ["Ana@Example.org"]

    for name, identity in (("eve", "eve@example.org"), ("mallory", "mallory")):
        tab.get_by_role("button", name="Log out").click()
        tab.get_by_text("Log in to see this investigation").wait_for()
        log_in(tab, team, name)
        role = tab.get_by_text("read-only: nothing can be changed")
        role.wait_for()
        assert identity in role.inner_text()
        rename(tab, team, "taken over")
        tab.get_by_text("This workspace is read-only for you").wait_for()
    assert len(log.events()) == 1
