"""How much room a Parquet file takes in memory, by its own headers, before anything of it is unpacked.

A few kilobytes can claim to hold billions of values, and a reader that makes room for them first runs out of
memory. So the footer and the header of every page are read here, and added up. What unpacks and decodes to no
more than it claims is left to the Parquet reader: a page that lies about itself fails there. Encodings in
which a small page may decode to a large one without saying so are refused; mapcount writes none of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mapcount.live.thrift import Struct, ThriftError, read_struct

MAGIC = b"PAR1"
MOST_FOOTER_BYTES = 1 << 20
MOST_LIST_VALUES = 1 << 22
"""Values of a column of lists in one row group: rows do not bound them."""
VALUE_BYTES = 8
"""Of a value when it is decoded, however small it was."""

UNPACKED = {0: "none", 1: "snappy", 6: "zstd"}
"""Compressions that are read, by their number: their output fills a buffer of the size that is claimed."""
ENCODINGS = {0: "plain", 2: "dictionary", 3: "run lengths", 8: "dictionary"}
"""Encodings that are read, by their number."""
DATA_PAGE, DICTIONARY_PAGE, DATA_PAGE_V2 = 0, 2, 3


class ParquetError(ValueError):
    """A file that is not read, and why."""


@dataclass(frozen=True, slots=True)
class Page:
    """What a page's header claims."""

    dictionary: bool
    unpacked: int
    """Bytes."""
    values: int


def check_sizes(content: bytes, rows: int, most_bytes: int) -> int:
    """Bytes that the file takes unpacked and decoded. Raises ParquetError for more than `most_bytes`.

    Also unless it has so many rows, or if something in it is not read.
    """
    try:
        groups = _structs(_footer(content), 4)
        claimed = [_number(group, 3) for group in groups]
        if sum(claimed) != rows or min(claimed, default=0) < 0:
            raise ParquetError(f"has {sum(claimed)} rows, meta.json says {rows}")
        total = 0
        for group, nr in zip(groups, claimed, strict=True):
            for chunk in _structs(group, 1):
                total += _chunk(content, _struct(chunk, 3), nr, most_bytes - total)
    except ThriftError as error:
        raise ParquetError(f"is no Parquet file that can be read ({error})") from None
    return total


def _footer(content: bytes) -> Struct:
    if len(content) < 12 or content[:4] != MAGIC or content[-4:] != MAGIC:
        raise ParquetError("is no Parquet file that can be read (it does not begin and end as one)")
    size = int.from_bytes(content[-8:-4], "little")
    if size > MOST_FOOTER_BYTES:
        raise ParquetError(f"has a footer of {size} bytes, at most {MOST_FOOTER_BYTES} are read")
    return read_struct(content, max(0, len(content) - 8 - size), len(content) - 8)[0]


def _chunk(content: bytes, column: Struct, rows: int, most_bytes: int) -> int:
    """Bytes that one column of one row group takes."""
    path = [part for part in _list(column, 3) if isinstance(part, bytes)]
    name = b".".join(path).decode("utf-8", "replace")
    codec = _number(column, 4)
    if codec not in UNPACKED:
        known = ", ".join(UNPACKED.values())
        raise ParquetError(f"column {name!r} has compression {codec}, and only these are read: {known}")
    most_values = rows if len(path) == 1 else MOST_LIST_VALUES
    taken = values = 0
    for page in _pages(content, column, name):
        if page.dictionary and page.values > page.unpacked:
            raise ParquetError(f"column {name!r} has a dictionary of {page.values} in {page.unpacked} bytes")
        values += page.values * (not page.dictionary)
        if values > most_values:
            raise ParquetError(f"column {name!r} has {values} values, at most {most_values} are read")
        taken += page.unpacked + VALUE_BYTES * page.values
        if taken > most_bytes:
            raise ParquetError(
                f"unpacks to more than is read, by {taken - most_bytes} bytes in column {name!r}"
            )
    return taken


def _pages(content: bytes, column: Struct, name: str) -> Iterator[Page]:
    """The pages of a column, from where it begins to where it ends."""
    at = _number(column, 11) if 11 in column else _number(column, 9)
    end = at + _number(column, 7)
    if not 4 <= at <= end <= len(content):
        raise ParquetError(f"column {name!r} lies outside of the file")
    while at < end:
        header, at = read_struct(content, at, end)
        unpacked, packed = _number(header, 2), _number(header, 3)
        if not (0 <= unpacked and 0 <= packed <= end - at):
            raise ParquetError(f"column {name!r} has a page of {packed} bytes, which it has no room for")
        at += packed
        # By kind: the field with what else there is to say, and that of the encoding in it.
        kinds = {DATA_PAGE: (5, 2), DICTIONARY_PAGE: (7, 2), DATA_PAGE_V2: (8, 4)}
        kind = _number(header, 1)
        if kind not in kinds:
            raise ParquetError(f"column {name!r} has a page of kind {kind}, which is not read")
        more, encoding = kinds[kind]
        said = _struct(header, more)
        if _number(said, encoding) not in ENCODINGS:
            raise ParquetError(f"column {name!r} has encoding {_number(said, encoding)}, which is not read")
        values = _number(said, 1)
        if values < 0:
            raise ParquetError(f"column {name!r} has a page of {values} values")
        yield Page(kind == DICTIONARY_PAGE, unpacked, values)


def _number(struct: Struct, field: int) -> int:
    value = struct.get(field)
    if not isinstance(value, int):
        raise ThriftError(f"a header has no number {field}")
    return value


def _struct(struct: Struct, field: int) -> Struct:
    value = struct.get(field)
    if not isinstance(value, dict):
        raise ThriftError(f"a header has no struct {field}")
    return value


def _list(struct: Struct, field: int) -> list[object]:
    value = struct.get(field)
    if not isinstance(value, list):
        raise ThriftError(f"a header has no list {field}")
    return list(value)


def _structs(struct: Struct, field: int) -> list[Struct]:
    return [each for each in _list(struct, field) if isinstance(each, dict)]
