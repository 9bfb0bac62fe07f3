"""Models and tokenizers loaded from folders: the only caller of `from_pretrained`.

Reads local folders with safetensors weights, never a hub or a pickle, and code from the folder only
where this command allows it (core.environment.trusts_code). An adapter's folder is read
as its base with the low-rank updates added (core.models.folder). Weights that are missing, or of
another shape, are refused: the library would fill them at random.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)
from transformers.utils import logging

from core import environment
from core.errors import UserError
from core.models.devices import keep_freed_memory, pick_device, pick_dtype, spreading
from core.models.folder import ADAPTER_CONFIG, CONFIG, UPDATES, ModelFolder

TOKENIZER_CONFIG = "tokenizer_config.json"
NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f")


@dataclass(frozen=True)
class LoadedModel:
    """A model in evaluation mode, its tokenizer, and the device that it begins on."""

    model: Any
    tokenizer: Any
    device: torch.device


def load_model(
    folder: Path | str, *, dtype: str = "auto", device: str = "auto", blocks: int | None = None
) -> LoadedModel:
    """The causal language model of a folder, in evaluation mode.

    `dtype` and `device` as in core.models.devices. With `blocks`, only the embeddings and the first
    `blocks` decoder blocks are read: no head, no final norm, so that the last hidden state is the
    residual stream at layer `blocks`.
    """
    source = ModelFolder.of(folder)
    if source.is_adapter:
        return _load_adapter(source, dtype, device, blocks)
    spread, start = spreading(device), pick_device(device)
    if start.type == "cpu":
        keep_freed_memory()
    arithmetic = pick_dtype(dtype, start)
    config = read_config(source)
    with _explaining(folder):
        first = blocks if _has_headless_class(config) else None
        if first is not None:
            shorten(config, first)
        auto = AutoModelForCausalLM if first is None else AutoModel
        model = _weights(auto, folder, config, arithmetic, **spread)
    if first is not None:
        drop_final_norm(model)
    elif blocks is not None:
        model = cut(model, blocks)
    model = model.eval() if spread else model.eval().to(start)
    return LoadedModel(model, load_tokenizer(source), start)


def _load_adapter(source: ModelFolder, dtype: str, device: str, blocks: int | None) -> LoadedModel:
    if spreading(device):
        raise UserError(
            f"{source.path}: an adapter is added to a model on one device, and balanced spreads "
            "its base over several. Leave balanced out, or add the adapter where the base fits "
            "(peft's merge_and_unload), save the model, and name that folder."
        )
    base = load_model(source.base.path, dtype=dtype, device=device)
    merged = merge_adapter(base, source.path)
    model = merged.model if blocks is None else cut(merged.model, blocks)
    return LoadedModel(model.eval(), load_tokenizer(source), merged.device)


def load_classifier(folder: Path | str) -> LoadedModel:
    """The sequence classifier of a folder, in float32."""
    source, device = ModelFolder.of(folder), pick_device("auto")
    config = read_config(source)
    with _explaining(folder):
        model = _weights(AutoModelForSequenceClassification, folder, config, torch.float32)
    return LoadedModel(model.eval().to(device), load_tokenizer(source), device)


def read_config(folder: Path | str | ModelFolder) -> Any:
    """The library's configuration of a model folder; of an adapter, its base's.

    Raises `UserError` where it says that the weights are quantised (core.models.folder).
    """
    source = ModelFolder.of(folder)
    with _explaining(source.base.path):
        _ = source.config  # refused if quantised
        return AutoConfig.from_pretrained(source.base.path, **_options())


def load_tokenizer(folder: Path | str | ModelFolder) -> Any:
    """The tokenizer of a model folder; an adapter without one has its base's."""
    source = ModelFolder.of(folder)
    from_adapter = source.is_adapter and (source.path / TOKENIZER_CONFIG).is_file()
    path = source.path if from_adapter else source.base.path
    with _explaining(path, TOKENIZER_CONFIG if from_adapter else CONFIG):
        return AutoTokenizer.from_pretrained(path, **_options())


def merge_adapter(loaded: LoadedModel, adapter: Path | str) -> LoadedModel:
    """The model with an adapter's low-rank updates added to its weights."""
    from peft import PeftModel  # a second of import that only low-rank updates need

    with _explaining(adapter, needs=ADAPTER_CONFIG):
        _refuse_other_base(loaded.model, Path(adapter))
        updated = PeftModel.from_pretrained(loaded.model, str(adapter), local_files_only=True)
    return LoadedModel(updated.merge_and_unload(), loaded.tokenizer, loaded.device)


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Compute on `count` threads inside the block.

    The order of sums, so the last digits, depends on the number of threads. Other libraries change
    it too: numba's OpenMP layer, which UMAP starts, sets torch's and does not set it back.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def shorten(config: Any, blocks: int) -> None:
    """Make a configuration describe only its first `blocks` decoder blocks."""
    if not 0 <= blocks <= config.num_hidden_layers:
        raise UserError(f"blocks {blocks}: the model has {config.num_hidden_layers} blocks.")
    config.num_hidden_layers = blocks
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:blocks]


def drop_final_norm(model: Any) -> None:
    """Replace the final norm by the identity, so that the last hidden state is a layer."""
    base = model.base_model
    name = next((name for name in NORMS if hasattr(base, name)), None)
    if name is None:
        raise UserError(f"{type(base).__name__}: the final norm has none of the names {NORMS}.")
    setattr(base, name, nn.Identity())


def _weights(auto: Any, folder: Path | str, config: Any, dtype: torch.dtype, **spread: Any) -> Any:
    model, report = auto.from_pretrained(
        folder,
        config=config,
        dtype=dtype,
        **_options(),
        **spread,
        use_safetensors=True,
        ignore_mismatched_sizes=True,  # so that they are reported, and refused below
        output_loading_info=True,
    )
    wrong = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
    if wrong:
        raise UserError(
            f"{folder}: the weights do not fit config.json; {len(wrong)} are missing or of another "
            f"shape, such as {wrong[0]}. Use the folder as it was saved."
        )
    return model


def _options() -> dict[str, bool]:
    return {"local_files_only": True, "trust_remote_code": environment.trusts_code()}


def _has_headless_class(config: Any) -> bool:
    """Whether a model can be read without its head; custom code may name no class for that."""
    classes = getattr(config, "auto_map", None) if environment.trusts_code() else None
    return not classes or "AutoModel" in classes


def cut(model: Any, blocks: int) -> Any:
    """The first `blocks` blocks of a causal language model, without head and final norm."""
    base = model.base_model
    shorten(base.config, blocks)
    base.layers = base.layers[:blocks]
    drop_final_norm(base)
    return base


def _refuse_other_base(model: Any, adapter: Path) -> None:
    """`UserError` for updates of modules that the model lacks: the library would skip them."""
    with safe_open(adapter / UPDATES, framework="pt") as file:
        names = [name for name in file.keys() if ".lora_" in name]  # noqa: SIM118
    modules = dict(model.named_modules())
    targets = {name.removeprefix("base_model.model.").partition(".lora_")[0] for name in names}
    unknown = sorted(targets - modules.keys())
    if unknown or not targets:
        lacks = f"which lacks {unknown[0]}" if unknown else "or has no low-rank updates"
        raise UserError(f"{adapter}: it was not trained from its base, {lacks}.")


@contextmanager
def _explaining(folder: Path | str, needs: str = CONFIG) -> Iterator[None]:
    """Turn the library's errors into `UserError`s that name the folder, and silence its notices."""
    if not (Path(folder) / needs).is_file():
        raise UserError(f"{folder}: not a model folder ({needs} is missing).")
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        if "trust_remote_code" in str(error):
            raise UserError(
                f"{folder}: this model needs Python code that comes with it (auto_map in its "
                "settings), which could do anything on this machine. Read that code; if you trust "
                "it, run the command as `pairtrace --trust-remote-code …`. The browser never does."
            ) from error
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UserError(
            f"{folder}: the model cannot be loaded. {reason[0]} Put the folder back as it was "
            "saved; if it is a run's, delete the run's folder and run the step again."
        ) from error
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()
