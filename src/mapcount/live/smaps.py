"""/proc/PID/smaps: the VMAs of a process, and what the kernel says of each.

A process may have a quarter of a million VMAs, so the file is read in pieces, names and flags are kept
once, and each VMA's numbers are a tuple: the kernel prints the same fields for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from operator import itemgetter
from sys import intern

from mapcount.live.processes import text
from mapcount.live.snapshot import Region


class Fields(Mapping[str, int]):
    """What smaps says of one VMA, in KiB, by field; the names are shared by all VMAs that have the same."""

    __slots__ = ("_place", "_values")

    def __init__(self, place: Mapping[str, int], values: tuple[int, ...]) -> None:
        self._place, self._values = place, values

    def __getitem__(self, name: str) -> int:
        return self._values[self._place[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._place)

    def __len__(self) -> int:
        return len(self._place)

    def __repr__(self) -> str:
        return f"Fields({dict(self)})"


_VMA = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+ *([^\n]*)\n((?:[A-Z][^\n]*\n)+)")
"""One VMA: its line as in maps, then its fields, whose names begin with a capital letter."""
_NUMBERS = b"0123456789 "
"""Without these, all VMAs with the same fields and flags read alike."""


def parse_smaps(chunks: Iterable[bytes], page_size: int) -> Iterator[Region]:
    """The VMAs of one smaps file. Raises ValueError at a line that does not fit."""
    return SmapsParser(page_size).parse(chunks)


class SmapsParser:
    """Reads smaps files of one machine; what is alike in its VMAs is kept from one file to the next."""

    def __init__(self, page_size: int) -> None:
        self._page_size = page_size
        self._forms: dict[bytes, _Form] = {}

    def parse(self, chunks: Iterable[bytes]) -> Iterator[Region]:
        """The VMAs of a file that comes in pieces. Raises ValueError at a line that does not fit."""
        for vmas in _whole_vmas(chunks):
            at = 0
            while at < len(vmas):
                vma = _VMA.match(vmas, at)
                if vma is None:
                    raise ValueError(f"not a line of smaps: {vmas[at : at + 60].splitlines()[0]!r}")
                at = vma.end()
                start, stop, perms, name, body = vma.groups()
                key = body.translate(None, _NUMBERS)
                form = self._forms.get(key) or self._forms.setdefault(key, _Form(body))
                yield Region(
                    start=int(start, 16) // self._page_size,
                    nr_pages=(int(stop, 16) - int(start, 16)) // self._page_size,
                    perms=intern(text(perms)),
                    name=intern(text(name)),
                    flags=form.flags,
                    smaps=Fields(form.place, tuple(map(int, form.numbers(body.split())))),
                )


class _Form:
    """What the fields of many VMAs have in common: everything but the numbers."""

    def __init__(self, body: bytes) -> None:
        self.place: dict[str, int] = {}
        """Field to its place among the numbers."""
        self.flags: frozenset[str] = frozenset()
        picked: list[int] = []
        words = 0
        for line in body.splitlines():
            name, *values = text(line).split()
            if values[1:] == ["kB"]:
                self.place[intern(name.rstrip(":"))] = len(picked)
                picked.append(words + 1)
            elif name == "VmFlags:":
                self.flags = frozenset(map(intern, values))
            words += 1 + len(values)
        if len(picked) < 2:
            raise ValueError(f"a VMA without fields in smaps: {body[:60]!r}")
        self.numbers: Callable[[list[bytes]], tuple[bytes, ...]] = itemgetter(*picked)


def _whole_vmas(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The same bytes in pieces that end where a VMA ends: after its line of flags, which is the last."""
    rest = b""
    for chunk in chunks:
        rest += chunk
        end = rest.find(b"\n", rest.rfind(b"\nVmFlags:") + 1) + 1
        if b"\nVmFlags:" in rest and end:
            yield rest[:end]
            rest = rest[end:]
    if rest:
        yield rest
