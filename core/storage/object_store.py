"""The files of an index's shards: in the index folder, or under a URL that fsspec knows.

    shards/      the files; or, of those that are elsewhere, the copies that were read so far
    shards.url   where they are, if not here: a folder of an object store (s3://bucket/…)

Here a file is whole or not there. Elsewhere that depends on the store: object stores keep this
promise themselves, and where one does not, the checksum does, which is written last and looked at
first (core.attribution.index). A copy is kept once it has been read, since a ranking scans a layer
several times. Knows names and bytes only.
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
        """Path or URL of a file, for people to read."""
        return str(self.folder / name)

    def open(self, name: str) -> BinaryIO:
        """A file to read; `FileNotFoundError` where there is none."""
        return (self.folder / name).open("rb")

    def write(self, name: str, data: bytes) -> None:
        """Write a file whole, over an earlier one."""
        write_atomic(self.folder / name, data)

    def on_disk(self, name: str) -> Path:
        """A file on this machine's disk, fetched if need be."""
        return self.folder / name

    def drop_copy(self, name: str) -> None:
        """Free what `on_disk` fetched."""

    def adopt(self, theirs: "ShardFiles", name: str, new: str) -> None:
        """Take over another index's file: linked where both are here, or else copied."""
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
    """Files by name, under a URL; copies lie in the index folder."""

    remote = True

    def __init__(self, folder: Path, url: str) -> None:
        super().__init__(folder)
        self.url = url
        self.system, self.root = _file_system(url)
        self.system.invalidate_cache()  # other processes write there too
        sweep(self.folder)  # copies that were being fetched

    def where(self, name: str) -> str:
        """URL of a file."""
        return f"{self.url}/{name}"

    def open(self, name: str) -> BinaryIO:
        """A file to read, as it is in the store."""
        return cast(BinaryIO, self.system.open(f"{self.root}/{name}", "rb"))

    def write(self, name: str, data: bytes) -> None:
        """Upload a file; a copy of an earlier one is no longer right."""
        self.drop_copy(name)
        self.system.pipe_file(f"{self.root}/{name}", data)

    def on_disk(self, name: str) -> Path:
        """The copy, fetched where there is none."""
        copy = self.folder / name
        if not copy.exists():
            with writing_atomic(copy) as part:
                self.system.get_file(f"{self.root}/{name}", str(part))
        return copy

    def drop_copy(self, name: str) -> None:
        """Delete the copy."""
        (self.folder / name).unlink(missing_ok=True)

    def clear(self) -> None:
        """Delete all files and copies, and the folder (`url_of` answers for its being ours)."""
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
    """Those of an index folder."""
    url = url_of(folder)
    return RemoteFiles(folder, url) if url else ShardFiles(folder)


def url_of(folder: Path) -> str:
    """Where an index folder's shards are; empty: in it."""
    place = folder / PLACE
    if not place.exists():
        return ""
    url = place.read_bytes().decode(errors="replace")
    if not re.fullmatch(rf".+/{re.escape(folder.parent.name)}-[0-9a-f]{{8}}", url):
        raise UserError(
            f"{place}: damaged: {url[:200]!r} is no folder of this index's shards. Delete the "
            "run's folder and index again."
        )
    return url


def settle(folder: Path, under: str) -> None:
    """Choose a new folder under a URL for the shards; `UserError` if they cannot be there.

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
    """The folder that a URL names, where it is one of this machine's and not in a store."""
    from fsspec.core import split_protocol

    protocol, path = split_protocol(url)
    return Path(path).resolve() if protocol in (None, "file", "local") else None


def _file_system(url: str) -> tuple[Any, str]:
    from fsspec.core import url_to_fs  # only shards that are elsewhere need it

    try:
        system, root = url_to_fs(url)
    except (ValueError, ImportError) as error:
        raise UserError(f"{url}: {error}") from error
    return system, root
