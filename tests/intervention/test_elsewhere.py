"""What is trained elsewhere comes back only if it is the reference, retrained."""

import shutil

import pytest
from safetensors.torch import load_file, save_file

from core.errors import UserError
from core.intervention.imported import import_checkpoint
from tests.tiny_models import save_tiny_model


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    return save_tiny_model(tmp_path_factory.mktemp("reference") / "model", blocks=2)


@pytest.fixture
def checkpoint(reference, tmp_path):
    """The reference with one weight changed, as a training would leave it, and its pickles."""
    folder = tmp_path / "checkpoint"
    shutil.copytree(reference, folder)
    change(folder, 0.5)
    (folder / "training_args.bin").write_bytes(b"a pickle")
    return folder


def change(folder, by):
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][0] += by
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def test_a_retrained_reference_is_taken_in_without_its_pickles(checkpoint, reference, tmp_path):
    summary = import_checkpoint(checkpoint, reference, tmp_path / "output")
    model = tmp_path / "output" / "model"
    assert summary["largest_change"] == pytest.approx(0.5)
    assert (model / "model.safetensors").read_bytes() == (
        checkpoint / "model.safetensors"
    ).read_bytes()
    assert not (model / "training_args.bin").exists()


def test_another_architecture_is_refused_by_the_setting_that_differs(reference, tmp_path):
    other = save_tiny_model(tmp_path / "other", blocks=3)
    with pytest.raises(UserError, match="num_hidden_layers is 3, not 2"):
        import_checkpoint(other, reference, tmp_path / "output")


def test_another_family_is_refused(reference, tmp_path):
    other = save_tiny_model(tmp_path / "other", "llama", blocks=2)
    with pytest.raises(UserError, match="another architecture"):
        import_checkpoint(other, reference, tmp_path / "output")


def test_another_chat_template_is_refused(checkpoint, reference, tmp_path):
    path = checkpoint / "chat_template.jinja"
    path.write_text(path.read_text().replace("<assistant>", "<user>"))
    with pytest.raises(UserError, match="chat template is not the reference"):
        import_checkpoint(checkpoint, reference, tmp_path / "output")


def test_weights_that_are_not_finite_are_refused(checkpoint, reference, tmp_path):
    change(checkpoint, float("nan"))
    with pytest.raises(UserError, match="not finite"):
        import_checkpoint(checkpoint, reference, tmp_path / "output")


def test_an_untrained_copy_of_the_reference_is_refused(reference, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(reference, copy)
    with pytest.raises(UserError, match="nothing was trained"):
        import_checkpoint(copy, reference, tmp_path / "output")
