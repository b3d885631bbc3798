"""Exploring a world by the rules of any scheme, built in or the user's own."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapcount.check import scheme_states
from mapcount.check.exploration import (
    BACK_TO_ZERO,
    CannotExplore,
    Ending,
    Exploration,
    State,
    Stopped,
    Verdict,
    WronglyShared,
)
from mapcount.check.one_mm import OneMm
from mapcount.check.scheme_states import (
    BESIDE,
    EXCLUSIVE_SHARED,
    FULL,
    KINDS,
    NOT_AS_NEW,
    STATES,
    TRIED,
    WRONGLY_SHARED,
    Setting,
    bytes_per_state,
    layer_search,
    new_states,
)
from mapcount.check.search import POLL
from mapcount.check.world import Event, World
from mapcount.check.wrongly import Graph, longest_way, way_around
from mapcount.replay.schemes import ANSWER, CHANGE, WALK, compiled, no_walk
from mapcount.replay.tryout import try_out
from mapcount.schemes.scheme import Scheme, SchemeError

NO_LEADS = np.zeros((0, 0), np.int64)
MOST_WORDS = 1 << 12
MOST_STATES = (1 << 31) - 2
MOST_WRONGLY = 1 << 14
"""Wrongly shared states whose graph is looked through, the first ones. Only bad schemes have more."""


class SchemeSearch:
    """A breadth-first search of a world by a scheme's rules.

    Raises SchemeError for a scheme that does not compile, CannotExplore for worlds too large to begin.
    """

    def __init__(self, world: World, scheme: Scheme, memory: int) -> None:
        self.world, self.scheme = world, scheme
        self.one = OneMm.of(world, mirrored=False)
        bits = max(1, (len(self.one.mappings) - 1).bit_length())
        if bits * world.mms > 63:
            raise CannotExplore(
                f"there are more than 2^63 ways to map the folio: {world}; take fewer mms or pages"
            )
        words = scheme.words(world.pages)
        if not isinstance(words, int) or not 0 <= words <= MOST_WORDS:
            raise SchemeError(
                f"{scheme.name}.words({world.pages}) is {words!r}: a number from 0 to {MOST_WORDS}"
            )
        self.words = words
        self.setting = Setting(
            world.mms, world.pages, bits, words + (scheme.reset_every > 0), scheme.reset_every
        )
        most = min(memory // (bytes_per_state(self.setting.words) + 1), MOST_STATES)
        self.states = new_states(max(most, 2), self.setting.words)
        self.said = np.zeros(max(most, 2), np.bool_)
        self.counts, self.found = np.zeros(4, np.int64), np.zeros((KINDS, 2), np.int64)
        self.layers: list[int] = []
        self.functions = functions_of(scheme)
        self._stop = np.zeros(1, np.int64)
        scheme_states.find(
            self.states, np.int64(0), self.states.vectors[0].copy(), self.counts, np.int64(0), 0
        )

    def compile(self) -> None:
        """Have the loop compiled, or found on disk."""
        self._search(0, 0)

    @property
    def met(self) -> int:
        """How many states were met."""
        return int(self.counts[STATES])

    def layer(self) -> bool:
        """Try every event in the states of the last layer; are there new ones?

        Raises KeyboardInterrupt and MemoryError; then layers are as they were.
        """
        begin, end = sum(self.layers), self.met
        if begin == end:
            return False
        self.layers.append(end - begin)
        try:
            self._search(begin, end)
        except KeyboardInterrupt:
            self.layers.pop()
            raise
        if self.counts[FULL]:
            self.layers.pop()
            raise MemoryError
        return True

    def _arguments(self, begin: int, end: int, leads: NDArray[np.int64]) -> tuple[Any, ...]:
        return (
            *self.functions, self.setting, begin, end, self.states, self.one.table, self.counts, self.found,
            self._stop, self.said, leads,
        )  # fmt: skip

    def _search(self, begin: int, end: int) -> None:
        with ThreadPoolExecutor(1) as pool:
            part = pool.submit(layer_search, *self._arguments(begin, end, NO_LEADS))
            try:
                while wait([part], timeout=POLL).not_done:
                    pass
            except KeyboardInterrupt:
                self._stop[0] = 1
                raise
            part.result()
        if self.counts[BESIDE]:
            raise SchemeError(
                f"{self.scheme.name} writes beside its {self.words} words, when it is told of "
                f"{'; '.join(map(str, self.path(int(self.counts[STATES]) - 1)[-3:]))} or what follows"
            )

    def state(self, number: int) -> State:
        """A state by its number."""
        bits, key = self.setting.bits, int(self.states.keys[number])
        mask = (1 << bits) - 1
        tables = tuple(self.one.mappings[key >> i * bits & mask] for i in range(self.world.mms))
        return State(tables, scheme=tuple(int(word) for word in self.states.vectors[number, : self.words]))

    def path(self, number: int) -> tuple[Event, ...]:
        """A shortest way to a state."""
        path = []
        while number:
            parent, (place, row) = (
                int(self.states.parents[number]),
                divmod(int(self.states.events[number]), 1 << 16),
            )
            path.append(self._event(parent, place, row))
            number = parent
        return tuple(reversed(path))

    def _event(self, number: int, place: int, row: int) -> Event:
        """The event of an mm, by its place and the row of its table, in a state."""
        bits = self.setting.bits
        mine = int(self.states.keys[number]) >> place * bits & (1 << bits) - 1
        return self.one.events[int(self.one.table.first[mine]) + row]._replace(mm=place + 1)

    def wrongly_shared(self) -> WronglyShared | None:
        """The story of being wrongly shared, as far as it was met."""
        times, first = (int(n) for n in self.found[WRONGLY_SHARED])
        if not times:
            return None
        graph = self._graph()
        around = way_around(graph, first)
        longest = None if around else longest_way(graph, first)
        return WronglyShared(times, self.state(first), self.path(first), longest, around, graph.endings)

    def _graph(self) -> Graph[int]:
        """Wrongly shared states, what leads from one to the other, and what ends it."""
        graph: Graph[int] = Graph({}, dict.fromkeys(Ending, 0))
        widest = int(np.diff(self.one.table.first).max())
        for number in self._wrongly():
            leads = np.full((1, widest * self.world.mms), -1, np.int64)
            layer_search(*self._arguments(number, number + 1, leads))
            graph.steps[number] = []
            for at in np.flatnonzero(leads[0] >= 0):
                then, (place, row) = int(leads[0, at]), divmod(int(at), widest)
                owners = [mine for mine in self.state(then).tables if mine.entries]
                if len(owners) > 1:
                    graph.endings[Ending.SHARED] += 1
                elif not owners:
                    graph.endings[Ending.UNMAPPED] += 1
                elif self.said[then]:
                    graph.steps[number].append((self._event(number, place, row), then))
                else:
                    one_left = owners[0].entries == 1
                    graph.endings[Ending.ONE_MAPPING if one_left else Ending.RECOGNISED] += 1
        return graph

    def _wrongly(self) -> list[int]:
        """The states that are wrongly shared."""
        masks = np.int64((1 << self.setting.bits) - 1)
        keys = self.states.keys[: self.met]
        owners = sum(
            (keys >> i * self.setting.bits & masks > 0).astype(np.int64) for i in range(self.world.mms)
        )
        return [
            int(number) for number in np.flatnonzero((owners == 1) & self.said[: self.met])[:MOST_WRONGLY]
        ]


def functions_of(scheme: Scheme) -> tuple[Any, ...]:
    """A scheme's functions, compiled and, if they are not ours, tried out. Raises SchemeError."""
    functions = (
        compiled(scheme.add, CHANGE, scheme.name),
        compiled(scheme.remove, CHANGE, scheme.name),
        compiled(scheme.maybe_shared, ANSWER, scheme.name),
        compiled(scheme.walked or no_walk, WALK, scheme.name),
    )
    if not str(getattr(scheme.add, "__module__", "")).startswith("mapcount."):
        try_out(scheme, functions)
    return functions


def explore_scheme(
    world: World,
    scheme: Scheme,
    memory: int,
    most_states: int | None,
    progress: Callable[[int, int, int], None] | None,
) -> Exploration:
    """`explore` for a scheme; see there."""
    search = SchemeSearch(world, scheme, memory)
    search.compile()
    start = time.perf_counter()
    stopped = _run(search, most_states, progress)
    seconds = time.perf_counter() - start
    return Exploration(
        world=world,
        scheme=scheme.name,
        reduced=False,
        states=search.met,
        unreduced_states=search.met,
        transitions=int(search.counts[TRIED]),
        depth=len(search.layers) - 1,
        layers=tuple(search.layers),
        seconds=seconds,
        verdicts=tuple(_verdicts(search)),
        wrongly_shared=search.wrongly_shared(),
        stopped=stopped,
    )


def _run(
    search: SchemeSearch, most_states: int | None, progress: Callable[[int, int, int], None] | None
) -> Stopped | None:
    try:
        while search.layer():
            if progress:
                progress(len(search.layers) - 1, search.layers[-1], search.met)
            if most_states and search.met >= most_states:
                return Stopped.MOST_STATES
    except MemoryError:
        return Stopped.MEMORY
    except KeyboardInterrupt:
        return Stopped.INTERRUPTED
    return None


def _verdicts(search: SchemeSearch) -> list[Verdict]:
    found = []
    kinds = ((EXCLUSIVE_SHARED, "never-exclusive-when-shared", False), (NOT_AS_NEW, BACK_TO_ZERO, True))
    for kind, what, informs in kinds:
        times, first = (int(n) for n in search.found[kind])
        state, path = (search.state(first), search.path(first)) if times else (None, None)
        found.append(Verdict(what, times, state, path, informs))
    return found
