"""Any scheme, compiled and asked after every event: is it right, and what does it cost?

Only large folios that are not hugetlb are counted: for others, the total mapcount alone answers.
"""

from __future__ import annotations

import threading
from enum import IntEnum
from functools import cache
from typing import Any, Final

import numpy as np
from numba import boolean, int64, njit, types, void
from numba.core.errors import NumbaError
from numpy.typing import NDArray

from mapcount.replay.folios import ID_MASK, SHAPE_SHIFT, Folios
from mapcount.replay.grouping import (
    DOES_SHIFT,
    ENTRY,
    GROUP,
    IS_NEW,
    NR_SHIFT,
    PAGE_MASK,
    PAGE_SHIFT,
    SUBTRACTS,
)
from mapcount.replay.trace import ANON, HUGETLB, MOST_ORDER, MOST_PHASES, ORDER_MASK
from mapcount.replay.tryout import try_out
from mapcount.schemes.scheme import Scheme, SchemeError
from mapcount.tracking.flavour import PMD_ORDER, PUD_ORDER


class Measure(IntEnum):
    """What is counted, by phase and order."""

    EVENTS = 0
    UPDATES = 1
    """Counters changed, one by one; a locked update counts once."""
    LOCKED = 2
    WALKED = 3
    """Mappings visited by walks over page tables."""
    MAPPED = 4
    """Events that leave the folio mapped; the next two are of these."""
    FALSELY_SHARED = 5
    FALSELY_EXCLUSIVE = 6
    COPIES = 7
    """Pages that an anonymous folio's sole owner would copy, not reuse, were it to write to them then:
    counted whenever the scheme begins to call it shared by mistake."""


class Time(IntEnum):
    """Folio-time (`verdicts.py`), by order."""

    MAPPED = 0
    FALSELY_SHARED = 1
    FALSELY_EXCLUSIVE = 2


MEASURES: Final = len(Measure)
EVENTS, UPDATES, LOCKED, WALKED, MAPPED = (int(Measure(k)) for k in range(5))
FALSELY_SHARED, FALSELY_EXCLUSIVE, COPIES = int(Measure(5)), int(Measure(6)), int(Measure(7))

STATE = types.Array(types.int64, 1, "C")
CHANGE = int64(STATE, int64, int64, int64, int64, int64)
ANSWER = boolean(STATE, int64, int64)
WALK = void(STATE, int64, int64)


def no_walk(state: Any, owner: int, total: int) -> None:
    """For schemes that no walk helps."""


def compiled(function: Any, signature: Any, name: str) -> Any:
    """The function, compiled; once for all for those that come with mapcount."""
    try:
        return njit(signature, cache=_ours(function), nogil=True)(function)
    except NumbaError as error:
        why = next((line for line in str(error).splitlines() if line.strip()), "")
        raise SchemeError(f"{name}.{function.__name__} cannot be compiled: {why[:300]}") from None


def _ours(function: Any) -> bool:
    return str(getattr(function, "__module__", "")).startswith("mapcount.")


class SchemeReplay:
    """One scheme's state of all folios, and what was counted."""

    def __init__(self, scheme: Scheme, folios: Folios) -> None:
        """Raises SchemeError for a scheme that does not compile, MemoryError when its state does not fit."""
        self.scheme = scheme
        n = len(folios)
        order = folios.order(0, n)
        self._theirs = (order > 0) & (folios.shapes(0, n) & HUGETLB == 0)
        words = np.array(
            [_size(scheme.words, scheme.name, "words", k) for k in range(MOST_ORDER + 1)], np.int64
        )
        self.state_bytes = [
            _size(scheme.state_bytes, scheme.name, "state_bytes", k) for k in range(MOST_ORDER + 1)
        ]
        """By order."""
        self.folios_by_order = np.bincount(order[self._theirs], minlength=MOST_ORDER + 1)
        self._offsets = np.zeros(n + 1, np.int64)
        np.cumsum(np.where(self._theirs, words[order], 0), out=self._offsets[1:])
        self._state = np.zeros(int(self._offsets[-1]), np.int64)
        self._truth = np.zeros((n, 4), np.float64)
        """Total, mappings by one entry, and the two sums (`folios.py`)."""
        self._verdict = np.zeros(n, np.uint8)
        self._seen = np.zeros(n if scheme.reset_every else 0, np.uint32)
        self._desks: dict[int, tuple[NDArray[np.int64], NDArray[np.int64]]] = {}
        self._lock = threading.Lock()
        name = scheme.name
        self._functions = (
            compiled(scheme.add, CHANGE, name),
            compiled(scheme.remove, CHANGE, name),
            compiled(scheme.maybe_shared, ANSWER, name),
            compiled(scheme.walked or no_walk, WALK, name),
        )
        if not _ours(scheme.add):
            try_out(scheme, self._functions)

    def replay(
        self, words: Any, index: Any, events: Any, place: Any, folios: Folios, f: int, n: int, when: Any
    ) -> None:
        """Apply the events, known to be legal, of folios [f, f + n), laid out as `grouping.lay_out` says.

        Threads do so side by side.
        """
        with self._lock:
            desk = self._desks.setdefault(threading.get_ident(), (
                np.zeros((MOST_PHASES, MOST_ORDER + 1, MEASURES), np.int64),
                np.zeros((MOST_ORDER + 1, len(Time)), np.int64),
            ))  # fmt: skip
        kernel()(
            *self._functions, self.scheme.locked, self.scheme.reset_every, words, index, *when, events, place,
            folios.owner0, f, n, self._offsets, self._state, self._truth, self._verdict, self._seen, *desk,
        )  # fmt: skip

    def counts(self) -> NDArray[np.int64]:
        """[phase, order, measure] so far."""
        none = np.zeros((MOST_PHASES, MOST_ORDER + 1, MEASURES), np.int64)
        return none + sum(counts for counts, _ in self._desks.values())

    def times(self, folios: Folios, events: int) -> NDArray[np.int64]:
        """[order, `Time`], to the end of a trace of so many events."""
        times = np.zeros((MOST_ORDER + 1, len(Time)), np.int64) + sum(t for _, t in self._desks.values())
        order = folios.order(0, len(folios))
        for verdict in range(1, 4):
            ends = np.bincount(order[self._verdict == verdict], minlength=MOST_ORDER + 1) * events
            times[:, 0] += ends
            if verdict > 1:
                times[:, verdict - 1] += ends
        return times


def _size(function: Any, name: str, what: str, order: int) -> int:
    size = function(1 << order)
    if not isinstance(size, int) or not 0 <= size <= 1 << 24:
        raise SchemeError(f"{name}.{what}({1 << order}) is {size!r}: a number from 0 to {1 << 24}")
    return size


def replay_scheme(
    add: Any, remove: Any, maybe_shared: Any, walked: Any, locked: bool, reset_every: int,
    words: Any, index: Any, rows: Any, first: int, phases: Any, events: Any, place: Any, owner0: Any,
    f: int, n: int, offsets: Any, states: Any, truth: Any, verdicts: Any, seen: Any, counts: Any, times: Any,
) -> None:  # fmt: skip
    """Apply the sorted events of folios [f, f + n) to a scheme, and judge its answer after each.

    Compiled once for all schemes: their functions are called by address (`kernel`).
    """
    for k in range(n):
        shape = owner0[f + k] >> np.uint32(SHAPE_SHIFT)
        order = np.int64(shape & np.uint32(ORDER_MASK))
        if order == 0 or shape & np.uint32(HUGETLB):
            continue
        anon = shape & np.uint32(ANON) != 0
        state = states[offsets[f + k] : offsets[f + k + 1]]
        total, entire = np.int64(truth[f + k, 0]), np.int64(truth[f + k, 1])
        sum1, sum2 = truth[f + k, 2], truth[f + k, 3]
        before: Any = np.int64(verdicts[f + k])
        for t in range(events[k]):
            j = np.int64(place[k]) + t * GROUP
            word, i = words[j], index[j]
            mm = np.int64(word & np.uint64(ID_MASK))
            does = np.int64(word >> np.uint64(DOES_SHIFT) & np.uint64(7))
            phase = np.int64(phases[i])
            page = np.int64(word >> np.uint64(PAGE_SHIFT) & np.uint64(PAGE_MASK))
            pages = np.int64(word >> np.uint64(NR_SHIFT))
            entry = does & ENTRY != 0 or (does & IS_NEW != 0 and order in (PMD_ORDER, PUD_ORDER))
            mappings = np.int64(1) if entry else pages
            d = -mappings if does & SUBTRACTS else mappings
            total += d
            entire += d if entry else 0
            sum1 += d * mm
            sum2 += d * mm * mm
            change = (
                remove(state, mm, page, pages, mappings, total)
                if does & SUBTRACTS
                else add(state, mm, page, pages, mappings, total)
            )
            count = counts[phase, order]
            count[EVENTS] += 1
            count[UPDATES] += change + locked
            count[LOCKED] += locked
            owner = sum1 / total if total else 0.0
            one = owner == np.floor(owner) and owner * sum1 == sum2
            if reset_every:
                seen[f + k] += 1
                if seen[f + k] % reset_every == 0:
                    walked(state, np.int64(owner) if one else 0, total)
                    count[WALKED] += total
            maybe = maybe_shared(state, np.int64(1) << order, total)
            after: Any = 0
            if total:
                after = (2 if maybe else 1) if one else (1 if maybe else 3)
                count[MAPPED] += 1
                count[FALSELY_SHARED] += after == 2
                count[FALSELY_EXCLUSIVE] += after == 3
                if after == 2 and before != 2 and anon:
                    count[COPIES] += total - entire
            if after != before:
                row = first + np.int64(rows[i] if len(rows) > 0 else i)
                times[order, 0] += row * (np.int64(before > 0) - np.int64(after > 0))
                times[order, 1] += row * (np.int64(before == 2) - np.int64(after == 2))
                times[order, 2] += row * (np.int64(before == 3) - np.int64(after == 3))
                before = after
        truth[f + k, 0], truth[f + k, 1], truth[f + k, 2], truth[f + k, 3] = total, entire, sum1, sum2
        verdicts[f + k] = before


@cache
def kernel() -> Any:
    """`replay_scheme`, compiled for functions of any scheme. Found on disk after the first time."""
    functions = (types.FunctionType(signature) for signature in (CHANGE, CHANGE, ANSWER, WALK))
    u32, i64, f64 = (types.Array(t, 1, "C") for t in (types.uint32, types.int64, types.float64))
    words, truth = types.Array(types.uint64, 1, "C"), types.Array(f64.dtype, 2, "C")
    given, phases = (types.Array(t, 1, "C", readonly=True) for t in (types.uint32, types.uint8))
    verdicts, counts, times = (
        types.Array(types.uint8, 1, "C"),
        types.Array(int64, 3, "C"),
        types.Array(int64, 2, "C"),
    )
    signature = void(
        *functions, boolean, int64, words, u32, given, int64, phases, u32, u32, u32, int64, int64,
        i64, i64, truth, verdicts, u32, counts, times,
    )  # fmt: skip
    return njit(signature, cache=True, nogil=True)(replay_scheme)
