"""Where a story takes a turn: the steps in which estimates, treatment or /proc become different.

Found by comparing, step by step, what several kernels said; `moments` chooses among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from mapcount.report.html.playback import Played
from mapcount.report.html.scene import FolioPicture, Scene
from mapcount.report.words import about, flavours_word, listed, size
from mapcount.scenario.observation import FolioSeen


class Turn(IntEnum):
    """What makes a moment matter; the smaller, the more."""

    WRONG = 0
    """A kernel's estimate becomes wrong."""
    UNTRACKED = 1
    """A process finds no free slot."""
    TREATED = 2
    """The same request is carried out differently by different kernels."""
    PROC = 3
    """Pss or Uss differ between the two builds as never before."""
    KNOWN = 4
    """An estimate that was wrong is right again, and the folio still mapped."""
    SYSTEM = 5
    """AnonPages or Mapped differ between the two builds as never before."""
    PINNED = 6
    """A pinned folio is kept out of a fork."""
    SHARED = 7
    """A large folio is shared for the first time."""
    ALONE = 8
    """It has one owner again, and every kernel knows."""
    FIRST = 9
    """Something is mapped for the first time."""
    LAST = 10
    """The last thing that happens while something is mapped."""


@dataclass(frozen=True, slots=True)
class Found:
    """A turn: the step, the process and virtual page it is about, and why, in a sentence."""

    turn: Turn
    step: int
    where: tuple[str, int]
    reason: str


def folio_at(scene: Scene, process: str, page: int) -> int | None:
    """Which of the scene's folios a virtual page points at, if any."""
    space = scene.spaces.get(process)
    for start, n, frame, _, _ in space.entries if space else ():
        if start <= page < start + n:
            return scene.folio_at(frame + page - start)
    return None


def where_mapped(scene: Scene, at: int) -> tuple[str, int] | None:
    """The first process that maps a folio, and the first virtual page by which it does."""
    folio = scene.folios[at]
    for process, _ in folio.lanes:
        for start, n, frame, _, _ in scene.spaces[process].entries:
            first = max(frame, folio.pfn)
            if first < min(frame + n, folio.pfn + folio.n):
                return process, start + first - frame
    return None


def _with_and_without(by_page: int, by_folio: int) -> str:
    """Two amounts in KiB, in as few digits as tell them apart."""
    show = about if about(by_page) != about(by_folio) else size
    return f"{show(by_page)} with per-page counts, {show(by_folio)} without"


class Finder:
    """Looks through all steps in which something happened. Needs a kernel of each build that has slots."""

    def __init__(self, played: Sequence[Played], told: Sequence[Sequence[dict[str, Any]]]) -> None:
        self.played, self.told = played, told
        self.acted = [i for i, step in enumerate(played[0].run.steps) if not step.only_expects]
        flavours = [one.run.flavour for one in played]
        self.names = [flavour.name for flavour in flavours]
        with_slots = [k for k, flavour in enumerate(flavours) if flavour.owner_slots]
        self.by_page = next(k for k in with_slots if flavours[k].page_mapcounts)
        self.by_folio = next(k for k in with_slots if not flavours[k].page_mapcounts)

    def find(self) -> Iterator[Found]:
        """Everything that could be a moment."""
        yield from self._wrong()
        yield from self._untracked()
        yield from self._treated()
        yield from self._widest(Turn.PROC, self._processes_apart)
        yield from self._widest(Turn.SYSTEM, self._system_apart)
        yield from self._known()
        yield from self._pinned()
        yield from self._shared()
        ends = (Turn.FIRST, self.acted, "The first large folio"), (Turn.LAST, self.acted[::-1], "The end")
        for turn, steps, reason in ends:
            some = next((i for i in steps if self._subject(self.by_page, i) is not None), None)
            if some is not None:
                yield from self._at(turn, some, self.by_page, self._subject(self.by_page, some), reason)

    def alike(self, i: int, one: tuple[str, int], other: tuple[str, int]) -> bool:
        """Do two pages belong to large folios with the same owners, of which a kernel says the same?"""
        folios = []
        for where in (one, other):
            at = folio_at(self._scene(self.by_page, i), *where)
            if at is None:
                return False
            folios.append(self.played[self.by_page].run.steps[i].seen.folios[at])
        first, second = ((bool(f.order), list(f.owners), f.truth, f.maybe_shared) for f in folios)
        return first == second

    def _folios(self, k: int, i: int) -> list[tuple[int, FolioSeen, FolioPicture]]:
        seen, scene = self.played[k].run.steps[i].seen, self.played[k].scenes[i]
        return [(at, *both) for at, both in enumerate(zip(seen.folios, scene.folios, strict=True))]

    def _subject(self, k: int, i: int, want: Callable[[FolioSeen], bool] = lambda folio: True) -> int | None:
        """The largest folio that is mapped and wanted, of several the newest."""
        fit = [(f.order, at) for at, f, drawn in self._folios(k, i) if drawn.lanes and want(f)]
        return max(fit)[1] if fit else None

    def _at(self, turn: Turn, i: int, k: int, at: int | None, reason: str) -> Iterator[Found]:
        where = where_mapped(self.played[k].scenes[i], at) if at is not None else None
        if where is not None:
            yield Found(turn, i, where, reason)

    def _kernels(self, which: Sequence[int]) -> str:
        """Which kernels, in few words."""
        with_slots = [k for k, one in enumerate(self.played) if one.run.flavour.owner_slots]
        if list(which) == with_slots:
            return "all kernels with owner slots"
        return flavours_word([self.names[k] for k in which], self.names)

    def _wrong(self) -> Iterator[Found]:
        """Steps in which estimates become wrong, the first for each set of kernels."""
        seen: set[tuple[int, ...]] = set()
        before = [False] * len(self.played)
        for i in self.acted:
            now = [one.run.steps[i].seen.wrong_folios > 0 for one in self.played]
            newly = tuple(k for k, wrong in enumerate(now) if wrong and not before[k])
            before = now
            if not newly or newly in seen:
                continue
            seen.add(newly)
            at = self._subject(newly[0], i, lambda folio: folio.wrong)
            if at is not None:
                folio = self.played[newly[0]].run.steps[i].seen.folios[at]
                says = "shared" if folio.maybe_shared else "exclusive"
                reason = f"The folio is {folio.truth}, and taken for {says}: wrong on {self._kernels(newly)}"
                yield from self._at(Turn.WRONG, i, newly[0], at, reason)

    def _untracked(self) -> Iterator[Found]:
        k = self.by_page
        for i in self.acted:
            for at, folio, _ in reversed(self._folios(k, i)):
                held = {name for name, _ in folio.slots}
                left_out = [name for name in folio.owners if name not in held]
                if folio.order and len(held) == 2 and left_out:
                    are = "is" if len(left_out) == 1 else "are"
                    reason = f"Both slots are taken: {listed(left_out)} {are} not tracked"
                    yield from self._at(Turn.UNTRACKED, i, k, at, reason)
                    return

    def _treated(self) -> Iterator[Found]:
        """The first step whose write or MADV_PAGEOUT comes to different ends, or to a needless one."""
        for i in self.acted:
            fates = [tuple(told[i].get("fates", ())) for told in self.told]
            same = len({tuple((f["pages"], f["fate"]) for f in some) for some in fates}) == 1
            needless = [k for k, some in enumerate(fates) if any("needless" in f["why"] for f in some)]
            if same and not needless:
                continue
            (action,) = (a for a in self.played[0].run.steps[i].step.actions if a.verb != "expect")
            space = self.played[0].scenes[i].spaces.get(action.actor)
            if action.target is None or space is None:
                continue
            for (name, _, _), start in zip(space.regions, space.starts, strict=True):
                if name == action.target.region:
                    reason = self._ends(fates, needless if same else [])
                    yield Found(Turn.TREATED, i, (action.actor, start + action.target.start), reason)
            return

    def _ends(self, fates: Sequence[Sequence[dict[str, Any]]], needless: Sequence[int]) -> str:
        """What became of the same request on each kernel, in words."""
        ends: dict[str, list[int]] = {}
        for k, some in enumerate(fates):
            ends.setdefault(listed(list(dict.fromkeys(f["fate"] for f in some)) or ["done"]), []).append(k)
        words = ", ".join(f"{end} on {self._kernels(which)}" for end, which in ends.items())
        why = f", needlessly on {self._kernels(needless)}" if needless else ""
        return f"{words[0].upper()}{words[1:]}{why}"

    def _widest(self, turn: Turn, apart: Callable[[int], tuple[int, str, int | None]]) -> Iterator[Found]:
        """The first step in which the two builds are farthest apart."""
        most, reason, i, subject = 0, "", 0, None
        for step in self.acted:
            gap, words, at = apart(step)
            if gap > most and at is not None:
                most, reason, i, subject = gap, words, step, at
        if most:
            yield from self._at(turn, i, self.by_folio, subject, reason)

    def _processes_apart(self, i: int) -> tuple[int, str, int | None]:
        one, other = (self.played[k].run.steps[i].seen.rollup for k in (self.by_page, self.by_folio))
        gaps = [
            (abs(one[name][field] - other[name][field]), name, field)
            for name in one
            for field in ("uss", "pss")
        ]
        if not gaps:
            return 0, "", None
        _, name, field = max(gaps, key=lambda gap: gap[0])
        words = f"{name}'s {field.capitalize()} is {_with_and_without(one[name][field], other[name][field])}"
        theirs = [at for at, folio, _ in self._folios(self.by_folio, i) if name in folio.owners]
        return sum(g[0] for g in gaps), words, max(theirs, key=lambda at: self._apart(i, at), default=None)

    def _apart(self, i: int, at: int) -> float:
        """How differently the two builds see a folio: pages, by their share and by being private."""
        folio, where = self._folios(self.by_folio, i)[at][1], where_mapped(self._scene(self.by_folio, i), at)
        other = folio_at(self._scene(self.by_page, i), *where) if where else None
        if other is None:
            return 0
        average = max(1, folio.average_mapcount)
        return folio.count * sum(
            pages * (abs(1 / count - 1 / average) + ((count == 1) == folio.maybe_shared))
            for pages, count in self._scene(self.by_page, i).folios[other].page_mapcounts
            if count
        )

    def _scene(self, k: int, i: int) -> Scene:
        return self.played[k].scenes[i]

    def _system_apart(self, i: int) -> tuple[int, str, int | None]:
        one, other = (self.played[k].run.steps[i].seen.system for k in (self.by_page, self.by_folio))
        field, name = max(
            (("anon_pages", "AnonPages"), ("mapped", "Mapped")), key=lambda f: abs(one[f[0]] - other[f[0]])
        )
        words = f"{name} is {_with_and_without(4 * one[field], 4 * other[field])}"
        at = self._subject(self.by_folio, i, lambda folio: folio.partially_mapped)
        return abs(one[field] - other[field]), words, self._subject(self.by_folio, i) if at is None else at

    def _known(self) -> Iterator[Found]:
        """The first step after which no kernel is mistaken any more about a folio that is still mapped."""
        k = self.by_page
        was: tuple[str, int] | None = None
        for i in self.acted:
            scene, seen = self.played[k].scenes[i], self.played[k].run.steps[i].seen
            if was is not None and not any(one.run.steps[i].seen.wrong_folios for one in self.played):
                at = folio_at(scene, *was)
                if at is not None and seen.folios[at].truth == "exclusive":
                    yield Found(Turn.KNOWN, i, was, "Every kernel knows the only owner again")
                    return
            at = self._subject(k, i, lambda folio: folio.wrong and folio.maybe_shared)
            was = where_mapped(scene, at) if at is not None else None

    def _pinned(self) -> Iterator[Found]:
        k = self.by_page
        for i in self.acted:
            forks = [a for a in self.played[k].run.steps[i].step.actions if a.verb == "fork"]
            at = self._subject(k, i, lambda folio: bool(folio.counters.get("pincount"))) if forks else None
            if at is not None and self.played[k].run.steps[i].seen.folios[at].truth == "exclusive":
                reason = f"The folio is pinned, so {forks[0].word} gets copies, and shares nothing of it"
                yield from self._at(Turn.PINNED, i, k, at, reason)
                return

    def _shared(self) -> Iterator[Found]:
        """The first step in which a folio is shared, and the first in which one of these has one owner."""
        k = self.by_page
        shared: set[int] = set()
        told = False
        for i in self.acted:
            now: set[int] = set()
            for at, folio, drawn in self._folios(k, i):
                if folio.order and folio.truth == "shared":
                    now.add(drawn.pfn)
                elif drawn.pfn in shared and drawn.lanes and not folio.wrong:
                    reason = f"Only {listed(list(folio.owners))} maps the folio, and the slots show it"
                    yield from self._at(Turn.ALONE, i, k, at, reason)
                    return
                elif drawn.pfn in shared and drawn.lanes:
                    now.add(drawn.pfn)
            if now and not told:
                told = True
                most = self._subject(k, i, lambda folio: folio.truth == "shared")
                assert most is not None
                owners = self.played[k].run.steps[i].seen.folios[most].owners
                yield from self._at(Turn.SHARED, i, k, most, f"{listed(list(owners))} share the folio")
            shared = now
