"""What a picture of a moment shows: the folios at one page on every kernel, and what each kernel believes.

Kernels on which the same is true stand together; so do those that believe the same of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mapcount.report.html.playback import Played
from mapcount.report.html.scene import SWAPPED, FolioPicture, Stretch
from mapcount.report.moments import Moment
from mapcount.report.turns import folio_at
from mapcount.report.words import flavours_word, listed, size
from mapcount.scenario.observation import FolioSeen
from mapcount.scenario.syntax import visible
from mapcount.tracking.flavour import PMD_ORDER, PUD_ORDER

LEVELS = {0: "PTE", PMD_ORDER: "PMD", PUD_ORDER: "PUD"}
"""What page-table entries of each level are called."""


@dataclass(frozen=True, slots=True)
class View:
    """One folio, as the page tables have it alike on some kernels, and what these believe."""

    kernels: tuple[str, ...]
    before: bool
    """Is this the folio that was at the page before the step, rather than the one that is now?"""
    drawn: FolioPicture
    beliefs: tuple[tuple[tuple[str, ...], FolioSeen], ...]
    """(kernels that agree, the folio as they see it)."""

    @property
    def folio(self) -> FolioSeen:
        """The folio as the first of these kernels sees it: owners and size are the same on all."""
        return self.beliefs[0][1]


def views(played: Sequence[Played], moment: Moment) -> list[View]:
    """The folio at the moment's page, and the one that was there before, if it still is somewhere.

    Kernels on which they are the same stand together.
    """
    found: dict[tuple[bool, object], list[tuple[str, FolioSeen, FolioPicture]]] = {}
    for one in played:
        for before, at in _folios_at(one, moment):
            folio = one.run.steps[moment.step].seen.folios[at]
            drawn = one.scenes[moment.step].folios[at]
            alike = folio.kind, folio.order, folio.count, drawn.lanes
            found.setdefault((before, alike), []).append((one.run.flavour.name, folio, drawn))
    return [
        View(tuple(name for name, _, _ in group), before, group[0][2], tuple(_beliefs(group)))
        for (before, _), group in found.items()
    ]


def _folios_at(one: Played, moment: Moment) -> Iterator[tuple[bool, int]]:
    """(was there before the step?, which folio it is after the step)."""
    now = one.scenes[moment.step]
    at = folio_at(now, moment.process, moment.page)
    if at is not None:
        yield False, at
    old = one.scenes[moment.step - 1] if moment.step else now
    was = folio_at(old, moment.process, moment.page)
    if was is None:
        return
    left = now.folio_at(old.folios[was].pfn)
    if left not in (None, at) and now.folios[left].lanes and _order(one, moment, left) > 0:
        yield True, left


def _order(one: Played, moment: Moment, at: int) -> int:
    return one.run.steps[moment.step].seen.folios[at].order


def elsewhere(played: Sequence[Played], moment: Moment) -> list[str]:
    """On which kernels no folio is at the moment's page, and where that is instead, in words."""
    found: dict[str, list[str]] = {}
    for one in played:
        scene = one.scenes[moment.step]
        if folio_at(scene, moment.process, moment.page) is None:
            space = scene.spaces.get(moment.process)
            swapped = space is not None and any(
                start + page <= moment.page < start + page + n
                for start, (_, _, pieces) in zip(space.starts, space.regions, strict=True)
                for page, n, level, _, _ in pieces
                if level == SWAPPED
            )
            found.setdefault("in swap" if swapped else "not mapped", []).append(one.run.flavour.name)
    return [f"The page is {where} on {listed(names)}" for where, names in found.items()]


def _beliefs(
    group: Sequence[tuple[str, FolioSeen, FolioPicture]],
) -> Iterator[tuple[tuple[str, ...], FolioSeen]]:
    alike: dict[object, list[tuple[str, FolioSeen]]] = {}
    for name, folio, _ in group:
        alike.setdefault((folio.maybe_shared, *slots_of(folio), total_of(folio)), []).append((name, folio))
    for same in alike.values():
        yield tuple(name for name, _ in same), same[0][1]


def slots_of(folio: FolioSeen) -> tuple[str | None, ...]:
    """What each slot holds, None if it is free; nothing where there are no slots."""
    ids, held = folio.counters.get("mm_id"), iter(folio.slots)
    if not isinstance(ids, list) or not folio.order:
        return ()
    return tuple(":".join(map(str, next(held))) if mm_id else None for mm_id in ids)


def total_of(folio: FolioSeen) -> int:
    """How many entries map it."""
    return sum(folio.owners.values())


def in_words(shown: Sequence[View], notes: Sequence[str]) -> str:
    """The picture for somebody who cannot see it."""
    return " ".join([*(_view_in_words(view) for view in shown), *(f"{note}." for note in notes)])


def _view_in_words(view: View) -> str:
    lanes = [
        f"{name} maps {listed([_stretch_in_words(one) for one in stretches[:4]])}"
        + f" and {len(stretches) - 4} more stretches" * (len(stretches) > 4)
        for name, stretches in view.drawn.lanes
    ]
    said = [
        f"{flavours_word(names, ())}: {says(folio)}"
        + ", wrong" * folio.wrong
        + "".join(f", slot {i} {held or 'free'}" for i, held in enumerate(slots_of(folio)))
        for names, folio in view.beliefs
    ]
    return f"{what_it_is(view.folio)}. {'. '.join(lanes)}. Truth: {truth_of(view.folio)}. {'. '.join(said)}."


def _stretch_in_words(stretch: Stretch) -> str:
    page, n, level, writable = stretch
    pages = f"page {page}" if n == 1 else f"pages {page} to {page + n - 1}"
    return f"{pages} by {LEVELS[level]}{'s' * (not level and n > 1)}{', read-only' * (not writable)}"


def says(folio: FolioSeen) -> str:
    """The kernel's answer."""
    return "shared" if folio.maybe_shared else "exclusive"


def truth_of(folio: FolioSeen) -> str:
    """Who maps it, and by how many entries."""
    return f"{folio.truth}: {', '.join(f'{visible(name)} {n}' for name, n in folio.owners.items())}"


def what_it_is(folio: FolioSeen) -> str:
    """Kind and size."""
    one = f"{folio.kind} {size(4 << folio.order)} folio"
    return (
        one
        if folio.count == 1
        else f"one of {folio.count} look-alike {folio.kind} folios of {one.split()[1]}"
    )
