"""Low-rank adapters as models: a folder of updates, and the folder of the model they are for.

An adapter is what peft saves: `adapter_config.json`, which names its base, and
`adapter_model.safetensors`. Wherever a model folder is taken an adapter's may stand; it is read as
its base with the updates added. The base must lie on this machine: named as on a hub, it is the
folder of that name beside the adapter, where `pairtrace fetch` puts both. Loads no weights
(core.models.loading).

Checkpoints whose weights were quantised before they were saved are refused by their settings.

Rounded weights have other activations and gradients than the model that was trained, and the
library would turn some of them back into floats without a word. Knows where each tool that
quantises says so: in config.json, or in a file of its own beside it. Loads nothing.
"""

from pathlib import Path
from typing import Any

from core.errors import UserError
from core.storage.parse import json_file

CONFIG = "adapter_config.json"
UPDATES = "adapter_model.safetensors"
BASE = "base_model_name_or_path"


def is_adapter(folder: Path | str) -> bool:
    """Whether a folder holds updates and no model of its own."""
    return (Path(folder) / CONFIG).is_file() and not (Path(folder) / "config.json").is_file()


def base_of(adapter: Path | str) -> Path:
    """The model folder that an adapter's updates are for.

    A relative path starts at the adapter; `owner/NAME`, as on a hub, is also `NAME` beside it.
    Raises `UserError` where it is not on this machine, is an adapter itself, or where the updates
    are not safetensors.
    """
    folder = Path(adapter)
    if not (folder / UPDATES).is_file():
        raise UserError(f"{folder}: holds no {UPDATES}. Other formats are not loaded.")
    config = json_file(folder / CONFIG)
    named = str((config.get(BASE) if isinstance(config, dict) else None) or "")
    for base in (folder / named, folder.parent / named.rpartition("/")[2]):
        if named and _is_model(base):
            return base.resolve()
    raise UserError(
        f"{folder}: its base {named[:300]!r} is not a model folder on this machine. Set {BASE} in "
        f"{CONFIG} to the reference's folder, if that is what it was trained from, or put the base "
        "beside the adapter under the last part of its name."
    )


def _is_model(folder: Path) -> bool:
    try:
        return (folder / "config.json").is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


KEYS = ("quantization_config", "compression_config", "quantization")  # the last is MLX's
FILES = ("quantize_config.json", "quant_config.json", "hf_quant_config.json")
METHODS = ("quant_method", "quant_algo", "mode")


def refuse_quantised(folder: Path | str) -> None:
    """`UserError` naming the file where a model folder's settings say that it is quantised."""
    path = Path(folder) / "config.json"
    config = json_file(path)
    for part in (config, config.get("text_config") if isinstance(config, dict) else None):
        for key in KEYS:
            if isinstance(part, dict) and part.get(key) is not None:
                raise _refusal(path, key, part[key])
    for name in FILES:
        if (Path(folder) / name).is_file():
            raise _refusal(Path(folder) / name, "", None)


def _refusal(path: Path, key: str, settings: Any) -> UserError:
    named = [settings.get(name) for name in METHODS] if isinstance(settings, dict) else []
    method = next((f" ({str(name)[:40]})" for name in named if name), "")
    where = f"{key} says" if key else "it says"
    return UserError(
        f"{path}: {where} that the weights are quantised{method}. Such checkpoints are not read: "
        "their activations are not those of the model that was trained. Use the checkpoint they "
        "were made from, whose weights are bfloat16, float16 or float32, and choose the arithmetic "
        "with --dtype."
    )
