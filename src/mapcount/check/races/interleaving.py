"""The steps to a broken state, retold: who did what, and what it changed, with as few switches as can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mapcount.check.races.machine import Machine, Move, State
from mapcount.check.races.memory import Load
from mapcount.check.races.search import Judge


@dataclass(frozen=True, slots=True)
class Line:
    """One step of an interleaving."""

    thread: int
    label: str
    read: tuple[str, int] | None
    """What a plain read saw: cell, value."""
    changes: tuple[tuple[str, int, int], ...]
    """Cells that changed in memory: name, before, after."""
    flush: bool
    """Is it a buffered store that reaches memory?"""


def replay(machine: Machine, moves: Sequence[Move]) -> tuple[State, list[Line]] | None:
    """Take these steps; where they lead, and what each did. None if one of them is not possible."""
    state, lines = machine.start, []
    for move in moves:
        after = machine.take(state, move)
        if after is None:
            return None
        lines.append(_line(machine, state, move, after))
        state = after
    return state, lines


def _line(machine: Machine, state: State, move: Move, after: State) -> Line:
    before = zip(machine.cells, state.memory, after.memory, strict=True)
    changes = tuple((cell, old, new) for cell, old, new in before if old != new)
    access = state.places[move.thread].access
    read = None
    if move.flush:
        cell, _ = state.buffers[move.thread][0]
        label = f"{machine.cells[cell]} reaches memory"
    else:
        assert access is not None
        label = getattr(access, "label", "")
        if isinstance(access, Load):
            read = (access.cell, machine.read(state, move.thread))
    return Line(move.thread, label, read, changes, move.flush)


def fewest_switches(machine: Machine, moves: Sequence[Move], holds: Callable[[State], bool]) -> list[Move]:
    """The same steps, in an order with fewer changes of thread, if they lead to where `holds` is true too.

    A step is moved next to the neighbouring steps of its thread while that is possible: not the best order
    there is, but one that reads well.
    """
    best = list(moves)
    improved = True
    while improved:
        improved = False
        for block in _blocks(best):
            for at in _places(best, block):
                moved = best[: block.start] + best[block.stop :]
                moved[at:at] = best[block.start : block.stop]
                if _switches(moved) < _switches(best):
                    done = replay(machine, moved)
                    if done is not None and holds(done[0]):
                        best, improved = moved, True
                        break
            if improved:
                break
    return best


def _blocks(moves: Sequence[Move]) -> list[slice]:
    """Runs of steps of one thread, and every head and tail of one."""
    edges = [i for i in range(1, len(moves)) if moves[i].thread != moves[i - 1].thread]
    bounds = [0, *edges, len(moves)]
    found = []
    for start, stop in pairwise(bounds):
        found.append(slice(start, stop))
        found += [slice(start, middle) for middle in range(start + 1, stop)]
        found += [slice(middle, stop) for middle in range(start + 1, stop)]
    return found


def _places(moves: Sequence[Move], block: slice) -> list[int]:
    """Where else the block could stand: right before or after other steps of its thread."""
    left = list(moves[: block.start]) + list(moves[block.stop :])
    thread = moves[block.start].thread
    return [
        i
        for i in range(len(left) + 1)
        if (i and left[i - 1].thread == thread) or (i < len(left) and left[i].thread == thread)
    ]


def _switches(moves: Sequence[Move]) -> int:
    return sum(a.thread != b.thread for a, b in pairwise(moves))


def breaks(name: str, machine: Machine, always: Judge, at_rest: Judge) -> Callable[[State], bool]:
    """Does a state break the property of that name?"""

    def holds(state: State) -> bool:
        if name in always(state.memory):
            return True
        if any(True for _ in machine.moves(state)):
            return False
        return name in at_rest(state.memory) if machine.finished(state) else name == "lock"

    return holds
