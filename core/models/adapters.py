"""Low-rank adapters as models: a folder of updates, and the folder of the model they are for.

An adapter is what peft saves: `adapter_config.json`, which names its base, and
`adapter_model.safetensors`. Wherever a model folder is taken an adapter's may stand; it is read as
its base with the updates added. The base must lie on this machine: named as on a hub, it is the
folder of that name beside the adapter, where `pairtrace fetch` puts both. Loads no weights
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
