"""What a simulated machine keeps incrementally, counted anew from its page tables by plain loops.

Only page tables, VMAs, pins and the page cache are believed here; counters, statistics, swap counts and
reverse mappings are what is checked. `faults` says in words what does not add up.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from mapcount.sim.machine import Machine
from mapcount.sim.memory import FolioRun, Kind
from mapcount.sim.mm import Mm, Process
from mapcount.sim.proc import smaps
from mapcount.sim.truth import broken, truth_by_sweep, truth_of
from mapcount.tracking.folio import ENTIRELY_MAPPED, GUP_PIN_COUNTING_BIAS

Mapped = tuple[int, int, int, int]
"""(MM id, level, first page, pages): entries that map pages of one folio."""

PMD_PAGES = 512

SAMPLE = 30
"""About how many runs are asked the slow way."""


def faults(machine: Machine) -> Iterator[str]:
    """Everything about this machine that contradicts its own page tables."""
    for run, invariant in broken(machine):
        yield f"{invariant.id} is broken by {describe(run)}"
    seen = {run: patterns(run, mappings) for run, mappings in sweep(machine).items()}
    for run, found in seen.items():
        if len(found) > 1:
            yield f"look-alikes are mapped differently: {describe(run)}: {sorted(found)}"
        for pattern in found:
            yield from _folio_faults(machine, run, pattern)
    for run in list(seen)[:: len(seen) // SAMPLE + 1]:
        for nth in {0, run.count // 2, run.count - 1}:
            yield from _truth_faults(machine, run, nth, max(seen[run]))
    yield from _statistics_faults(machine, {run: max(found) for run, found in seen.items()})
    yield from _swap_faults(machine)
    yield from _cache_faults(machine)
    for process in machine.processes.values():
        yield from _table_faults(machine, process)


def describe(run: FolioRun) -> str:
    """A run of folios, for people."""
    return f"{run.count} x {run.kind} at {run.start:#x} {run.folio.counters()}"


def present(mm: Mm) -> list[tuple[int, int]]:
    """[first page, page behind) of each stretch of an address space that is present."""
    return _stretches((e.start, e.end) for e in mm.table if not e.swapped)


def resident(mm: Mm) -> int:
    """How many pages of real memory an address space maps: Rss in pages (the zero page is not)."""
    return sum(e.n for e in mm.table if not (e.swapped or e.zero))


def sweep(machine: Machine) -> dict[FolioRun, list[tuple[int, int, int, int]]]:
    """(MM id, level, first page frame, page frame behind) of all that maps anything of each run."""
    found: dict[FolioRun, list[tuple[int, int, int, int]]] = {run: [] for run in machine.memory.folios}
    for process in machine.processes.values():
        for entry in process.mm.table:
            if not (entry.swapped or entry.zero):
                for run in machine.memory.folios.over(entry.target, entry.target + entry.n):
                    first, last = max(entry.target, run.start), min(entry.target + entry.n, run.start + run.n)
                    found[run].append((process.mm.mm_id, entry.level, first, last))
    return found


def patterns(run: FolioRun, mappings: list[tuple[int, int, int, int]]) -> set[tuple[Mapped, ...]]:
    """How each of these look-alike folios is mapped: one pattern, if they are alike indeed."""
    size, stop = run.folio.nr_pages, run.start + run.n
    each: dict[int, list[Mapped]] = {}
    everyone: list[Mapped] = []
    for mm_id, level, first, last in mappings:
        if (first, last) == (run.start, stop):
            everyone.append((mm_id, level, 0, size))
            continue
        for nth in range((first - run.start) // size, (last - 1 - run.start) // size + 1):
            low, high = run.start + nth * size, run.start + nth * size + size
            page, end = max(first, low) - low, min(last, high) - low
            each.setdefault(nth, []).append((mm_id, level, page, end - page))
    found = {_joined([*everyone, *mapped]) for mapped in each.values()}
    return found | {_joined(everyone)} if len(each) < run.count else found


def portraits(machine: Machine) -> dict[FolioRun, object]:
    """How each run looks and who maps it: what may change only for runs that are said to be touched."""
    return {
        run: (run.start, run.n, _state(run), sorted(patterns(run, mappings)))
        for run, mappings in sweep(machine).items()
    }


def _joined(mapped: list[Mapped]) -> tuple[Mapped, ...]:
    """The same mappings however they are cut: for each mm and level, the stretches mapped once more."""
    steps: dict[tuple[int, int], Counter[int]] = {}
    for mm_id, level, page, n in mapped:
        steps.setdefault((mm_id, level), Counter()).update({page: 1})
        steps[mm_id, level].subtract({page + n: 1})
    out: list[Mapped] = []
    for (mm_id, level), changes in sorted(steps.items()):
        begun: list[int] = []
        for page in sorted(changes):
            begun += [page] * changes[page]
            for _ in range(-changes[page]):
                start = begun.pop()
                out.append((mm_id, level, start, page - start))
    return tuple(sorted(out))


def pages_mapped(run: FolioRun, pattern: tuple[Mapped, ...], *, ptes_only: bool = False) -> list[int]:
    """How often each page of a folio is mapped."""
    times = [0] * run.folio.nr_pages
    for _, level, page, n in pattern:
        if not (level and ptes_only):
            for i in range(page, page + n):
                times[i] += 1
    return times


def _folio_faults(machine: Machine, run: FolioRun, pattern: tuple[Mapped, ...]) -> Iterator[str]:
    folio, size, flavour = run.folio, run.folio.nr_pages, machine.flavour
    entries: Counter[int] = Counter()
    for mm_id, level, _, n in pattern:
        entries[mm_id] += n >> level
    entire = sum(1 for _, level, _, n in pattern if level and n == size == 1 << level)
    ptes = pages_mapped(run, pattern, ptes_only=True)
    expected: dict[str, object] = {}
    if folio.large:
        expected["large_mapcount"] = sum(entries.values())
        expected["total_mapped_pages"] = sum(n for _, _, _, n in pattern) if flavour.total_mapped_pages else 0
        expected["entire_mapcount"] = entire if flavour.entire_mapcount else 0
        by_page = flavour.page_mapcounts and not folio.hugetlb
        mapped = sum(1 for times in ptes if times) + ENTIRELY_MAPPED * bool(entire)
        expected["nr_pages_mapped"] = mapped if by_page else 0
    for name, value in expected.items():
        if getattr(folio, name) != value:
            yield f"{name} should be {value}: {describe(run)}, mapped {pattern}"
    if folio.page_mapcount is not None and [folio.page_mapcount[i] for i in range(size)] != ptes:
        yield f"page_mapcount should be {ptes}: {describe(run)}"
    references = sum(entries.values()) + size * (_in_cache(run) + run.in_swap_cache)
    references += _pin_references(machine, run)
    if not references == folio.refcount > 0:
        yield f"refcount should be {references}: {describe(run)}, mapped {pattern}"


def _truth_faults(machine: Machine, run: FolioRun, nth: int, pattern: tuple[Mapped, ...]) -> Iterator[str]:
    """Walking from the folio to its mappings, and sweeping all page tables, must find the same."""
    for truth in (truth_of(machine, run, nth), truth_by_sweep(machine, run, nth)):
        for mm_id in {mm_id for mm_id, _, _, _ in pattern} | set(truth.entries):
            entries = sum(n >> level for mm, level, _, n in pattern if mm == mm_id)
            if truth.entries.get(mm_id) != entries:
                yield f"truth says {truth.entries}, not {pattern}: {describe(run)}"
        if [truth.ptes[i] for i in range(truth.nr_pages)] != pages_mapped(run, pattern, ptes_only=True):
            yield f"truth says {truth.ptes}, not {pattern}: {describe(run)}"


def _in_cache(run: FolioRun) -> bool:
    return run.mapping is not None and run.kind not in (Kind.ANON, Kind.KSM)


def _pin_references(machine: Machine, run: FolioRun) -> int:
    """References that pins hold on the first of these folios."""
    weight = 1 if run.folio.large else GUP_PIN_COUNTING_BIAS
    held = 0
    for process in machine.processes.values():
        for pins in process.pins:
            first, last = max(pins.pfn, run.start), min(pins.pfn + pins.n, run.start + run.folio.nr_pages)
            held += max(0, last - first)
    return held * weight


def statistics(machine: Machine, seen: dict[FolioRun, tuple[Mapped, ...]]) -> Counter[str]:
    """What meminfo should say, in pages, by the names of `Machine.stats`."""
    stats: Counter[str] = Counter()
    for run, pattern in seen.items():
        if run.in_swap_cache:
            stats["swapcached"] += run.n
        if run.kind is Kind.HUGETLB:
            continue
        by_page = machine.flavour.page_mapcounts or not run.folio.large
        mapped = sum(1 for times in pages_mapped(run, pattern) if times)
        name = "anon" if run.kind in (Kind.ANON, Kind.KSM) else "file_mapped"
        stats[name] += run.count * (mapped if by_page else run.folio.nr_pages * bool(mapped))
        if run.folio.nr_pages == PMD_PAGES:
            pmd = {Kind.ANON: "anon_thp", Kind.SHMEM: "shmem_pmd_mapped", Kind.FILE: "file_pmd_mapped"}
            stats[pmd[run.kind]] += run.n * any(level for _, level, _, _ in pattern)
        if _in_cache(run):
            stats["file"] += run.n
            stats["shmem"] += run.n * (run.kind is Kind.SHMEM)
            if run.folio.nr_pages == PMD_PAGES:
                stats[f"{run.kind}_thp"] += run.n
    return stats


def _statistics_faults(machine: Machine, seen: dict[FolioRun, tuple[Mapped, ...]]) -> Iterator[str]:
    expected = statistics(machine, seen)
    for name in sorted(set(expected) | {name for group in machine.stats.values() for name in group}):
        if machine.total(name) != expected[name]:
            yield f"{name} should be {expected[name]}, is {machine.total(name)}"


def _swap_faults(machine: Machine) -> Iterator[str]:
    """Each slot is held as often as entries and files name it, and by nothing else but its cached folio."""
    held: Counter[int] = Counter()
    for process in machine.processes.values():
        for entry in process.mm.table:
            if entry.swapped:
                held.update(range(entry.target, entry.target + entry.n))
    for file in machine.files.values():
        for gone in file.swapped:
            held.update(range(gone.pfn, gone.pfn + gone.n))
    cached: dict[int, int] = {}
    for run in machine.memory.folios:
        if run.in_swap_cache:
            cached.update(
                zip(range(run.swap, run.swap + run.n), range(run.start, run.start + run.n), strict=True)
            )
    kept = {
        slots.start + i: (slots.refs, None if slots.pfn is None else slots.pfn + i)
        for slots in machine.swap.slots
        for i in range(slots.n)
    }
    for slot in sorted(set(held) | set(cached) | set(kept)):
        expected = (held[slot], cached.get(slot))
        if kept.get(slot) != expected:
            yield f"swap slot {slot} should be {expected}, is {kept.get(slot)}"
            return


def _cache_faults(machine: Machine) -> Iterator[str]:
    """Every file's cache names folios that know their place in the file; what has no file is not cached."""
    cached = 0
    for file in machine.files.values():
        if file.holders is not None and not file.holders and not file.vmas:
            yield f"nobody keeps {file.name!r}, and it is still there"
        for span in file.cache:
            cached += span.n
            for piece in machine.memory.pieces(span.pfn, span.n):
                place = piece.run.index + piece.pfn - piece.run.start
                if piece.run.mapping is not file or place != span.start + piece.pfn - span.pfn:
                    yield f"the cache of {file.name!r} at {span.start} holds {describe(piece.run)}"
    in_memory = sum(run.n for run in machine.memory.folios if _in_cache(run))
    if in_memory != cached:
        yield f"{in_memory} pages of files are in memory, {cached} in caches"


def _table_faults(machine: Machine, process: Process) -> Iterator[str]:
    """Entries lie in VMAs, huge ones are aligned; writable ones map what may be written in place."""
    name, mm = process.name, process.mm
    rss = 0
    for vma in mm.vmas:
        rss += smaps(machine, mm, vma).rss // 4096
        for mapping in (vma.file, vma.anon):
            if mapping is not None and sum(v is vma for _, v in mapping.vmas) != 1:
                yield f"{name}: a VMA is known {sum(v is vma for _, v in mapping.vmas)} times to its mapping"
    hugetlb = sum(
        e.n
        for e in mm.table
        if not (e.swapped or e.zero) and machine.memory.folio_of(e.target).kind is Kind.HUGETLB
    )
    if rss != resident(mm) - hugetlb:
        yield f"{name}: Rss is {rss} pages in smaps, {resident(mm) - hugetlb} in the page table"
    for entry in mm.table:
        if (
            sum(
                min(v.end, entry.end) - max(v.start, entry.start)
                for v in mm.vmas.over(entry.start, entry.end)
            )
            != entry.n
        ):
            yield f"{name}: entries at {entry.start:#x} are outside every VMA"
        if entry.level and (entry.start % (1 << entry.level) or entry.n % (1 << entry.level)):
            yield f"{name}: a huge entry at {entry.start:#x} is not aligned"
        if entry.swapped or entry.zero:
            if entry.writable and entry.zero:
                yield f"{name}: the zero page at {entry.start:#x} is writable"
            continue
        for vma in mm.vmas.over(entry.start, entry.end):
            if entry.writable and not vma.writable:
                yield f"{name}: entries at {entry.start:#x} are writable, their VMA is {vma.prot}"
            if entry.writable and not vma.shared:
                yield from _writable_faults(machine, name, entry.level, entry.target, entry.n)


def _writable_faults(machine: Machine, name: str, level: int, pfn: int, n: int) -> Iterator[str]:
    """Only pages marked exclusive are mapped writable privately: what fork must never get wrong."""
    for piece in machine.memory.pieces(pfn, n):
        pages = range(piece.page, piece.page + piece.nr, 1 << level)
        if not all(piece.run.anon_exclusive[page] for page in pages):
            yield f"{name}: writable, but not exclusive: {describe(piece.run)}"


def _stretches(spans: Iterator[tuple[int, int]]) -> list[tuple[int, int]]:
    out: list[tuple[int, int]] = []
    for start, stop in spans:
        if out and out[-1][1] == start:
            out[-1] = (out[-1][0], stop)
        else:
            out.append((start, stop))
    return out


def picture(machine: Machine) -> dict[str, object]:
    """Everything that a step may change, told so that equal machines give equal pictures."""
    files = {
        name: (
            file.kind,
            file.orders,
            file.size,
            sorted(file.holders) if file.holders is not None else None,
            [(mm.owner, v.start, v.n) for mm, v in file.vmas],
            flat((r.start, r.n, (r.pfn - r.start,)) for r in file.cache),
            flat((r.start, r.n, (r.pfn - r.start,)) for r in file.swapped),
        )
        for name, file in machine.files.items()
    }
    return {
        "processes": {p.name: _process(p) for p in machine.processes.values()},
        "files": files,
        "folios": flat((r.start, r.n, (r.folio.order, _state(r))) for r in machine.memory.folios),
        "swap": flat(
            (s.start, s.n, (s.refs, s.pfn and s.pfn - s.start, s.memcg)) for s in machine.swap.slots
        ),
        "statistics": {(g, k): v for g, group in machine.stats.items() for k, v in group.items() if v},
        "events": {k: v for k, v in machine.events.items() if v},
    }


def _process(p: Process) -> dict[str, object]:
    return {
        "mm_id": p.mm.mm_id,
        "regions": {r.name: (r.start, r.n) for r in p.regions.values()},
        "vmas": [
            (v.start, v.n, v.pgoff, v.kind, v.shared, v.prot, v.orders, v.locked, v.file and v.file.name)
            for v in p.mm.vmas
        ],
        "table": table(p.mm),
        "pins": flat((r.start, r.n, (r.pfn - r.start,)) for r in p.pins),
        "has_pinned": p.mm.has_pinned,
    }


def table(mm: Mm) -> list[tuple[int, int, object]]:
    """A page table: what every page points at, and how."""
    return flat(
        (
            e.start,
            e.n,
            (e.level, e.swapped, e.zero or e.target - e.start, e.writable, e.dirty, e.young, e.exclusive),
        )
        for e in mm.table
    )


def _state(run: FolioRun) -> tuple[object, ...]:
    marks = [(first, n) for first, n, value in run.anon_exclusive.runs() if value]
    place = (run.index - run.start, run.in_swap_cache and run.swap - run.start, run.memcg)
    flags = (run.dirty, run.referenced, run.active, run.swapbacked, run.mlocked, run.mlock_count)
    counters = tuple((k, str(v)) for k, v in run.folio.counters().items())
    return (run.kind, place, flags, run.partially_mapped, marks, counters)


def flat(spans: Iterator[tuple[int, int, object]]) -> list[tuple[int, int, object]]:
    """Neighbours of one kind as one."""
    out: list[tuple[int, int, object]] = []
    for start, n, what in spans:
        if out and out[-1][0] + out[-1][1] == start and out[-1][2] == what:
            out[-1] = (out[-1][0], out[-1][1] + n, what)
        else:
            out.append((start, n, what))
    return out
