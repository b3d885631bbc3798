"""A path through a small world as a scenario, which `mapcount run` acts out with processes.

There are two ways of telling it. As *private* memory: the first mm faults the folio in, others are born by
fork, parts go by munmap, all of it by exit. Where that cannot be told, as a *file* in memory that every
process maps and unmaps as it likes: in a region more for each time that it maps a page once more. Pages of
several regions are brought together by `mremap` where one batch of PTEs is unmapped at once.

A page of the world is `unit` pages of the scenario. A world with PMDs has to be told with folios of 2 MiB;
the counts of PTEs are `unit` times larger then, and those of PMDs are not.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mapcount.check.reference import runs_of
from mapcount.check.world import REMOVES, Event, Mappings, Tables, World
from mapcount.replay.trace import Op
from mapcount.scenario.printing import show_size
from mapcount.tracking.flavour import PMD_ORDER

NAMES = "ABCDEFGHIJKL"
"""Processes by MM id, from 1 on."""
LAYERS = "abcdefgh"
"""The regions of a process that maps a page several times; more are called by numbers."""
REGION = "heap"
FILE = "ring"


class Untellable(ValueError):
    """A path that cannot be told in this way; the message says at what."""


@dataclass(slots=True)
class Told:
    """A story so far: its lines, and where each process has the folio at the end."""

    unit: int
    private: bool
    """Is it private memory, and not a file?"""
    lines: list[str] = field(default_factory=list)
    places: dict[str, str] = field(default_factory=dict)
    """By process that maps the folio: a region, or a part of it, that maps some of it."""
    pages: dict[tuple[str, int], str] = field(default_factory=dict)
    """By process and page that it maps: where."""


def unit_of(world: World) -> int:
    """How many pages of a scenario one page of the world is; anonymous folios have four pages or more."""
    return (1 << PMD_ORDER) // world.pages if world.pmd else max(1, 4 // world.pages)


def name_of(mm: int) -> str:
    """The process that an mm of the world is."""
    return NAMES[mm - 1] if mm <= len(NAMES) else f"M{mm}"


def _part(region: str, page: int, nr: int, unit: int, pages: int) -> str:
    """The pages of a region, in the scenario's numbers."""
    if (page, nr) == (0, pages):
        return region
    first, last = page * unit, (page + nr) * unit
    if unit > 1:
        return f"{region}[{show_size(first)}:{show_size(last)}]"
    return f"{region}[{first}p]" if nr == 1 else f"{region}[{first}p:{last}p]"


# -- private memory ----------------------------------------------------------------------------------------


def as_private_memory(world: World, path: Sequence[Event]) -> Told:
    """The path told with fork, munmap and exit. Raises Untellable where it has other events."""
    story = _Private(world, Told(unit_of(world), private=True))
    at = 0
    while at < len(path):
        at += story.tell(path[at:])
    return story.finish()


class _Private:
    """One folio of anonymous memory."""

    def __init__(self, world: World, told: Told) -> None:
        self._world, self._told = world, told
        self._tables: Tables = world.nothing
        self._born: set[int] = set()

    def tell(self, rest: Sequence[Event]) -> int:
        """One line for the first of these events, or the first few; how many."""
        event = rest[0]
        if event.op in REMOVES:
            n, line = self._unmap(rest)
        elif self._tables == self._world.nothing:
            n, line = 1, self._fault(event)
        elif self._tables[event.mm - 1].pmds:
            n, line = self._split(rest)
        else:
            n, line = self._fork(rest)
        for done in rest[:n]:
            self._tables = self._world.after(self._tables, done)
        self._told.lines.append(line)
        return n

    def _fault(self, event: Event) -> str:
        """The first mapping, of all of it, by whoever is there first."""
        pages, size = self._world.pages, show_size(self._world.pages * self._told.unit)
        if event.nr != pages or bool(self._world.level(event.op)) != self._world.pmd or self._born:
            raise Untellable("a new folio is mapped whole, once")
        self._born.add(event.mm)
        name = name_of(event.mm)
        return f"{name} mmap {REGION} {size} thp={size} ; {name} write {REGION}"

    def _fork(self, rest: Sequence[Event]) -> tuple[int, str]:
        """A child maps what some parent maps, and no more."""
        child = rest[0].mm
        if child in self._born:
            raise Untellable(f"{name_of(child)} is there already, and cannot map more")
        tables, n = self._tables, 0
        while n < len(rest) and rest[n].mm == child and rest[n].op not in REMOVES:
            tables, n = self._world.after(tables, rest[n]), n + 1
            for mm in sorted(self._born):
                if tables[child - 1] == self._tables[mm - 1] and _is_whole(rest[:n], tables[child - 1]):
                    self._born.add(child)
                    return n, f"{name_of(mm)} fork {name_of(child)}"
        raise Untellable(f"nobody maps what {name_of(child)} would get by fork")

    def _split(self, rest: Sequence[Event]) -> tuple[int, str]:
        """PTEs in place of a PMD, of which a part may go at once."""
        event, pages = rest[0], self._world.pages
        if event.op is Op.MAP_PMD or event.nr != pages or len(rest) < 2 or rest[1].op is not Op.UNMAP_PMD:
            raise Untellable("one page table maps private memory once")
        if rest[1].mm != event.mm:
            raise Untellable("one page table maps private memory once")
        name = name_of(event.mm)
        if len(rest) > 2 and rest[2].mm == event.mm and rest[2].op is Op.UNMAP_PTES and rest[2].nr < pages:
            where = _part(REGION, rest[2].page, rest[2].nr, self._told.unit, pages)
            return 3, f"{name} munmap {where}"
        where = _part(REGION, 0, 1, self._told.unit, pages)
        return 2, f"{name} mprotect {where} r ; {name} mprotect {where} rw"

    def _unmap(self, rest: Sequence[Event]) -> tuple[int, str]:
        """A part goes by munmap; the end of all of it is the end of the process."""
        event, name = rest[0], name_of(rest[0].mm)
        runs, n = list(runs_of(self._tables[event.mm - 1])), 0
        while n < len(rest) and rest[n].mm == event.mm and rest[n].op in REMOVES:
            n += 1
            gone = [(e.page, e.nr) for e in rest[:n]]
            if gone == runs or event.op is Op.UNMAP_PMD:
                return n, f"{name} exit"
        return 1, f"{name} munmap {_part(REGION, event.page, event.nr, self._told.unit, self._world.pages)}"

    def finish(self) -> Told:
        """The story, and where the folio is now."""
        for mm, held in enumerate(self._tables, 1):
            _place(self._told, name_of(mm), REGION, held, self._world.pages)
        return self._told


def _is_whole(events: Sequence[Event], held: Mappings) -> bool:
    """Are these the batches in which fork copies that?"""
    runs = [(event.page, event.nr) for event in events if event.op != Op.DUP_PMD and event.op != Op.MAP_PMD]
    return runs == list(runs_of(held))


def _place(told: Told, process: str, region: str, held: Mappings, pages: int) -> None:
    """Write down which pages a process maps in a region, where it does not map them elsewhere too."""
    if not held.entries:
        return
    first = (0, pages) if held.pmds else next(runs_of(held))
    told.places.setdefault(process, _part(region, *first, told.unit, pages))
    for page in range(pages):
        if held.pmds or held.ptes[page]:
            told.pages.setdefault((process, page), _part(region, page, 1, told.unit, pages))


# -- a file ------------------------------------------------------------------------------------------------


def as_file(world: World, path: Sequence[Event], unit: int | None = None, *, everybody: bool = False) -> Told:
    """The path told with a memfd that everybody maps and unmaps, event by event.

    A process to begin with makes the file; it maps nothing any more when the story begins. `everybody`:
    mms that no event is of are born too, so that MM ids are as far apart as in the world.
    """
    told = Told(unit or unit_of(world), private=False)
    layers = {mm: _Layers(world, name_of(mm), told.unit) for mm in range(1, world.mms + 1)}
    lines = [line for event in path for line in layers[event.mm].tell(event)]
    size, mms = show_size(world.pages * told.unit), {event.mm for event in path}
    who = sorted({*range(1, max(mms)), *mms} if everybody else mms)
    regions = sorted({region for mm in who for region in layers[mm].regions})
    file = f"memfd={FILE} shared"
    told.lines = [
        f"init mmap whole {size} {file} thp={size} ; init write whole[0p] ; init munmap whole",
        " ; ".join(f"init mmap {region} {size} reserved" for region in regions),
        " ; ".join(f"init fork {name_of(mm)}" for mm in who),
        *lines,
    ]
    for mm in who:
        for region, held in layers[mm].regions.items():
            _place(told, name_of(mm), region, held, world.pages)
    return told


class _Layers:
    """The regions of one process, each of which maps each page of the file at most once, at its place."""

    def __init__(self, world: World, name: str, unit: int) -> None:
        self._world, self._name, self._unit = world, name, unit
        self.regions: dict[str, Mappings] = {}

    def tell(self, event: Event) -> Iterator[str]:
        """The lines for one event."""
        pages = range(event.page, event.page + event.nr)
        if event.op in REMOVES:
            yield from self._unmap(event, pages)
            return
        region = self._free(pages, alone=self._world.level(event.op) > 0)
        where = self._where(region, pages)
        self.regions[region] = self._after(region, event)
        # All that PTEs map, so that it is one VMA: what several VMAs map is unmapped in as many batches.
        ptes = not self._world.level(event.op) and self._world.pages * self._unit >= 1 << PMD_ORDER
        advice = f"{self._name} madvise {where} nohugepage ; " if ptes else ""
        yield f"{self._name} mmap {where} memfd={FILE} shared ; {advice}{self._name} read {where}"

    def _unmap(self, event: Event, pages: range) -> Iterator[str]:
        for region, held in self.regions.items():
            if held.pmds if self._world.level(event.op) else min(held.ptes[page] for page in pages):
                self.regions[region] = self._after(region, event)
                yield f"{self._name} munmap {self._where(region, pages)}"
                return
        target = self._free(pages, alone=True)
        moves = [self._move(target, page) for page in pages]
        self.regions[target] = Mappings((0,) * self._world.pages, 0)
        yield " ; ".join([*moves, f"{self._name} munmap {self._where(target, pages)}"])

    def _move(self, target: str, page: int) -> str:
        """Bring a page from whichever region has it to `target`."""
        region = next(r for r, held in self.regions.items() if held.ptes[page])
        self.regions[region] = self._after(region, Event(Op.UNMAP_PTES, 1, page, 1))
        pages = range(page, page + 1)
        return f"{self._name} mremap {self._where(region, pages)} to={self._where(target, pages)}"

    def _after(self, region: str, event: Event) -> Mappings:
        """What a region maps after an event in it."""
        return self._world.after((self.regions[region],), event._replace(mm=1))[0]

    def _free(self, pages: range, *, alone: bool) -> str:
        """A region that maps none of these pages; `alone`: that maps nothing."""
        for region, held in self.regions.items():
            there = held.entries if alone else held.pmds or max(held.ptes[page] for page in pages)
            if not there:
                return region
        number = len(self.regions)
        region = LAYERS[number] if number < len(LAYERS) else f"r{number}"
        self.regions[region] = Mappings((0,) * self._world.pages, 0)
        return region

    def _where(self, region: str, pages: range) -> str:
        return _part(region, pages.start, len(pages), self._unit, self._world.pages)
