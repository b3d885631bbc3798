"""What became of pages that were written to or paged out, and why (mechanism, section 6).

Told by comparing one process's page table before and after a step; the reasons are what the folio's
counters were before it.
"""

from __future__ import annotations

from collections.abc import Iterator

from mapcount.report.html.scene import Scene, Space
from mapcount.scenario.observation import FolioSeen, Observation
from mapcount.scenario.syntax import Target
from mapcount.tracking.flavour import PTE_ORDER, Flavour

Fate = tuple[int, int, str, str]
"""(page frame before, pages, `reused`, `copied`, `PMD split and copied` or `skipped`, why)."""


def write_faults(
    flavour: Flavour, process: str, before: Scene, seen: Observation, after: Scene
) -> Iterator[Fate]:
    """The fate of each stretch of pages that `process` could not write to before and can now."""
    old, new = before.spaces.get(process), after.spaces.get(process)
    if old is None or new is None:
        return
    fates: list[Fate] = []
    turned = (
        (*part, level, same)
        for pfn, n, level, same in _turned(old, new)
        for part in _by_folio(before, pfn, n)
    )
    for at, pfn, n, level, same in turned:
        folio, picture = seen.folios[at], before.folios[at]
        page = (pfn - picture.pfn) % (1 << folio.order)
        marked = any(first <= page < first + k for first, k in picture.exclusive)
        fate = "reused" if same else "copied" if level == PTE_ORDER else "PMD split and copied"
        one = pfn, n, fate, _why(flavour, folio, level, marked=marked, same=same)
        if fates and fates[-1][2:] == one[2:]:
            fates[-1] = fates[-1][0], fates[-1][1] + n, *one[2:]
        else:
            fates.append(one)
    yield from fates


def skipped_pageout(
    target: Target, process: str, before: Scene, seen: Observation, after: Scene
) -> Iterator[Fate]:
    """The folios that MADV_PAGEOUT of `target` left where they are, as the kernel takes them for shared."""
    old, new = before.spaces.get(process), after.spaces.get(process)
    if old is None or new is None or target.step is not None:
        return
    for (name, pages, _), first in zip(old.regions, old.starts, strict=True):
        asked = target.pages(pages)
        for start, n, frame, _, _ in old.entries if name == target.region else ():
            low, high = max(start, first + asked.start), min(start + n, first + asked.stop)
            for at, pfn, nr in _by_folio(before, frame + low - start, high - low):
                if seen.folios[at].maybe_shared and _frame_at(new, start + pfn - frame) == pfn:
                    yield pfn, nr, "skipped", _mistaken(seen.folios[at], "skip")


def _by_folio(scene: Scene, pfn: int, n: int) -> Iterator[tuple[int, int, int]]:
    """(index of the look-alike folios, first page frame, pages) of page frames [pfn, pfn + n)."""
    while n > 0:
        at = scene.folio_at(pfn)
        if at is None:
            return
        nr = min(n, scene.folios[at].pfn + scene.folios[at].n - pfn)
        yield at, pfn, nr
        pfn, n = pfn + nr, n - nr


def _frame_at(space: Space, vpn: int) -> int | None:
    """The page frame that a virtual page points at."""
    return next(
        (pfn + vpn - start for start, n, pfn, _, _ in space.entries if start <= vpn < start + n), None
    )


def _turned(old: Space, new: Space) -> Iterator[tuple[int, int, int, bool]]:
    """(page frame before, pages, level before, same frame now?) of pages that became writable."""
    for start, n, target, level, writable in old.entries:
        if writable:
            continue
        for now, length, frame, _, may_write in new.entries:
            first, last = max(start, now), min(start + n, now + length)
            if may_write and first < last:
                pfn = target + first - start
                yield pfn, last - first, level, frame + first - now == pfn


def _turned_folios(scene: Scene, old: Space, new: Space) -> Iterator[tuple[int, int, int, int, bool]]:
    """The same by look-alike folios, whose index in the scene comes first."""
    for pfn, n, level, same in _turned(old, new):
        for part in _by_folio(scene, pfn, n):
            yield *part, level, same


def _why(flavour: Flavour, folio: FolioSeen, level: int, *, marked: bool, same: bool) -> str:
    """The reason, as far as the counters before the step tell it."""
    if marked:
        return "marked anonymous and exclusive: nothing is asked" if same else "file memory is always copied"
    if folio.kind == "ksm":
        return "merged pages are always copied"
    refcount = folio.counters["refcount"]
    if folio.kind in ("file", "shmem"):
        return "the page of a file is copied into anonymous memory"
    if folio.order == 0 or level or not flavour.owner_slots:
        if same:
            return "refcount is 1: nothing else refers to the folio"
        if level and flavour.owner_slots and folio.maybe_shared:
            return f"refcount is {refcount}, not 1, so the PMD is split; as PTEs: {_mistaken(folio)}"
        return f"refcount is {refcount}, not 1: something else may refer to it"
    total = folio.counters["large_mapcount"]
    if same:
        return f"total {total} is more than 1, the shared flag is clear, and refcount == total: nobody else"
    if folio.maybe_shared:
        return _mistaken(folio)
    if total == 1:
        return "only this page is still mapped: copied, so that the large folio can be freed"
    return f"refcount {refcount} is not the total {total}: something else holds the folio"


def _mistaken(folio: FolioSeen, what: str = "copy") -> str:
    who = next(iter(folio.owners), "nobody")
    return "maybe mapped shared" + f", although only {who} maps it: a needless {what}" * folio.wrong
