"""Format of an index folder: how vectors are written, read and checked.

    manifest.json               model, pairs, settings, and all shards; written before any vector
    pairs.parquet               uid, lengths, offset and content of each pair, in index order
    tokens.bin                  their token ids, int32, from `offset`: prompt, chosen, rejected
    skipped.parquet             row, uid, field, reason of each pair that was left out
    mean-context-layer<l>.npy   μ, the mean context over all pairs, once all shards are written
    <shard>-layer<l>.npy        (3, pair, d_model): datapoint, chosen and context means
    <shard>-layer<l>.json       its SHA-256, written last: a shard without it does not exist

The last two are in `shards/`, or in an object store (core.storage.object_store).

Arrays are float16, or float32 where a value would overflow. The datapoint vector is stored rather
than the rejected mean (rejected = chosen − datapoint): it is small beside the means, so rounding
them first would cost it two more digits, and a scan reads one matrix, not two. Knows nothing of
models: `plan` decides what goes where, `build` computes it.
"""

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from core.errors import UserError
from core.storage.atomic import write_atomic
from core.storage.object_store import ShardFiles, shard_files
from core.storage.tables import data_frame

FORMAT = 1
REPAIR = "Run `pairtrace index verify`, then delete the run and index again."

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Shard:
    """Pairs `start` to `stop` of the index, and their tokens (unique prompts counted once)."""

    name: str
    start: int
    stop: int
    tokens: int


@dataclass(frozen=True)
class Manifest:
    """The model, pairs and settings of an index, and its shards."""

    model_hash: str
    template_hash: str
    pairs_hash: str
    layers: tuple[int, ...]
    d_model: int
    max_length: int
    dtype: str
    budget: int
    n_pairs: int
    n_skipped: int
    shards: tuple[Shard, ...]
    format: int = FORMAT


class Block(NamedTuple):
    """The pairs of one shard at one layer; the arrays are memory-mapped, (pair, d_model).

    The mean over rejected tokens is `chosen − datapoint`.
    """

    uids: NDArray[Any]
    datapoint: NDArray[Any]
    chosen: NDArray[Any]
    context: NDArray[Any]


class VectorIndex:
    """The vectors of an index folder."""

    def __init__(self, folder: Path, manifest: Manifest) -> None:
        self.folder = folder
        self.files = shard_files(folder)
        self.manifest = manifest
        self.layers = manifest.layers
        self.d_model = manifest.d_model
        self.template_hash = manifest.template_hash
        self.model_hash = manifest.model_hash
        self.uids: NDArray[Any] = read_pair_list(folder)["uid"].to_numpy(dtype=object)

    @classmethod
    def open(
        cls,
        folder: Path | str,
        *,
        model_hash: str | None = None,
        template_hash: str | None = None,
    ) -> "VectorIndex":
        """The index of a folder; `UserError` if another model or template made it."""
        index = cls(Path(folder), read_manifest(Path(folder)))
        for what, actual, digest in (
            ("model", index.model_hash, model_hash),
            ("template", index.template_hash, template_hash),
        ):
            if digest is not None and digest != actual:
                raise UserError(
                    f"{folder}: this index was made with another {what} ({actual[:12]}, not "
                    f"{digest[:12]}). Its vectors cannot be compared; index the pairs again."
                )
        return index

    def blocks(self, layer: int) -> Iterator[Block]:
        """The shards at a layer, in index order, memory-mapped."""
        if layer not in self.layers:
            raise UserError(
                f"{self.folder}: layer {layer} is not in this index, which has layers "
                f"{', '.join(map(str, self.layers))}. Index with --layers to add it."
            )
        for shard in self.manifest.shards:
            arrays = self._mapped(shard, layer)
            yield Block(self.uids[shard.start : shard.stop], *arrays)

    def drop_copies(self, layer: int) -> None:
        """Delete local copies of a layer's shards, if they are in an object store."""
        for shard in self.manifest.shards:
            self.files.drop_copy(array_name(shard.name, layer))

    def datapoint(self, layer: int) -> tuple[NDArray[Any], Floats]:
        """All uids and their datapoint vectors, (n_pairs, d_model), in memory."""
        return self.uids, self.rows(layer, "datapoint", np.arange(len(self.uids)))

    def context(self, layer: int) -> tuple[NDArray[Any], Floats]:
        """All uids and their context vectors, (n_pairs, d_model), in memory."""
        return self.uids, self.rows(layer, "context", np.arange(len(self.uids)))

    def rows(self, layer: int, which: str, numbers: NDArray[np.int64]) -> Floats:
        """Vectors of some pairs by row, (n, d_model), in the order given."""
        vectors = np.empty((len(numbers), self.d_model), np.float32)
        start = 0
        for block in self.blocks(layer):
            stop = start + len(block.uids)
            inside = (numbers >= start) & (numbers < stop)
            vectors[inside] = getattr(block, which)[numbers[inside] - start]
            start = stop
        return vectors

    def _mapped(self, shard: Shard, layer: int) -> NDArray[Any]:
        name, expected = array_name(shard.name, layer), (3, shard.stop - shard.start, self.d_model)
        where = self.files.where(name)
        try:
            arrays: NDArray[Any] = np.load(
                self.files.on_disk(name), mmap_mode="r", allow_pickle=False
            )
        except (OSError, EOFError, ValueError) as error:
            raise UserError(f"{where}: shard is missing or damaged ({error}). {REPAIR}") from error
        if arrays.shape != expected:
            raise UserError(f"{where}: has shape {arrays.shape}, not {expected}. {REPAIR}")
        return arrays


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an index folder."""
    path = folder / "manifest.json"
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
        if fields["format"] != FORMAT:
            raise UserError(f"{path}: format {fields['format']}, not {FORMAT}. Index again.")
        shards = tuple(Shard(**shard) for shard in fields.pop("shards"))
        return Manifest(**fields | {"layers": tuple(fields["layers"]), "shards": shards})
    except FileNotFoundError as error:
        raise UserError(f"{folder}: not a vector index (manifest.json is missing).") from error
    except (ValueError, RecursionError, KeyError, TypeError) as error:
        raise UserError(f"{path}: damaged ({error!r}). {REPAIR}") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write the manifest atomically; the same bytes for the same index."""
    write_atomic(folder / "manifest.json", json.dumps(asdict(manifest), indent=1) + "\n")


def read_pair_list(folder: Path) -> pd.DataFrame:
    """uid, n_prompt, n_chosen, n_rejected, offset, content of each pair, in index order."""
    return data_frame(folder / "pairs.parquet")


def array_name(shard: str, layer: int) -> str:
    """The file of one shard's vectors at one layer."""
    return f"{shard}-layer{layer}.npy"


def checksum_name(shard: str, layer: int) -> str:
    """The file of their checksum, which says that they are complete."""
    return f"{shard}-layer{layer}.json"


def write_vectors(folder: Path, shard: str, layer: int, vectors: Floats) -> None:
    """Write datapoint, chosen and context means, (3, pair, d_model), of a shard at a layer.

    The array is written first, its checksum last.
    """
    name, files = array_name(shard, layer), shard_files(folder)
    if not np.isfinite(vectors).all():
        raise ValueError(f"{name}: the model produced values that are not finite")
    fits = np.abs(vectors).max(initial=0) <= np.finfo(np.float16).max
    buffer = io.BytesIO()
    np.save(buffer, vectors.astype(np.float16 if fits else np.float32), allow_pickle=False)
    data = buffer.getvalue()
    checksum = {"sha256": hashlib.sha256(data).hexdigest()}
    files.write(name, data)
    files.write(checksum_name(shard, layer), json.dumps(checksum).encode())


def sweep(folder: Path) -> None:
    """Delete half-written shards of killed processes; only with the run's lock."""
    for part in (folder / "shards").glob("*.part"):
        part.unlink()


def problem(files: ShardFiles, shard: str, layer: int) -> str | None:
    """What is wrong with a shard's vectors at a layer, if anything."""
    try:
        with files.open(checksum_name(shard, layer)) as stream:
            expected = json.load(stream)["sha256"]
        with files.open(array_name(shard, layer)) as stream:
            actual = hashlib.file_digest(stream, "sha256").hexdigest()  # type: ignore[arg-type]
    except FileNotFoundError:
        return "missing"
    except (ValueError, KeyError, TypeError, RecursionError):
        return "its checksum cannot be read"
    return None if actual == expected else "its bytes are not those that were written"


def damaged(folder: Path, manifest: Manifest) -> Iterator[tuple[Shard, int, str]]:
    """Shard, layer and problem of all vectors of an index that are missing or not as written."""
    files = shard_files(folder)
    for shard in manifest.shards:
        for layer in manifest.layers:
            if (wrong := problem(files, shard.name, layer)) is not None:
                yield shard, layer, wrong


def verify(folder: Path | str) -> pd.DataFrame:
    """Check every shard against its checksum: `shard, layer, file, problem` of each bad one."""
    folder = Path(folder)
    files = shard_files(folder)
    bad = [
        (shard.name, layer, files.where(array_name(shard.name, layer)), wrong)
        for shard, layer, wrong in damaged(folder, read_manifest(folder))
    ]
    return pd.DataFrame(bad, columns=["shard", "layer", "file", "problem"])


def checksum(folder: Path | str) -> str:
    """One SHA-256, hex, over the checksums of all shards: the same for the same vectors."""
    folder = Path(folder)
    manifest, files = read_manifest(folder), shard_files(folder)
    digest = hashlib.sha256()
    for shard in manifest.shards:
        for layer in manifest.layers:
            with files.open(checksum_name(shard.name, layer)) as stream:
                digest.update(stream.read())
    return digest.hexdigest()
