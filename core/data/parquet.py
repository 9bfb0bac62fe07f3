"""Parquet, some rows at a time, from a file that may have been made to fill the memory.

A small file can stand for very much: zeros pack a thousandfold, and a dictionary says a long text
once for a million rows. So a file is refused where its own figures say that it unpacks to more than
any text does, rows are read so few at a time that their texts fit even if each is the longest that
the dictionary can hold, and what was read is counted. Knows nothing of what rows mean.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.parquet as pq

from core.data.schema import MAX_COLUMNS
from core.errors import UserError

BATCH = 1024  # rows in memory at once, at most
BUFFER = 1 << 20  # bytes of a column read ahead
BUDGET = 1 << 28  # bytes of texts that one batch may unpack to
FREE = 1 << 30  # bytes that any file may unpack to
MAX_RATIO = 200  # unpacked to packed; real texts reach 10, the same few texts again and again 50
DICTIONARY_PAGE = 2
LONGEST_HEADER = 64  # bytes in which a page's kind and unpacked size are said


@contextmanager
def readable(path: Path, kind: str = "Parquet") -> Iterator[None]:
    """What pyarrow refuses of a file of this kind, as a `UserError` that names it."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable {kind} file ({error}). Copy it again.") from error


def batches(
    path: Path, rows: int = BATCH, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """The rows of a file, at most so many at a time, as they are asked for.

    By default whole columns are read ahead: 1.2 GB for 378k pairs that lie in one row group.
    `UserError` with figures where the file unpacks to too much; pyarrow's own errors where it is no
    Parquet file.
    """
    with (
        path.open("rb") as stream,
        pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False) as file,
    ):
        yield from _batches(file, stream, str(path), rows, columns)


def batches_of(content: bytes, name: str) -> Iterator[pa.RecordBatch]:
    """The same of a file in memory, called `name` in errors."""
    with io.BytesIO(content) as stream, pq.ParquetFile(pa.BufferReader(content)) as file:
        yield from _batches(file, stream, name, BATCH, None)


def _batches(
    file: pq.ParquetFile,
    stream: IO[bytes],
    name: str,
    rows: int,
    columns: Sequence[str] | None,
) -> Iterator[pa.RecordBatch]:
    size = stream.seek(0, 2)
    _refuse_columns(name, len(file.schema_arrow.names))
    _refuse_unpacked(name, _said_unpacked(file.metadata), size)
    seen = 0
    rows = min(rows, _rows_at_once(stream, file.metadata))
    for batch in file.iter_batches(rows, columns=columns):
        seen += _unfolded(batch)
        _refuse_unpacked(name, seen, size)
        batch.validate(full=True)
        yield batch


def _unfolded(batch: pa.RecordBatch) -> int:
    """Bytes of a batch; without columns that stay folded, whose dictionary is there each time."""
    return sum(c.nbytes for c in batch.columns if not pa.types.is_dictionary(c.type))


def _refuse_columns(name: str, n: int) -> None:
    if n > MAX_COLUMNS:
        raise UserError(
            f"{name}: has {n:,} columns; at most {MAX_COLUMNS} are read. Keep those that matter."
        )


def _refuse_unpacked(name: str, unpacked: int, packed: int) -> None:
    if unpacked > max(FREE, MAX_RATIO * packed):
        raise UserError(
            f"{name}: {packed:,} bytes that unpack to {unpacked / 1e9:,.1f} GB or more, over "
            f"{MAX_RATIO} times as much. Texts do not pack so well, so it is not read. Save it "
            "without the columns that repeat."
        )


def _said_unpacked(metadata: pq.FileMetaData) -> int:
    """Bytes of all pages once they are unpacked, dictionaries said once, as the file claims."""
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    return sum(int(group.total_byte_size) for group in groups)


def _rows_at_once(stream: IO[bytes], metadata: pq.FileMetaData) -> int:
    """So few that `BUDGET` holds them, were every text the longest that its column can hold."""
    longest = 1
    for i in range(metadata.num_row_groups):
        group = metadata.row_group(i)
        values = (group.column(j) for j in range(metadata.num_columns))
        row = sum(_longest(stream, column) * _per_row(column, group.num_rows) for column in values)
        longest = max(longest, row)
    return max(1, BUDGET // longest)


def _per_row(column: pq.ColumnChunkMetaData, rows: int) -> int:
    """Values in a row, on average: lists hold several."""
    return -(-int(column.num_values) // max(1, rows))


def _longest(stream: IO[bytes], column: pq.ColumnChunkMetaData) -> int:
    """Bytes of a column's longest text at most, where the file need not say it for each row."""
    if column.physical_type != "BYTE_ARRAY" or not column.num_values:
        return 0
    if "DELTA_BYTE_ARRAY" in column.encodings:  # each text begins as the last one did
        return int(column.total_uncompressed_size)
    place = column.dictionary_page_offset or column.data_page_offset
    kind, unpacked = _page(stream, min(place, column.data_page_offset))
    return unpacked if kind == DICTIONARY_PAGE else 0


def _page(stream: IO[bytes], place: int) -> tuple[int, int]:
    """Kind and unpacked size of a page: fields 1 and 2 of its header, in Thrift's compact form."""
    stream.seek(place)
    header = stream.read(LONGEST_HEADER)
    numbers, at = [], 0
    for _ in range(2):
        if header[at : at + 1] != b"\x15":  # the next field, a 32-bit integer
            raise pa.ArrowInvalid("a page's header is damaged")
        number, at = _varint(header, at + 1)
        numbers.append((number >> 1) ^ -(number & 1))
    return numbers[0], numbers[1]


def _varint(header: bytes, at: int) -> tuple[int, int]:
    number = 0
    for place, byte in enumerate(header[at : at + 5]):
        number |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return number, at + place + 1
    raise pa.ArrowInvalid("a page's header is damaged")
