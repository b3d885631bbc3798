"""BTF files for tests, built type by type; and the one that describes a declared layout of struct folio."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from mapcount.live.btf_records import Kind
from mapcount.tracking.layouts import Layout

PAGE_FLAGS = {"PG_locked": 0, "PG_head": 6, "PG_anon_exclusive": 11, "PG_partially_mapped": 16}
PAGE_TYPES = {"PGTY_buddy": 0xF0, "PGTY_hugetlb": 0xF4}

Part = tuple[str, int, int]
"""A member: its name, its type's number, where it starts in bits."""


class BtfFile:
    """Types in the order in which they are added; each method gives the new type's number, from 1 on."""

    def __init__(self) -> None:
        self._types: list[bytes] = []
        self._names = b"\0"

    def add(self, name: str, kind: int, vlen: int, third: int, *words: int, flag: bool = False) -> int:
        """Any record: its three words, then `words`."""
        info = kind << 24 | vlen | flag << 31
        self._types.append(struct.pack(f"<{3 + len(words)}I", self.name(name), info, third, *words))
        return len(self._types)

    def name(self, text: str) -> int:
        """Where a name is; it is added unless there."""
        if not text:
            return 0
        at = self._names.find(b"\0" + text.encode() + b"\0") + 1
        if not at:
            at = len(self._names)
            self._names += text.encode() + b"\0"
        return at

    def int(self, name: str, size: int, signed: bool = False) -> int:
        """A number of `size` bytes."""
        return self.add(name, Kind.INT, 0, size, signed << 24 | 8 * size)

    def pointer(self, to: int = 0) -> int:
        """A pointer."""
        return self.add("", Kind.PTR, 0, to)

    def array(self, of: int, count: int) -> int:
        """An array."""
        return self.add("", Kind.ARRAY, 0, 0, of, 1, count)

    def typedef(self, name: str, of: int) -> int:
        """Another name."""
        return self.add(name, Kind.TYPEDEF, 0, of)

    def struct(self, name: str, size: int, parts: Iterable[Part], kind: Kind = Kind.STRUCT) -> int:
        """A structure (or union)."""
        words = [w for part, type_, bit in parts for w in (self.name(part), type_, bit)]
        return self.add(name, kind, len(words) // 3, size, *words)

    def bit_fields(self, name: str, size: int, parts: Sequence[tuple[str, int, int, int]]) -> int:
        """A structure of bit fields: (name, type, start, width in bits; 0 for an ordinary member)."""
        words = [w for part, type_, bit, bits in parts for w in (self.name(part), type_, bits << 24 | bit)]
        return self.add(name, Kind.STRUCT, len(parts), size, *words, flag=True)

    def enum(self, name: str, values: dict[str, int], signed: bool = False) -> int:
        """An enumeration of 32-bit values."""
        words = [w for key, value in values.items() for w in (self.name(key), value & 0xFFFFFFFF)]
        return self.add(name, Kind.ENUM, len(values), 4, *words, flag=signed)

    def enum64(self, name: str, values: dict[str, int], signed: bool = False) -> int:
        """An enumeration of 64-bit values."""
        words = [
            w for key, v in values.items() for w in (self.name(key), v & 0xFFFFFFFF, v >> 32 & 0xFFFFFFFF)
        ]
        return self.add(name, Kind.ENUM64, len(values), 8, *words, flag=signed)

    def bytes(self, magic: int = 0xEB9F, version: int = 1) -> bytes:
        """The file."""
        types = b"".join(self._types)
        header = struct.pack("<HBBIIIII", magic, version, 0, 24, 0, len(types), len(types), len(self._names))
        return header + types + self._names


def btf_of(layout: Layout, *, head_word: str = "compound_head", without: Iterable[str] = ()) -> bytes:
    """The types of a kernel that lays out its folios as declared, less the members named in `without`.

    Memory sections are two words, of which the first leads to page structs.
    """
    file = BtfFile()
    word = file.int("long unsigned int", layout.word)
    numbers = {(n, s): file.int(f"i{n}{s}", n, s) for n in (1, 2, 4, 8) for s in (False, True)}

    def member(name: str, offset: int, size: int, signed: bool, count: int = 1) -> Part:
        type_ = numbers[size, signed]
        return name, file.array(type_, count) if count > 1 else type_, 8 * offset

    fields = [f for f in layout.fields if f.name not in without]
    parts = [member(f.name, f.offset, f.size, f.signed, f.count) for f in fields]
    words = [w for page in range(1, layout.pages) for w in layout.own_words(page)]
    parts += [member(w.name, w.offset, w.size, w.signed) for w in words if w.name not in without]
    file.struct("folio", layout.sizeof_folio, parts)
    file.struct("page", layout.sizeof_page, [("flags", word, 0), (head_word, word, 8 * layout.word)])
    file.struct("mem_section", 2 * layout.word, [("section_mem_map", word, 0)])
    file.enum("pageflags", PAGE_FLAGS)
    file.enum("pagetype", PAGE_TYPES)
    return file.bytes()
