"""What the running kernel says of the agents' regions, in the words of recordings of format 2.

Reads only: /proc/PID/smaps, numa_maps and pagemap of the agents, /proc/kpagecount, /proc/kpageflags and,
where it can be read, struct folio.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import numpy as np

from mapcount.conform.frames import Frames
from mapcount.conform.pages import Place, Seen, look_at
from mapcount.live.as_tracking import folio_in
from mapcount.live.smaps import parse_smaps
from mapcount.live.snapshot import Region
from mapcount.live.struct_folio import FolioReader
from mapcount.scenario.answer import SMAPS
from mapcount.scenario.regions import counter_words, flag_words, folio_words, kind_of, rle
from mapcount.tracking.flavour import PAGE_SIZE

DAMON = Path("/sys/kernel/mm/damon/admin/kdamonds")
NUMA = Path("/proc/self/numa_maps").exists()
"""Was this kernel built with numa_maps?"""


class Observer:
    """Looks at agents. A context manager; raises OSError where /proc/kpage* cannot be opened."""

    def __init__(self, reader: FolioReader | None = None) -> None:
        self._reader = reader
        self._stack = ExitStack()
        self.read: list[str] = []
        """Which sources are read, as recordings say it."""

    def __enter__(self) -> Observer:
        self._fds = [self._open(f"/proc/{name}") for name in ("kpageflags", "kpagecount")]
        self.read = ["smaps", "pagemap", "kpagecount", "kpageflags"]
        self.read += ["numa_maps"] if NUMA else []
        self.read += ["folio"] if self._reader else []
        self.read += [] if _damon_runs() else ["referenced"]
        self._smaps = [name for name in SMAPS if name != "Referenced" or "referenced" in self.read]
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open(self, path: str) -> int:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._stack.callback(os.close, fd)
        return fd

    def look(self, actors: Mapping[str, int], places: Mapping[str, Sequence[Place]]) -> list[dict[str, Any]]:
        """Every process by name and PID, with its regions: the `processes` of a step's object."""
        frames = Frames(*self._fds)
        vmas = {
            name: list(parse_smaps([Path(f"/proc/{pid}/smaps").read_bytes()], PAGE_SIZE))
            for name, pid in actors.items()
        }
        seen = {
            (name, place.name): look_at(pid, place, vmas[name], frames)
            for name, pid in actors.items()
            for place in places[name]
        }
        owners: dict[int, dict[str, int]] = {}
        for (name, _), part in seen.items():
            for stretch in part.stretches:
                pages = owners.setdefault(stretch.folio, {})
                pages[name] = pages.get(name, 0) + stretch.n

        described = self._describe(frames, owners)
        processes = []
        for name, pid in actors.items():
            printed = self._printed(pid, places[name], vmas[name])
            regions = [
                {"name": place.name} | printed[place.name] | _region(seen[name, place.name], described)
                for place in places[name]
            ]
            processes.append({"name": name, "regions": regions})
        return processes

    def _describe(self, frames: Frames, owners: Mapping[int, Mapping[str, int]]) -> dict[int, dict[str, Any]]:
        """Every folio, named by its first frame."""
        words: dict[int, dict[str, Any]] = {}
        for head in owners:
            flags = frames.flags(head)
            words[head] = {
                "order": frames.order(head),
                "kind": kind_of(flags),
                "flags": flag_words(flags, self.read),
                "owners": owners[head],
            }
        if self._reader is not None and owners:
            heads = np.array(list(owners), np.uint64)
            columns = self._reader.counters(heads)
            marks = self._reader.anon_exclusive(heads, columns.order).tolist()
            for row, head in enumerate(owners):
                folio = folio_in(self._reader, columns, row, head)
                if folio is not None:
                    partially = bool(columns.partially_mapped[row] == 1)
                    words[head] |= counter_words(folio, anon_exclusive=marks[row], partially_mapped=partially)
        return words

    def _printed(
        self, pid: int, places: Sequence[Place], vmas: Sequence[Region]
    ) -> dict[str, dict[str, Any]]:
        """By region: how many VMAs it has, their fields of smaps summed, and numa_maps' largest mapmax."""
        printed: dict[str, dict[str, Any]] = {
            place.name: {"vmas": 0, "smaps": dict.fromkeys(self._smaps, 0)} for place in places
        }
        for vma in vmas:
            place = _place_of(places, vma.start)
            if place is not None:
                printed[place.name]["vmas"] += 1
                smaps = printed[place.name]["smaps"]
                for name in smaps:
                    smaps[name] += vma.smaps.get(name, 0)
        if NUMA:
            for region in printed.values():
                region["mapmax"] = 0
            for start, mapmax in _mapmax(pid):
                place = _place_of(places, start)
                if place is not None:
                    printed[place.name]["mapmax"] = max(printed[place.name]["mapmax"], mapmax)
        return printed


def _region(seen: Seen, described: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "pages": rle(seen.states),
        "exclusive": rle(seen.exclusive),
        "file": rle(seen.file),
        "kpagecount": rle(seen.mapcounts),
        "folios": folio_words(seen.stretches, described.__getitem__),
    }


def _place_of(places: Sequence[Place], page: int) -> Place | None:
    return next((place for place in places if place.start <= page < place.start + place.n), None)


def _mapmax(pid: int) -> Iterator[tuple[int, int]]:
    """(first page, mapmax) of each VMA in numa_maps, which prints it only where it is more than 1."""
    for line in Path(f"/proc/{pid}/numa_maps").read_text().splitlines():
        found, mapped = re.search(r" mapmax=(\d+)", line), re.search(r" N\d+=\d+", line)
        yield int(line.split()[0], 16) // PAGE_SIZE, int(found[1]) if found else int(bool(mapped))


def _damon_runs() -> bool:
    """Does DAMON watch memory here? Then accessed marks move from page tables to folios at any moment."""
    states = []
    for path in (*DAMON.glob("*/state"), *Path("/proc").glob("[0-9]*/comm")):
        with suppress(OSError):  # processes come and go
            states.append(path.read_text().strip())
    return any(state == "on" or state.startswith("kdamond") for state in states)
