"""Published checkpoints and data sets, fetched at a commit.

The only module that contacts a hub, and only for `pairtrace fetch`. A branch or tag moves, so only
a full commit hash is accepted. Of a model only safetensors weights, settings and tokenizer are
fetched, of a data set only data: no pickles, and code only with `code=True`.
"""

import re
from pathlib import Path
from typing import Literal

from core.errors import UserError

Kind = Literal["model", "dataset"]
COMMIT = re.compile(r"[0-9a-f]{40}")
NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")
WANTED: dict[Kind, list[str]] = {
    "model": ["*.safetensors", "*.json", "*.jinja", "tokenizer.model", "LICENSE*", "README.md"],
    "dataset": ["*.parquet", "*.jsonl", "*.jsonl.gz", "*.json", "*.csv", "*.arrow", "README.md"],
}


def fetch(
    kind: Kind,
    name: str,
    revision: str,
    folder: Path,
    endpoint: str | None = None,
    *,
    code: bool = False,
) -> Path:
    """Write the files of `name` at a commit into `folder`, and keep what is there already.

    `code` includes a model's Python files. Fetching runs nothing.
    """
    if not NAME.fullmatch(name) or ".." in name:
        raise UserError(f"{name!r} is not a repository, such as allenai/OLMo-2-1124-7B-SFT.")
    if not COMMIT.fullmatch(revision):
        raise UserError(
            f"revision {revision!r}: give the full commit hash (40 digits) from the repository's "
            "history. Branches and tags move, and a run must name what it read."
        )
    from huggingface_hub import constants, snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
    )

    constants.HF_HUB_OFFLINE = False  # environment.prepare keeps every other command offline
    try:
        snapshot_download(
            name,
            repo_type=kind,
            revision=revision,
            local_dir=folder,
            allow_patterns=[*WANTED[kind], *(["*.py"] if code and kind == "model" else [])],
            endpoint=endpoint,
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"{name} at {revision[:8]}: cannot be fetched ({reason}).") from error
    if kind == "model" and not list(folder.glob("*.safetensors")):
        raise UserError(f"{name}: has no safetensors weights. Other formats are not loaded.")
    return folder
