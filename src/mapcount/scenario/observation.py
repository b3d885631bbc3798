"""What is seen of a kernel after a step: folios with estimate and truth, processes, the system.

Plain values, the same whichever kernel gave them. Sizes of processes are in KiB as /proc prints them,
everything else is in pages, mappings or events.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class FolioSeen:
    """Look-alike folios: their counters, what the kernel says of them, and what is true."""

    place: str
    """Where somebody maps them: `heap[0:2M]`."""
    kind: str
    order: int
    count: int
    """How many look-alikes this stands for."""
    truth: str
    """`unmapped`, `exclusive` or `shared`."""
    maybe_shared: bool
    owners: Mapping[str, int]
    """Mappings by process: the truth about one of the look-alikes."""
    slots: tuple[tuple[str, int], ...]
    """(process, count) of the slots in use, as the folio believes."""
    counters: Mapping[str, object]
    average_mapcount: int
    partially_mapped: bool
    schemes: Mapping[str, bool] = field(default_factory=dict)
    """What other schemes say (maybe shared?), by name, where a run was asked for some."""

    @property
    def wrong(self) -> bool:
        """Is the kernel mistaken about it?"""
        return self.maybe_shared != (self.truth == "shared")

    @property
    def wrong_schemes(self) -> list[str]:
        """Which other schemes are mistaken about it?"""
        return [name for name, maybe in self.schemes.items() if maybe != (self.truth == "shared")]


@dataclass(frozen=True, slots=True)
class RegionSeen:
    """One region of one process: smaps summed over its VMAs (KiB), and what pagemap counts (pages)."""

    process: str
    region: str
    vmas: int
    smaps: Mapping[str, int]
    present: int
    exclusive: int
    swapped: int
    mapmax: int


@dataclass(frozen=True, slots=True)
class Observation:
    """Everything seen after one step."""

    folios: tuple[FolioSeen, ...]
    regions: tuple[RegionSeen, ...]
    """Each process's regions, where they were asked for."""
    rollup: Mapping[str, Mapping[str, int]]
    """smaps_rollup by process, in KiB."""
    system: Mapping[str, int]
    """The fields that `kernel expect` knows."""
    cost: Mapping[str, int]
    """Counter updates since the start: page_updates, locked_updates, atomic_updates."""

    @property
    def wrong_folios(self) -> int:
        """How many folios the kernel is mistaken about."""
        return self.system["wrong_folios"]
