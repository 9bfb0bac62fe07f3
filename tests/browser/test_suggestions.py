"""Names from a language model: asked on the page over real HTTP, accepted, undone."""

import json
import re
import threading
import time

import pytest

from core.workspace.catalog import Catalog
from tests.browser.conftest import settle
from tests.chat_server import Reply, chat_server

pytestmark = pytest.mark.browser
NAME, SENTENCE = "Helps <b>thieves</b>", "Chosen completions explain how to pick locks."


def namer(_number, question):
    """Names the cluster about locks; what it says of the other is no suggestion."""
    assert question["model"] == "namer"
    sent = json.loads(question["messages"][-1]["content"])
    wanted = "lock" in sent["words_chosen"]
    return Reply(json.dumps({"name": NAME, "description": SENTENCE}) if wanted else "no idea")


def ask(tab, address: str, url: str) -> None:
    """Fill in the form on Clusters and start the job."""
    tab.goto(f"{address}/clusters?one=1")
    settle(tab)
    tab.get_by_text("Ask a language model for names").click()
    tab.get_by_role("textbox", name="Endpoint").fill(url)
    model = tab.get_by_role("textbox", name="Model")
    model.fill("namer")
    model.press("Enter")
    tab.get_by_role("button", name="Ask for names").click()


def test_names_are_asked_for_shown_as_suggestions_accepted_and_undone(
    served, tab, store, investigated
):
    catalog, began = Catalog(store.workspace), time.time()
    with chat_server(namer) as server, served(store.workspace) as address:
        ask(tab, address, server.url)
        tab.get_by_text("Clusters with a suggestion by it: 1.").wait_for()
        suggested = tab.get_by_text(f"Suggestion (language model namer): “{NAME}”. {SENTENCE}")
        suggested.wait_for()
        tab.locator(f'input[aria-label="Cluster"][value="1 · ({NAME})"]').wait_for()
        assert catalog.events() == []  # a suggestion is nobody's word
        tab.get_by_role("button", name="Accept").first.click()
        suggested.wait_for(state="detached")
        tab.get_by_text(f"1 · {NAME}").first.wait_for(state="attached")
        (event,) = catalog.events()
        tab.locator(f'input[aria-label="Cluster"][value="1 · {NAME}"]').wait_for()
        settle(tab)
        tab.get_by_role("button", name=re.compile("Undo my last change")).click()
        suggested.wait_for()
    assert (event.who, event.change.name) == ("analyst", NAME)
    assert began < event.time < time.time()
    assert event.why == "suggested by language model namer"
    assert catalog.state().of(investigated["discover"]).names == {}
    assert len(server.requests) == 2
    assert server.keys == [None, None]


def test_an_endpoint_that_refuses_is_told_in_words_and_can_be_asked_again(
    served, tab, store, investigated
):
    accepts = threading.Event()  # how many are sent before the first refusal comes is chance

    def refuse_at_first(number, question):
        return namer(number, question) if accepts.is_set() else Reply(status=401)

    with chat_server(refuse_at_first) as server, served(store.workspace) as address:
        ask(tab, address, server.url)
        tab.get_by_text("HTTP 401. Check the url, the name of the model ('namer')").first.wait_for()
        accepts.set()
        tab.get_by_role("button", name="Try again").click()
        tab.get_by_text("Clusters with a suggestion by it: 1.").wait_for()
        tab.locator(f'input[aria-label="Cluster"][value="1 · ({NAME})"]').wait_for()
