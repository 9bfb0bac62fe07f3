"""Low-rank adapters as models: a folder of updates, and the folder of the model they are for.

An adapter is what peft saves: `adapter_config.json`, which names its base, and
`adapter_model.safetensors`. Wherever a model folder is taken an adapter's may stand; it is read as
its base with the updates added. The base must lie on this machine. Loads no weights
(core.models.loading).
"""

from pathlib import Path

from core.data.notation import json_file
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
    config = json_file(folder / CONFIG)
    named = config.get(BASE) if isinstance(config, dict) else None
    base = folder / str(named or "")
    if not named or not _is_model(base):
        raise UserError(
            f"{folder}: its base {str(named)[:300]!r} is not a model folder on this machine. Set "
            f"{BASE} in {CONFIG} to the reference's folder, if that is what it was trained from."
        )
    return base.resolve()


def _is_model(folder: Path) -> bool:
    try:
        return (folder / "config.json").is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
