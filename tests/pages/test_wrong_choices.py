"""Wrong choices on the Set up page: each is stopped at once, with what to do."""

import pytest
from streamlit.testing.v1 import AppTest

from core.demo.investigation import ORGANISM
from core.specs import project as projects
from pages.components.setup.files import DRAFT
from tests.gguf_files import tiny_llama, write_gguf
from tests.pages.conftest import SHELL, page_text
from tests.wrong_choices import CASES, path_of, save_inputs


@pytest.fixture(scope="session")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    save_inputs(folder)
    return folder


def chosen(inputs, choices):
    """The page with the organism's files chosen, but for `choices`."""
    made = projects.load(ORGANISM)
    fields = {name: getattr(made, name) for name in ("reference", "policy", "pairs", "prompts")}
    draft = fields | {"heldout": made.heldout, "kind": "My own models and pairs"}
    if "judge" in choices:
        draft["judge-kind"] = "A judge file"
    for name, value in choices.items():
        draft[name] = path_of(inputs, value) if isinstance(value, str) else value
    app = AppTest.from_file(str(SHELL), default_timeout=90)
    app.session_state[DRAFT] = draft
    app.run()  # without a project, this is the Set up page
    assert not app.exception
    return app


def said(app):
    return page_text(app).replace("\\_", "_")


def test_the_organisms_own_files_can_be_created(store, inputs):
    app = chosen(inputs, {})
    assert "create" in {button.key for button in app.button}


@pytest.mark.parametrize(("choices", "message"), CASES)
def test_a_wrong_choice_is_stopped_with_what_to_do(store, inputs, choices, message):
    app = chosen(inputs, choices)
    assert message in said(app)
    assert "create" not in {button.key for button in app.button}


def test_a_truncated_gguf_file_is_refused_as_soon_as_it_is_read(store, inputs, tmp_path):
    pytest.importorskip("gguf")
    file = write_gguf(tmp_path / "model.gguf", tiny_llama())
    file.write_bytes(file.read_bytes()[:-100])
    app = chosen(inputs, {"policy": str(file)})
    app.button("policy-dequantise").click().run()
    assert "not a complete GGUF file" in said(app)
    assert "create" not in {button.key for button in app.button}


def test_a_policy_that_another_model_begot_is_warned_of(store, inputs):
    """Not stopped: the two may still be compared."""
    app = chosen(inputs, {"policy": "adapter"})
    assert "whose weights are not the reference's" in said(app)
