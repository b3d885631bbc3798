"""Exploring every reachable state of a small world, by layers: what one event leads to, then two, ..."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from mapcount.check.exploration import Exploration, Stopped, Verdict, WronglyShared
from mapcount.check.ledger import Ledger, claims
from mapcount.check.paths import NoPath, Paths, in_order
from mapcount.check.saved import SavedError, save, take_up
from mapcount.check.scheme_search import explore_scheme
from mapcount.check.search import MemoryUsedUp, Search
from mapcount.check.world import World
from mapcount.check.wrongly import Rows, lone_rows, wrongly_shared
from mapcount.schemes.scheme import Scheme
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT

Progress = Callable[[int, int, int], None]
"""Called after each layer: its depth, its states, and all states so far."""


def explore(
    world: World,
    scheme: Scheme | None = None,
    *,
    threads: int | None = None,
    memory: int | None = None,
    reduce: bool = True,
    most_states: int | None = None,
    resume: Path | None = None,
    progress: Progress | None = None,
) -> Exploration:
    """Explore a world by the kernel's rules, or a scheme's.

    `memory`: bytes that the search may use (default: half of the machine's). `most_states`: stop after the
    layer in which so many were found. `reduce`: explore states that differ by renaming once. `resume`: a
    directory to take up a search from, if it is there, and to leave it in if it is not exhausted.
    `threads`: default, all cores. A scheme may look at pages and at MM ids, so its search is not reduced; it
    has one thread, and cannot be taken up again.

    Raises CannotExplore for a world that is too large to begin, SavedError or OSError for a search that
    cannot be taken up or left, and SchemeError. An interrupted search does not raise: it says so.
    """
    threads = threads or len(os.sched_getaffinity(0))
    memory = memory or default_memory()
    if scheme is not None:
        return explore_scheme(world, scheme, memory, most_states, progress)
    compile_all()
    start = time.perf_counter()
    with Search(world, threads=threads, memory=memory, reduced=reduce) as search:
        begun = resume is not None and resume.exists()
        if resume is not None and begun:
            take_up(search, resume)
        stopped = run(search, most_states, progress, begun=begun)
        if stopped and resume is not None:
            save(search, resume)
        seconds = time.perf_counter() - start
        ledger, lone = search.ledger, lone_rows(search)
    del search
    verdicts, wrongly = _stories(world, ledger, lone, threads, memory, reduce)
    return Exploration(
        world=world,
        scheme=None,
        reduced=reduce,
        states=sum(ledger.layers),
        unreduced_states=ledger.stands_for,
        transitions=ledger.transitions,
        depth=ledger.depth,
        layers=tuple(ledger.layers),
        seconds=seconds,
        verdicts=verdicts,
        wrongly_shared=wrongly,
        stopped=stopped,
        saved=resume if stopped else None,
    )


def compile_all() -> None:
    """Have all loops compiled, or found on disk, by exploring next to nothing."""
    with Search(World(NO_PAGE_MAPCOUNT, 1, 2), threads=1, memory=1 << 20, reduced=True) as search:
        run(search)


def default_memory() -> int:
    """Half of the machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def run(
    search: Search, most_states: int | None = None, progress: Progress | None = None, *, begun: bool = False
) -> Stopped | None:
    """Search until there is nothing left, or until something stops it: what did.

    `begun`: the last layer was settled already.
    """
    try:
        while True:
            layer = search.ledger.layers[-1] if begun else search.settle()
            if not layer:
                return None
            begun = False
            states = sum(search.ledger.layers)
            if progress:
                progress(search.ledger.depth, layer, states)
            if most_states and states >= most_states:
                return Stopped.MOST_STATES
            search.expand()
    except MemoryUsedUp:
        return Stopped.MEMORY
    except KeyboardInterrupt:
        return Stopped.INTERRUPTED


def _stories(
    world: World, ledger: Ledger, lone: Rows, threads: int, memory: int, reduced: bool
) -> tuple[tuple[Verdict, ...], WronglyShared | None]:
    """What became of each invariant claimed for the flavour, and of wrongly shared folios, with paths.

    Raises SavedError where a saved search says that something was met where it cannot be.
    """
    depth = max((place.depth for place in ledger.first.values()), default=0)
    with Search(world, threads=threads, memory=memory // 2, reduced=reduced) as search:
        try:
            paths = Paths(search, depth, memory // 2)
            return _verdicts(world, ledger, paths), wrongly_shared(ledger, lone, paths)
        except (MemoryUsedUp, MemoryError):
            return _verdicts(world, ledger, None), None
        except NoPath as error:
            raise SavedError(f"the saved search tells of what cannot be: {error}") from None


def _verdicts(world: World, ledger: Ledger, paths: Paths | None) -> tuple[Verdict, ...]:
    """The verdicts, without paths where there is no memory for them."""
    found = []
    for what in claims(world.kernel):
        place = ledger.first.get(what)
        if place is None or paths is None:
            found.append(Verdict(what, ledger.times.get(what, 0)))
            continue
        state, path = in_order(*paths.to(place))
        found.append(Verdict(what, ledger.times[what], state if place.event < 0 else None, path))
    return tuple(found)
