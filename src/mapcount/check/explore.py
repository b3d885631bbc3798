"""Exploring every reachable state of a small world, by layers: what one event leads to, then two, ..."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from mapcount.check.exploration import Exploration, Stopped, Verdict
from mapcount.check.ledger import Ledger, claims
from mapcount.check.paths import Paths, in_order
from mapcount.check.scheme_search import explore_scheme
from mapcount.check.search import MemoryUsedUp, Search
from mapcount.check.world import World
from mapcount.check.wrongly import wrongly_shared
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

    Raises CannotExplore for a world that is too large to begin, and KeyboardInterrupt never: an interrupted
    search says so in what it returns.
    """
    threads = threads or len(os.sched_getaffinity(0))
    memory = memory or default_memory()
    if scheme is not None:
        return explore_scheme(world, scheme, memory, most_states, progress)
    compile_all()
    start = time.perf_counter()
    with Search(world, threads=threads, memory=memory, reduced=reduce) as search:
        stopped = run(search, most_states, progress)
        seconds = time.perf_counter() - start
        ledger = search.ledger
        with Search(world, threads=threads, memory=memory, reduced=reduce) as again:
            paths = Paths(again, max((place.depth for place in ledger.first.values()), default=0), memory)
            verdicts = _verdicts(world, ledger, paths)
            wrongly = wrongly_shared(search, paths)
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
    )


def compile_all() -> None:
    """Have all loops compiled, or found on disk, by exploring next to nothing."""
    with Search(World(NO_PAGE_MAPCOUNT, 1, 2), threads=1, memory=1 << 20, reduced=True) as search:
        run(search, None, None)


def default_memory() -> int:
    """Half of the machine's memory."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2


def run(search: Search, most_states: int | None, progress: Progress | None) -> Stopped | None:
    """Search until there is nothing left, or until something stops it: what did."""
    try:
        while layer := search.settle():
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
    return None


def _verdicts(world: World, ledger: Ledger, paths: Paths) -> tuple[Verdict, ...]:
    """What became of each invariant that is claimed for the world's flavour."""
    found = []
    for what in claims(world.kernel):
        place = ledger.first.get(what)
        if place is None:
            found.append(Verdict(what, 0))
            continue
        state, path = in_order(*paths.to(place))
        found.append(Verdict(what, ledger.times[what], state if place.event < 0 else None, path))
    return tuple(found)
