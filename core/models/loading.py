"""Model folders in memory: the only caller of `from_pretrained`.

Reads local folders with safetensors weights, never a hub or a pickle, and code from the folder only
where this very command was told to (core.environment.trusts_code). An adapter's folder is read
as its base with the low-rank updates added (core.models.folder).
A checkpoint loads whole or not at all: weights that are missing, or of another shape, would be
filled at random by the library, so they are refused here.
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
from core.models.devices import pick_device, pick_dtype, spreading
from core.models.folder import UPDATES, base_of, is_adapter, refuse_quantised
from core.models.malloc import keep_freed_memory

NORMS = ("norm", "final_layernorm", "final_layer_norm", "ln_f")


@dataclass(frozen=True)
class LoadedModel:
    """A model in inference mode, its tokenizer, and where it lives."""

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
    spread = spreading(device)
    if is_adapter(folder):
        if spread:
            raise UserError(
                f"{folder}: an adapter is added to a model that lies on one device, and balanced "
                "spreads its base over several. Leave balanced out, or add the adapter where the "
                "base fits (peft's merge_and_unload), save the model, and name that folder."
            )
        whole = load_model(base_of(folder), dtype=dtype, device=device)
        merged = merge_adapter(whole, folder)
        tokenizer = load_tokenizer(folder)
        model = merged.model if blocks is None else cut(merged.model, blocks)
        return LoadedModel(model.eval(), tokenizer, merged.device)
    place = pick_device(device)
    if place.type == "cpu":
        keep_freed_memory()
    kind = pick_dtype(dtype, place)
    config = read_config(folder)
    with _explaining(folder):
        first = blocks if _has_a_base(config) else None
        if first is not None:
            shorten(config, first)
        auto = AutoModelForCausalLM if first is None else AutoModel
        model = _weights(auto, folder, config, kind, **spread)
    if first is not None:
        drop_final_norm(model)
    elif blocks is not None:
        model = cut(model, blocks)
    model = model.eval() if spread else model.eval().to(place)
    return LoadedModel(model, load_tokenizer(folder), place)


def load_classifier(folder: Path | str) -> LoadedModel:
    """The sequence classifier of a folder, whole or not at all, in float32."""
    place = pick_device("auto")
    config = read_config(folder)
    with _explaining(folder):
        model = _weights(AutoModelForSequenceClassification, folder, config, torch.float32)
    return LoadedModel(model.eval().to(place), load_tokenizer(folder), place)


def read_config(folder: Path | str) -> Any:
    """What config.json says, as the library reads it; of an adapter, its base's.

    Refused where it says that the weights are quantised (core.models.folder).
    """
    folder = base_of(folder) if is_adapter(folder) else folder
    with _explaining(folder):
        refuse_quantised(folder)
        return AutoConfig.from_pretrained(folder, **_source())


def load_tokenizer(folder: Path | str) -> Any:
    """The tokenizer of a model folder; an adapter without one has its base's."""
    if is_adapter(folder) and not (Path(folder) / "tokenizer_config.json").is_file():
        folder = base_of(folder)
    needs = "tokenizer_config.json" if is_adapter(folder) else "config.json"
    with _explaining(folder, needs):
        return AutoTokenizer.from_pretrained(folder, **_source())


def merge_adapter(loaded: LoadedModel, adapter: Path | str) -> LoadedModel:
    """The model with low-rank updates (a peft adapter's folder) added to its weights."""
    from peft import PeftModel  # a second of import that only low-rank updates need

    with _explaining(adapter, needs="adapter_config.json"):
        _refuse_other_base(loaded.model, Path(adapter))
        updated = PeftModel.from_pretrained(loaded.model, str(adapter), local_files_only=True)
    return LoadedModel(updated.merge_and_unload(), loaded.tokenizer, loaded.device)


@contextmanager
def on_cores(count: int) -> Iterator[None]:
    """Compute on `count` cores, whatever this process was left with; then as before.

    Sums are cut by the number of threads, so the last digits depend on it. It is not only ours to
    set: numba's OpenMP layer, which UMAP starts, sets it for torch too and leaves it so.
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
    """Let the stream pass the final norm unchanged, so that its end can be read as a layer."""
    base = model.base_model
    name = next((name for name in NORMS if hasattr(base, name)), None)
    if name is None:
        raise UserError(f"{type(base).__name__}: the final norm has none of the names {NORMS}.")
    setattr(base, name, nn.Identity())


def _weights(auto: Any, folder: Path | str, config: Any, dtype: torch.dtype, **spread: Any) -> Any:
    model, found = auto.from_pretrained(
        folder,
        config=config,
        dtype=dtype,
        **_source(),
        **spread,
        use_safetensors=True,
        ignore_mismatched_sizes=True,  # so that they are reported, and refused below
        output_loading_info=True,
    )
    wrong = sorted(map(str, [*found["missing_keys"], *found["mismatched_keys"]]))
    if wrong:
        raise UserError(
            f"{folder}: the weights do not fit config.json; {len(wrong)} are missing or of another "
            f"shape, such as {wrong[0]}. Use the folder as it was saved."
        )
    return model


def _source() -> dict[str, bool]:
    return {"local_files_only": True, "trust_remote_code": environment.trusts_code()}


def _has_a_base(config: Any) -> bool:
    """Whether a model can be read without its head; one with code of its own may not say how."""
    own = getattr(config, "auto_map", None) if environment.trusts_code() else None
    return not own or "AutoModel" in own


def cut(model: Any, blocks: int) -> Any:
    """The first `blocks` blocks of a whole causal language model, without head and final norm."""
    base = model.base_model
    shorten(base.config, blocks)
    base.layers = base.layers[:blocks]
    drop_final_norm(base)
    return base


def _refuse_other_base(model: Any, adapter: Path) -> None:
    """Updates of modules that a model lacks would be left out silently by the library."""
    with safe_open(adapter / UPDATES, framework="pt") as file:
        names = [name for name in file.keys() if ".lora_" in name]  # noqa: SIM118
    known = dict(model.named_modules())
    targets = {name.removeprefix("base_model.model.").partition(".lora_")[0] for name in names}
    unknown = sorted(targets - known.keys())
    if unknown or not targets:
        lacks = f"which lacks {unknown[0]}" if unknown else "or holds no low-rank updates"
        raise UserError(f"{adapter}: it was not trained from its base, {lacks}.")


@contextmanager
def _explaining(folder: Path | str, needs: str = "config.json") -> Iterator[None]:
    """Name the folder in every complaint of the library, and keep its notices quiet."""
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
