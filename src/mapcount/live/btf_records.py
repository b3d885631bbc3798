"""A BTF file as records: which types there are, of which kind and name, before asking what they mean.

A file is a header, a stretch of type records and a stretch of zero-terminated names. A record is three
32-bit words (name, kind and length, size or another type's number) and what its kind adds. Types are
numbered in order of appearance from 1; 0 is `void`.

A file is not trusted: whatever is in it, the answer is the right one or a `BtfError`. Only little-endian
files are read.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np

MAGIC = 0xEB9F
HEADER = struct.Struct("<HBBIIIII")
"""magic, version, flags, header length; offset and length of the types, then of the names."""
MOST_BYTES = 1 << 28
"""A file larger than this is refused; a kernel's has some 10 MB."""


class Kind(IntEnum):
    """What a type record describes, as numbered in the format."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


WORDS_ONCE = {Kind.INT: 1, Kind.ARRAY: 3, Kind.VAR: 1, Kind.DECL_TAG: 1}
"""Words that follow the three of a record of that kind."""
WORDS_EACH = {
    Kind.STRUCT: 3,
    Kind.UNION: 3,
    Kind.ENUM: 2,
    Kind.FUNC_PROTO: 2,
    Kind.DATASEC: 3,
    Kind.ENUM64: 3,
}
"""Words that follow for each of its members."""


class BtfError(ValueError):
    """A file that is no BTF, or lacks what was asked for; names the file and the reason."""


def load(path: str) -> bytes:
    """What is in a BTF file. Raises BtfError, naming the reason, if it cannot be read."""
    try:
        if not Path(path).is_file():  # so neither a pipe nor a device, which may never end
            raise BtfError(f"{path}: no such file")
        with open(path, "rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise BtfError(f"{path}: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise BtfError(f"{path}: has more than {MOST_BYTES >> 20} MiB, so it is no kernel's BTF")
    return data


@dataclass(frozen=True, slots=True)
class Record:
    """One type: what its first three words say, and what follows them."""

    number: int
    name: str
    """Empty for what has none."""
    kind: Kind
    flag: bool
    """For structures: members may be bit fields. For enumerations: values are signed."""
    size_or_type: int
    """Bytes, or the number of the type that this one is made from, by kind."""
    rest: tuple[tuple[int, ...], ...]
    """The words that follow: one tuple for each member, or one tuple in all."""


class Records:
    """The type records of one file, by number, found in one pass."""

    def __init__(self, data: bytes, source: str) -> None:
        """Find the records in `data`; `source` names it in messages. Raises BtfError."""
        self.source = source
        types, self._names = self._sections(data)
        self._words = np.frombuffer(types, "<u4")
        self._starts = self._find()
        self._kinds = (self._words[self._starts + 1] >> 24) & 0x1F

    def __len__(self) -> int:
        """How many types, without `void`."""
        return len(self._starts)

    def __getitem__(self, number: int) -> Record:
        """A type by its number. Raises BtfError if there is none."""
        if number == 0:
            return Record(0, "", Kind.VOID, False, 0, ())
        if not 0 < number <= len(self._starts):
            raise BtfError(f"{self.source}: is corrupt: it has no type {number}")
        at = int(self._starts[number - 1])
        name_at, info, size_or_type = self._words[at : at + 3].tolist()
        kind, members = Kind(info >> 24 & 0x1F), info & 0xFFFF
        each = WORDS_EACH.get(kind)
        end = at + 3 + (members * each if each else WORDS_ONCE.get(kind, 0))
        words = self._words[at + 3 : end]
        rest = tuple(map(tuple, words.reshape(-1, each or max(len(words), 1)).tolist()))
        return Record(number, self.name(name_at, number), kind, bool(info >> 31), size_or_type, rest)

    def name(self, at: int, number: int) -> str:
        """The name at a byte offset; `number` is the type that has it. Raises BtfError."""
        end = self._names.find(b"\0", at)
        if end < 0:
            raise self.corrupt(number, "has its name outside of the file")
        return self._names[at:end].decode("utf-8", "backslashreplace")

    def named(self, name: str, kinds: Collection[Kind]) -> Record | None:
        """The first type of that name and of one of these kinds."""
        text = name.encode() + b"\0"
        offsets, at = [], self._names.find(text)
        while at >= 0:  # inside a longer name too: names may share their ends
            offsets.append(at)
            at = self._names.find(text, at + 1)
        hit = np.isin(self._words[self._starts], offsets) & np.isin(self._kinds, list(kinds))
        return self[int(hit.argmax()) + 1] if hit.any() else None

    def corrupt(self, number: int, what: str) -> BtfError:
        """The error for a type that cannot be."""
        return BtfError(f"{self.source}: is corrupt: type {number} {what}")

    def _sections(self, data: bytes) -> tuple[bytes, bytes]:
        """The type records and the names."""
        if len(data) < HEADER.size:
            raise BtfError(f"{self.source}: is {len(data)} bytes long, too short for BTF")
        magic, version, _, length, type_off, type_len, str_off, str_len = HEADER.unpack_from(data)
        if magic == int.from_bytes(MAGIC.to_bytes(2, "little"), "big"):
            raise BtfError(f"{self.source}: is big-endian BTF; only little-endian is read here")
        if magic != MAGIC:
            raise BtfError(f"{self.source}: is no BTF (it begins with {magic:#06x}, not {MAGIC:#06x})")
        if version != 1 or length < HEADER.size:
            raise BtfError(f"{self.source}: is BTF version {version}; only version 1 is known")
        room = len(data) - length
        if type_off + type_len > room or str_off + str_len > room:
            raise BtfError(f"{self.source}: is truncated: it has {len(data)} bytes and promises more")
        types = data[length + type_off : length + type_off + type_len]
        names = data[length + str_off : length + str_off + str_len]
        if type_len % 4 or names[:1] != b"\0" or names[-1:] != b"\0":
            raise BtfError(f"{self.source}: is corrupt: its sections are not where the header says")
        return types, names

    def _find(self) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        """Where each record starts, in words.

        How long a record would be is computed for every word at once; then one pass hops from record to
        record.
        """
        once, each = np.full(32, -3), np.zeros(32, np.int64)
        for kind in Kind:
            if kind is not Kind.VOID:
                once[kind], each[kind] = WORDS_ONCE.get(kind, 0), WORDS_EACH.get(kind, 0)
        info = self._words[1:]
        lengths = (3 + once[info >> 24 & 0x1F] + each[info >> 24 & 0x1F] * (info & 0xFFFF)).tolist()
        starts: list[int] = []
        at, end = 0, len(self._words)
        while at < end - 2:
            starts.append(at)
            if not lengths[at]:
                raise self.corrupt(len(starts), f"is of the unknown kind {int(info[at]) >> 24 & 0x1F}")
            at += lengths[at]
        if at != end:
            raise self.corrupt(len(starts), "ends after the last byte")
        return np.array(starts, np.int64)
