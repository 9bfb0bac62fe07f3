"""Checkpoints whose weights were quantised before they were saved are refused by their settings.

Rounded weights have other activations and gradients than the model that was trained, and the
library would turn some of them back into floats without a word. Knows where each tool that
quantises says so: in config.json, or in a file of its own beside it. Loads nothing.
"""

from pathlib import Path
from typing import Any

from core.data.notation import json_file
from core.errors import UserError

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
