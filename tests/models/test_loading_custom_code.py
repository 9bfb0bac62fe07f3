"""Code that comes with a checkpoint runs only where this very command was asked to run it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from core import environment
from core.demo.investigation import ORGANISM
from core.errors import UserError
from core.models.loading import load_model, load_tokenizer
from core.models.residual import recording
from core.runs import jobs
from core.runs.hashing import fingerprint_model
from core.runs.store import Store
from core.specs import project
from core.specs.steps import GenerateSpec
from tests.tiny_models import save_tiny_model

IDS = torch.tensor([[3, 10, 11, 12, 4, 20, 21]])
CODE = """
from pathlib import Path
from transformers import Olmo2Config, Olmo2ForCausalLM

Path({trace!r}).touch()

class Config(Olmo2Config):
    model_type = "mine"

class Model(Olmo2ForCausalLM):
    config_class = Config
"""
CLASSES = {"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"}


@pytest.fixture
def plain(tmp_path: Path) -> Path:
    return save_tiny_model(tmp_path / "plain")


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """A file that the checkpoint's code makes when it runs."""
    return tmp_path / "ran"


@pytest.fixture
def custom(tmp_path: Path, trace: Path) -> Path:
    """The same OLMo 2 as `plain`, under a name that only the folder's code defines."""
    folder = save_tiny_model(tmp_path / "custom")
    set_config(folder, model_type="mine", auto_map=CLASSES)
    (folder / "mine.py").write_text(CODE.format(trace=str(trace)))
    return folder


@pytest.fixture
def trusting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(environment.TRUST_CODE, "1")


def set_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("read", [load_model, load_tokenizer])
def test_without_the_flag_it_is_refused_and_not_run(read, custom: Path, trace: Path) -> None:
    tokenizer = custom / "tokenizer_config.json"
    settings = json.loads(tokenizer.read_text()) | {
        "tokenizer_class": "Mine",
        "auto_map": {"AutoTokenizer": [None, "mine.Tokenizer"]},
    }
    tokenizer.write_text(json.dumps(settings))
    with pytest.raises(UserError, match=r"`pairtrace --trust-remote-code …`"):
        read(custom)
    assert not trace.exists()


@pytest.mark.usefixtures("trusting")
def test_with_the_flag_it_equals_the_librarys_model(custom: Path, plain: Path, trace: Path) -> None:
    ours, theirs = (load_model(folder, device="cpu").model for folder in (custom, plain))
    assert type(ours).__name__ == "Model"
    assert trace.exists()
    with torch.inference_mode():
        torch.testing.assert_close(ours(IDS).logits, theirs(IDS).logits)


@pytest.mark.usefixtures("trusting")
def test_its_first_blocks_are_read_though_it_names_no_model_without_a_head(
    custom: Path, plain: Path
) -> None:
    streams = []
    for folder in (custom, plain):
        model = load_model(folder, device="cpu", blocks=2).model
        with torch.inference_mode(), recording(model, [0, 2]) as recorded:
            model(IDS, use_cache=False)
        streams.append(recorded)
    assert len(model.layers) == 2
    for layer in (0, 2):
        torch.testing.assert_close(streams[0][layer], streams[1][layer])


def test_a_family_that_the_library_knows_needs_no_code(plain: Path) -> None:
    set_config(plain, auto_map={"AutoConfig": "mine.Config"})
    (plain / "mine.py").write_text("raise SystemExit('ran')")
    assert type(load_model(plain).model).__name__ == "Olmo2ForCausalLM"


def test_the_code_is_part_of_what_the_model_is(custom: Path, plain: Path) -> None:
    before = fingerprint_model(custom), fingerprint_model(plain)
    for folder in (custom, plain):
        (folder / "mine.py").write_text("# other code")
    after = fingerprint_model(custom), fingerprint_model(plain)
    assert before[0] != after[0]
    assert before[1] == after[1]  # it names none


@pytest.mark.slow
def test_a_command_trusts_only_with_its_own_flag(custom: Path, trace: Path, tmp_path: Path) -> None:
    """Whatever the environment contains, and whatever an earlier command asked."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("w1 w2\n")
    step = ["generate", "--reference", custom, "--policy", custom, "--prompts", prompts]
    step += ["--judge", "refusal", "--rollouts", "1", "--max-new-tokens", "2"]

    def pairtrace(*flags: str) -> subprocess.CompletedProcess[str]:
        words = [sys.executable, "-m", "core.cli.main", "-w", tmp_path / "workspace", *flags, *step]
        variables = {**os.environ, environment.TRUST_CODE: "1"}
        variables.pop("HF_MODULES_CACHE", None)  # a command that ran in this process has set it
        return subprocess.run([*map(str, words)], capture_output=True, text=True, env=variables)

    refused = pairtrace()
    assert "--trust-remote-code" in refused.stderr
    assert not trace.exists()
    done = pairtrace("--trust-remote-code")
    assert done.returncode == 0, done.stderr
    assert trace.exists()
    store = Store(tmp_path / "workspace")
    (run,) = store.finished("generate")
    assert store.record(run)["provenance"]["trust_remote_code"] is True
    assert list((tmp_path / "workspace" / "cache" / "modules").rglob("mine.py"))


@pytest.mark.usefixtures("trusting")
def test_nothing_that_outlives_the_command_trusts(custom: Path, tmp_path: Path) -> None:
    spec = GenerateSpec(reference=str(custom), policy=str(custom), prompts="p", judge="refusal")
    with pytest.raises(UserError, match="job in the background never runs code"):
        jobs.start(Store(tmp_path), spec)


def test_the_app_takes_no_trust(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "core.cli.main", "-w", tmp_path, "--trust-remote-code", "app"]
    done = subprocess.run([*map(str, words)], capture_output=True, text=True)
    assert "The app never runs code" in done.stderr
    assert done.returncode == 2


@pytest.mark.parametrize("place", ["judge =", "beta ="])  # of the project, of a step
def test_a_project_cannot_ask_for_it(place: str, tmp_path: Path) -> None:
    text = (ORGANISM / project.FILE).read_text()
    asking = text.replace(place, f"trust_remote_code = true\n{place}", 1)
    (tmp_path / project.FILE).write_text(asking)
    with pytest.raises(UserError, match="trust_remote_code"):
        project.load(tmp_path)
