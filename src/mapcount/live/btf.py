"""BTF: a kernel's own description of its types, which says where in memory each field lies.

    folio = Btf.read().struct("folio")
    folio.offset("_large_mapcount")

Linux gives it away in /sys/kernel/btf/vmlinux; how a file is laid out is in `btf_records`. Only what is asked
for is built. Members of anonymous structures and unions are members of the structure around them, as in C.

Left out: functions, variables, the names of members' types, and the split BTF of modules.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import count

import numpy as np

from mapcount.live.btf_records import BtfError, Kind, Record, Records, load

__all__ = ["VMLINUX", "Btf", "BtfError", "Member", "Struct"]

VMLINUX = "/sys/kernel/btf/vmlinux"
"""The running kernel's types."""

MOST_MEMBERS = 10_000
"""Members of one structure and of all anonymous ones in it; the kernel's largest have some hundreds."""
DEEPEST = 64
"""How far types may refer to types before it must be a circle."""

_ALIASES = (Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG)
"""Another name or another manner of the same bytes."""
_COMPOSITE = (Kind.STRUCT, Kind.UNION)
_ENUMS = (Kind.ENUM, Kind.ENUM64)


@dataclass(frozen=True, slots=True)
class Member:
    """One field of a structure: where it lies and how it is stored."""

    name: str
    bit_offset: int
    """From the structure's start."""
    size: int
    """Bytes of one element; of the type that holds it, for a bit field."""
    count: int = 1
    """Elements of an array, all dimensions multiplied; 1 for anything else."""
    signed: bool = False
    """Is it (an array of) a signed number, or a structure around just one, such as atomic_t?"""
    bits: int = 0
    """Width of a bit field; 0 for anything else."""

    @property
    def offset(self) -> int:
        """Bytes from the structure's start."""
        return self.bit_offset // 8

    @property
    def end(self) -> int:
        """The first byte after it."""
        return -(-(self.bit_offset + self.bits) // 8) if self.bits else self.offset + self.size * self.count


@dataclass(frozen=True, slots=True)
class Struct:
    """A structure or union: its size in bytes and its members by name, anonymous ones dissolved."""

    name: str
    size: int
    members: Mapping[str, Member]
    source: str
    """The file that says so."""

    def __contains__(self, name: str) -> bool:
        return name in self.members

    def __getitem__(self, name: str) -> Member:
        try:
            return self.members[name]
        except KeyError:
            raise BtfError(f"{self.source}: struct {self.name} has no member {name}") from None

    def offset(self, name: str) -> int:
        """Where a member starts, in bytes. Raises BtfError if there is none."""
        return self[name].offset

    def dtype(self, names: Collection[str], size: int) -> np.dtype[np.void]:
        """These members where they are in the first `size` bytes, to look at raw bytes with numpy.

        Raises BtfError for a member that does not exist, is no number (or array of numbers) or lies behind.
        """
        fields = [self[name] for name in names]
        for field in fields:
            if field.size not in (1, 2, 4, 8) or field.bits:
                raise BtfError(f"{self.source}: {field.name} of struct {self.name} is no plain number")
            if field.end > size:
                raise BtfError(f"{self.source}: {field.name} of struct {self.name} is behind byte {size}")
        formats = [
            (f"<{'i' if f.signed else 'u'}{f.size}", () if f.count == 1 else (f.count,)) for f in fields
        ]
        offsets = [f.offset for f in fields]
        return np.dtype({"names": list(names), "formats": formats, "offsets": offsets, "itemsize": size})


class Btf:
    """The types in one file."""

    def __init__(self, data: bytes, source: str) -> None:
        """Index the types in `data`; `source` names it in messages. Raises BtfError."""
        self._records = Records(data, source)
        self.source = source
        self._structs: dict[str, Struct] = {}

    @classmethod
    def read(cls, path: str = VMLINUX) -> Btf:
        """The types in a file, of the running kernel unless said. Raises BtfError, also if unreadable."""
        return cls(load(path), path)

    def __len__(self) -> int:
        """How many types."""
        return len(self._records)

    @cached_property
    def word(self) -> int:
        """Bytes of a pointer. The format does not say; `long` is as wide in every Linux."""
        for name in ("long unsigned int", "unsigned long"):
            found = self._records.named(name, (Kind.INT,))
            if found is not None:
                return found.size_or_type
        raise BtfError(f"{self.source}: has no type `long unsigned int`, so pointers have an unknown size")

    def struct(self, name: str) -> Struct:
        """The structure or union of that name. Raises BtfError if there is none."""
        if name not in self._structs:
            self._structs[name] = self._build(name)
        return self._structs[name]

    def _build(self, name: str) -> Struct:
        found = self._records.named(name, _COMPOSITE)
        if found is None:
            raise BtfError(f"{self.source}: has no struct {name}")
        members: dict[str, Member] = {}
        for member in self._members(found, 0, 0, count()):
            if member.end > found.size_or_type:
                raise self._records.corrupt(found.number, f"ends before its member {member.name!r}")
            members.setdefault(member.name, member)
        return Struct(name, found.size_or_type, members, self.source)

    def has_struct(self, name: str) -> bool:
        """Is there a structure or union of that name?"""
        return self._records.named(name, _COMPOSITE) is not None

    def has_enum(self, name: str) -> bool:
        """Is there an enumeration of that name?"""
        return self._records.named(name, _ENUMS) is not None

    def enumerators(self, name: str) -> dict[str, int]:
        """The values of an enumeration by name. Raises BtfError if there is none of that name."""
        found = self._records.named(name, _ENUMS)
        if found is None:
            raise BtfError(f"{self.source}: has no enum {name}")
        values = {}
        for name_at, low, *high in found.rest:
            value, bits = (low | high[0] << 32, 64) if high else (low, 32)
            negative = found.flag and value >> (bits - 1)
            values[self._records.name(name_at, found.number)] = value - (1 << bits) if negative else value
        return values

    def _members(self, around: Record, base: int, depth: int, seen: Iterator[int]) -> Iterator[Member]:
        """The members of a structure that starts `base` bits into the one asked for; `seen` counts them."""
        if depth > DEEPEST:
            raise self._records.corrupt(around.number, "is inside itself")
        for name_at, inner, position in around.rest:
            if next(seen) >= MOST_MEMBERS:
                raise self._records.corrupt(
                    around.number, f"has, all in all, more than {MOST_MEMBERS} members"
                )
            bits = position >> 24 if around.flag else 0
            offset = base + (position & 0xFFFFFF if around.flag else position)
            name = self._records.name(name_at, around.number)
            if name:
                yield self._member(name, offset, bits, inner)
            elif not bits:
                found = self._behind_aliases(inner)
                if found.kind in _COMPOSITE:
                    yield from self._members(found, offset, depth + 1, seen)

    def _behind_aliases(self, number: int) -> Record:
        """The type behind typedefs and qualifiers."""
        for _ in range(DEEPEST):
            found = self._records[number]
            if found.kind not in _ALIASES:
                return found
            number = found.size_or_type
        raise self._records.corrupt(number, "is an alias of itself")

    def _member(self, name: str, offset: int, bits: int, number: int) -> Member:
        count = 1
        for _ in range(DEEPEST):
            found = self._behind_aliases(number)
            if found.kind is not Kind.ARRAY:
                return Member(name, offset, self._size(found), count, self._signed(found), bits)
            ((number, _, elements),) = found.rest
            count *= elements
        raise self._records.corrupt(number, "is an array of itself")

    def _size(self, found: Record) -> int:
        if found.kind is Kind.PTR:
            return self.word
        if found.kind in (*_COMPOSITE, *_ENUMS, Kind.INT, Kind.FLOAT):
            return found.size_or_type
        raise self._records.corrupt(found.number, f"is a member, but a {found.kind.name} has no size")

    def _signed(self, found: Record) -> bool:
        """Is it a signed number, alone or as the only member of a structure?"""
        for _ in range(DEEPEST):
            if found.kind is Kind.INT:
                return bool(found.rest[0][0] >> 24 & 1)
            if found.kind in _ENUMS:
                return found.flag
            if found.kind is not Kind.STRUCT or len(found.rest) != 1:
                return False
            found = self._behind_aliases(found.rest[0][1])
        raise self._records.corrupt(found.number, "is inside itself")
