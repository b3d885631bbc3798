"""Parquet files of one column, header by header, so that each number in them can be a lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

Field = "int | bytes | list[Field] | dict[int, Field]"

I32, BINARY, LIST, STRUCT = 5, 8, 9, 12


def varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes([*found, value])


def encoded(value: object) -> tuple[int, bytes]:
    """A value as Thrift's compact protocol has it: its type, and its bytes."""
    if isinstance(value, bytes):
        return BINARY, varint(len(value)) + value
    if isinstance(value, Mapping):
        return STRUCT, struct(value)
    if isinstance(value, Sequence):
        items = [encoded(item) for item in value]
        kind = items[0][0] if items else STRUCT
        return LIST, bytes([0xF0 | kind]) + varint(len(items)) + b"".join(data for _, data in items)
    assert isinstance(value, int)
    return I32, varint(value << 1 if value >= 0 else (-value << 1) - 1)


def struct(fields: Mapping[int, object]) -> bytes:
    """Fields by number, each with its number written out."""
    found = b""
    for number, value in fields.items():
        kind, data = encoded(value)
        found += bytes([kind]) + varint(number << 1) + data
    return found + b"\0"


@dataclass(frozen=True)
class Page:
    """A page of so many values, without content unless it says so."""

    values: int = 100
    unpacked: int = 800
    kind: int = 0
    encoding: int = 0
    content: bytes = b""
    packed: int | None = None

    def bytes(self) -> bytes:
        """Its header and its content."""
        more = {0: 5, 2: 7, 3: 8}.get(self.kind, 5)
        said = {1: self.values, (4 if self.kind == 3 else 2): self.encoding}
        packed = len(self.content) if self.packed is None else self.packed
        return struct({1: self.kind, 2: self.unpacked, 3: packed, more: said}) + self.content


@dataclass(frozen=True)
class Column:
    """A column of these pages, in one row group of so many rows."""

    pages: Sequence[Page] = (Page(),)
    rows: int = 100
    codec: int = 6
    path: Sequence[bytes] = (b"pid",)
    changes: Mapping[int, object] = field(default_factory=dict)

    def file(self, footer_bytes: int | None = None) -> bytes:
        """The whole file. `changes`: fields of the column's description, by number."""
        body = b"".join(page.bytes() for page in self.pages)
        column = {1: 1, 2: [0], 3: list(self.path), 4: self.codec, 5: 100, 6: 1, 7: len(body), 9: 4}
        group = {1: [{2: 4, 3: {**column, **self.changes}}], 2: 1, 3: self.rows}
        footer = struct({1: 1, 2: [{4: b"schema"}], 3: self.rows, 4: [group]})
        size = len(footer) if footer_bytes is None else footer_bytes
        return b"PAR1" + body + footer + size.to_bytes(4, "little") + b"PAR1"
