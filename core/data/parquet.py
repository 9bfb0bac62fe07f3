"""Parquet files read in batches of bounded memory, against decompression bombs.

A small file can unpack to very much: zeros compress a thousandfold, and a dictionary stores a long
text once for a million rows. So a file is refused where its footer declares more than any text
unpacks to, batches have so few rows that they fit even if every text is as long as the column's
whole dictionary, and the bytes read are counted. pyarrow has no such limit of its own, and a limit
on the process's memory would need a child process for every file. Knows nothing of what rows mean.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from core.data.schema import MAX_COLUMNS
from core.errors import UserError

BATCH = 1024  # rows in memory at once, at most
BUFFER = 1 << 20  # bytes of a column read ahead
BUDGET = 1 << 28  # bytes of texts that one batch may unpack to
FREE = 1 << 30  # bytes that any file may unpack to
MAX_RATIO = 200  # unpacked to packed; real texts reach 10, the same few texts repeated 50
DICTIONARY_PAGE = 2
LONGEST_HEADER = 64  # bytes that contain a page's type and unpacked size


@contextmanager
def readable(path: Path, kind: str = "Parquet") -> Iterator[None]:
    """Turns pyarrow's errors into a `UserError` that names the file and its kind."""
    try:
        yield
    except (pa.ArrowException, OSError, ValueError) as error:
        raise UserError(f"{path}: not a readable {kind} file ({error}). Copy it again.") from error


def batches(
    source: Path | bytes, rows: int = BATCH, columns: Sequence[str] | None = None, *, name: str = ""
) -> Iterator[pa.RecordBatch]:
    """The rows of a file, or of a file's content called `name` in errors, at most `rows` at a time.

    Columns are not read ahead, which pyarrow does by default: that takes 1.2 GB for 378k pairs in
    one row group. `UserError` with figures where the file unpacks to too much; pyarrow's own errors
    where it is no Parquet file.
    """
    opened = pa.OSFile(str(source)) if isinstance(source, Path) else pa.BufferReader(source)
    with opened as stream, pq.ParquetFile(stream, buffer_size=BUFFER, pre_buffer=False) as file:
        name, size, n = name or str(source), stream.size(), len(file.schema_arrow.names)
        if n > MAX_COLUMNS:
            raise UserError(
                f"{name}: has {n:,} columns; at most {MAX_COLUMNS} are read. Keep those that "
                "matter."
            )
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        _refuse_unpacked(name, sum(int(group.total_byte_size) for group in groups), size)
        unpacked = 0
        for batch in file.iter_batches(min(rows, _rows_at_once(stream, groups)), columns=columns):
            unpacked += _unpacked_size(batch)
            _refuse_unpacked(name, unpacked, size)
            batch.validate(full=True)
            yield batch


def _unpacked_size(batch: pa.RecordBatch) -> int:
    """Bytes of a batch, without columns that stay dictionaries: each batch has all of those."""
    return sum(c.nbytes for c in batch.columns if not pa.types.is_dictionary(c.type))


def _refuse_unpacked(name: str, unpacked: int, packed: int) -> None:
    if unpacked > max(FREE, MAX_RATIO * packed):
        raise UserError(
            f"{name}: {packed:,} bytes that unpack to {unpacked / 1e9:,.1f} GB or more, over "
            f"{MAX_RATIO} times as much. Texts do not pack so well, so it is not read. Save it "
            "without the columns that repeat."
        )


def _rows_at_once(stream: pa.NativeFile, groups: Sequence[pq.RowGroupMetaData]) -> int:
    """So few rows that `BUDGET` covers them, were every text the longest that its column allows."""
    longest = 1
    for group in groups:
        columns = [group.column(j) for j in range(group.num_columns)]
        values = [-(-int(column.num_values) // max(1, group.num_rows)) for column in columns]
        texts = [_longest_text(stream, column) for column in columns]
        longest = max(longest, sum(n * text for n, text in zip(values, texts, strict=True)))
    return max(1, BUDGET // longest)


def _longest_text(stream: pa.NativeFile, column: pq.ColumnChunkMetaData) -> int:
    """Bytes of the longest text that a column need not store for each row; 0 if it stores all."""
    if column.physical_type != "BYTE_ARRAY" or not column.num_values:
        return 0
    if "DELTA_BYTE_ARRAY" in column.encodings:  # each text begins like the one before
        return int(column.total_uncompressed_size)
    place = column.dictionary_page_offset or column.data_page_offset
    kind, unpacked = _page_header(stream, min(place, column.data_page_offset))
    return unpacked if kind == DICTIONARY_PAGE else 0


def _page_header(stream: pa.NativeFile, place: int) -> tuple[int, int]:
    """A page's type and unpacked size: the first fields of its header, in Thrift's compact form."""
    stream.seek(place)
    header = iter(stream.read(LONGEST_HEADER))
    numbers = []
    for _ in range(2):
        if next(header, None) != 0x15:  # the next field, a 32-bit integer
            raise pa.ArrowInvalid("a page's header is damaged")
        number = bits = 0
        for byte in header:
            number |= (byte & 0x7F) << bits
            bits += 7
            if byte < 0x80:
                break
        numbers.append((number >> 1) ^ -(number & 1))  # zigzag
    return numbers[0], numbers[1]
