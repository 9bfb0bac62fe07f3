"""Low-rank adapters as models: a folder of updates, and the folder of the model they are for.

An adapter is what peft saves: `adapter_config.json`, which names its base, and
`adapter_model.safetensors`. Wherever a model folder is taken an adapter's may stand; it is read as
its base with the updates added. The base must lie on this machine. Loads no weights
(core.models.loading).
"""

import json
from pathlib import Path

from core.errors import UserError

CONFIG = "adapter_config.json"
UPDATES = "adapter_model.safetensors"
BASE = "base_model_name_or_path"


def is_adapter(folder: Path | str) -> bool:
    """Whether a folder holds updates and no model of its own."""
    return (Path(folder) / CONFIG).is_file() and not (Path(folder) / "config.json").is_file()


def base_of(adapter: Path | str) -> Path:
    """The model folder that an adapter's updates are for; a relative path starts at the adapter.

    Raises `UserError` where it is not on this machine, is an adapter itself, or where the updates
    are not safetensors.
    """
    folder = Path(adapter)
    if not (folder / UPDATES).is_file():
        raise UserError(f"{folder}: holds no {UPDATES}. Other formats are not loaded.")
    try:
        named = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get(BASE)
    except (ValueError, AttributeError) as error:
        raise UserError(f"{folder / CONFIG}: not readable ({error}).") from error
    base = folder / str(named or "")
    if not named or not (base / "config.json").is_file():
        raise UserError(
            f"{folder}: its base {named!r} is not a model folder on this machine. Set {BASE} in "
            f"{CONFIG} to the reference's folder, if that is what it was trained from."
        )
    return base.resolve()
