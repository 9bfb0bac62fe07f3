"""Nothing is fetched that is not named by commit; presets name what to fetch."""

import json

import pytest
from click.testing import CliRunner

from core.cli.main import cli
from core.errors import UserError
from core.models.hub import fetch
from core.specs import project
from core.specs.steps import STEPS
from core.workspace import presets

COMMIT = "0" * 40


@pytest.mark.parametrize("revision", ["main", "v1.0", "0" * 39, "0" * 41, "HEAD", ""])
def test_a_name_that_moves_is_no_revision(tmp_path, revision):
    with pytest.raises(UserError, match="full commit hash"):
        fetch("model", "allenai/OLMo", revision, tmp_path)


@pytest.mark.parametrize("name", ["OLMo", "../../etc", "a/b/c", "https://evil.example/x", "a/.."])
def test_a_name_that_is_no_repository_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="is not a repository"):
        fetch("model", name, COMMIT, tmp_path)


def test_a_hub_that_does_not_answer_is_a_user_error(tmp_path, monkeypatch):
    monkeypatch.setattr("time.sleep", lambda _seconds: None)  # between the client's tries
    with pytest.raises(UserError, match="cannot be fetched"):
        fetch("model", "allenai/OLMo", COMMIT, tmp_path, endpoint="http://127.0.0.1:9")
    assert not list(tmp_path.glob("*.safetensors"))


@pytest.mark.parametrize("flags", [(), ("--trust-remote-code",)])
def test_code_is_fetched_only_when_asked(tmp_path, monkeypatch, flags):
    """Read off the request to the hub's client, which is replaced."""
    asked = []

    def download(*_, local_dir, allow_patterns, **__):
        asked.extend(allow_patterns)
        local_dir.mkdir(parents=True)
        (local_dir / "model.safetensors").touch()

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    monkeypatch.setenv("PAIRTRACE_TRUST_REMOTE_CODE", "")  # put back afterwards
    words = ["-w", str(tmp_path), *flags, "fetch", "a/b", "--revision", COMMIT]
    assert CliRunner().invoke(cli, words).exit_code == 0
    assert ("*.py" in asked) == bool(flags)
    assert not {"*.bin", "*.pt", "*.pkl"} & set(asked)


@pytest.mark.parametrize("name", presets.PRESETS)
@pytest.mark.parametrize("compat", ["ours", "paper"])
def test_the_overrides_of_a_preset_are_settings_of_the_steps(name, compat):
    for step, settings in presets.overrides(presets.preset(name), compat).items():
        assert settings.keys() <= STEPS[step].model_fields.keys()


def test_a_project_starts_from_a_preset_with_the_papers_settings(tmp_path):
    behavior = [{"name": "b", "flag": "refused", "group": "g"}]
    words = ["-w", tmp_path, "init", "--preset", "olmo2-7b", "--compat", "paper"]
    words += ["--prompts", "p.jsonl", "--heldout", "h.jsonl", "--judge", "refusal"]
    done = CliRunner().invoke(cli, [*map(str, words), "--behaviors", json.dumps(behavior)])
    assert done.exit_code == 0, done.output
    made = project.load(tmp_path)
    assert made.reference == str(tmp_path / "inputs" / "OLMo-2-1124-7B-SFT")
    assert made.overrides["rank"] == {"layer": 20, "method": "similarity", "pooling": "rollouts"}
    assert made.overrides["generate"]["rollouts"] == 100
    assert made.train("p.jsonl", 0).beta == 5.0
