"""The shard files of an index: in the index folder, or under a URL that fsspec knows.

    shards/      the files; or local copies of remote files that were read
    shards.url   where they are, if remote: a folder of an object store (s3://bucket/…)

Writes are atomic: here by rename; remotely by the object store, or else by the checksum, which is
written last and read first (core.attribution.index). A copy stays once it was read, since a ranking
scans a layer several times. Knows names and bytes only.
"""

import os
import re
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, cast
from uuid import uuid4

from core.errors import UserError
from core.storage.atomic import sweep, write_atomic, writing_atomic

PLACE = "shards.url"


class ShardFiles:
    """Files by name, in the index folder."""

    remote = False

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "shards"

    def where(self, name: str) -> str:
        """Path or URL of a file, for messages."""
        return str(self.folder / name)

    def exists(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.folder / name).exists()

    def open(self, name: str) -> BinaryIO:
        """A file to read; `FileNotFoundError` where there is none."""
        return (self.folder / name).open("rb")

    def write(self, name: str, data: bytes) -> None:
        """Write a file atomically, over an earlier one."""
        write_atomic(self.folder / name, data)

    def on_disk(self, name: str) -> Path:
        """A file on this machine's disk, downloaded if remote."""
        return self.folder / name

    def drop_copy(self, name: str) -> None:
        """Delete what `on_disk` downloaded."""

    def adopt(self, theirs: "ShardFiles", name: str, new: str) -> None:
        """Take another index's file: a hard link where both are local, or else a copy."""
        if not (self.remote or theirs.remote):
            path = self.on_disk(new)
            path.unlink(missing_ok=True)
            with suppress(OSError):  # another file system
                os.link(theirs.on_disk(name), path)
                return
        with theirs.open(name) as stream:
            self.write(new, stream.read())

    def clear(self) -> None:
        """Delete all files."""
        if self.folder.exists():
            shutil.rmtree(self.folder)


class RemoteFiles(ShardFiles):
    """Files by name, under a URL; copies are in the index folder."""

    remote = True

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder)
        self.url = url
        self.system, self.root = _file_system(url)
        self.system.invalidate_cache()  # other processes write there too
        sweep(self.folder)  # downloads of killed processes

    def where(self, name: str) -> str:
        """URL of a file."""
        return f"{self.url}/{name}"

    def exists(self, name: str) -> bool:
        """Whether the store has such a file now, whatever another process changed."""
        self.system.invalidate_cache()
        return bool(self.system.exists(f"{self.root}/{name}"))

    def open(self, name: str) -> BinaryIO:
        """A file to read, from the store."""
        return cast(BinaryIO, self.system.open(f"{self.root}/{name}", "rb"))

    def write(self, name: str, data: bytes) -> None:
        """Upload a file; a copy of an earlier one is deleted."""
        self.drop_copy(name)
        self.system.pipe_file(f"{self.root}/{name}", data)

    def on_disk(self, name: str) -> Path:
        """The local copy, downloaded where there is none."""
        copy = self.folder / name
        if not copy.exists():
            with writing_atomic(copy) as part:
                self.system.get_file(f"{self.root}/{name}", str(part))
        return copy

    def drop_copy(self, name: str) -> None:
        """Delete the copy."""
        (self.folder / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete all files and copies, and the folder (`url_of` checks that it is this index's)."""
        super().clear()
        try:
            if self.system.exists(self.root):
                self.system.rm(self.root, recursive=True)
        except Exception as error:  # each store has errors of its own
            raise UserError(
                f"{self.url}: shards cannot be deleted there ({error!r}). Do the same again once "
                "they can be."
            ) from error


def shard_files(folder: Path) -> ShardFiles:
    """The shard files of an index folder."""
    url = url_of(folder)
    return RemoteFiles(folder, url) if url else ShardFiles(folder)


def url_of(folder: Path) -> str:
    """The URL of an index folder's shards; empty where they are in it."""
    place = folder / PLACE
    if not place.exists():
        return ""
    url = place.read_bytes().decode(errors="replace")
    if not re.fullmatch(rf".+/{re.escape(folder.parent.name)}-[0-9a-f]{{8}}", url):
        raise UserError(
            f"{place}: damaged: {url[:200]!r} is not a folder of this index's shards. Delete the "
            "run's folder and index again."
        )
    return url


def settle(folder: Path, under: str) -> None:
    """Create a new folder under a URL for the shards; `UserError` where that fails.

    Its name is never used again: two workspaces do not write over each other's shards.
    """
    url = f"{under if under.endswith('/') else f'{under}/'}{folder.parent.name}-{uuid4().hex[:8]}"
    system, root = _file_system(url)
    try:
        system.mkdir(root, create_parents=False)
    except Exception as error:  # each store has errors of its own
        raise UserError(
            f"{under}: shards cannot be written there ({error!r}). It must be a folder or bucket "
            "that exists and that you may write to."
        ) from error
    write_atomic(folder / PLACE, url)


def on_this_machine(url: str) -> Path | None:
    """The local folder that a URL names, or None where it is in a store."""
    from fsspec.core import split_protocol

    protocol, path = split_protocol(url)
    return Path(path).resolve() if protocol in (None, "file", "local") else None


def _file_system(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs  # slow to import; only remote shards need it

    try:
        system, root = url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise UserError(f"{url}: {error}") from error
    return system, root
