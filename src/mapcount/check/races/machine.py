"""Threads over shared memory: which steps are possible in a state, and what they lead to.

Two memory models:

- `sc`, sequential consistency: every access takes effect at once, for everybody.
- `tso`, total store order, as x86 has it: a plain store goes into the thread's own store buffer, first in,
  first out, and reaches memory at some later step. The thread itself reads its newest buffered value. An
  atomic read-modify-write waits until the buffer is empty, so it is a full barrier.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mapcount.check.races.memory import Load, Note, Protected, Store, Update
from mapcount.check.races.program import Make, Place, Program

MEMORY_MODELS = ("sc", "tso")

Values = tuple[int, ...]
Buffer = tuple[tuple[int, int], ...]
"""Stores not yet in memory, oldest first: (cell, value)."""


class State(NamedTuple):
    """Everything at one moment: what is in memory, where each thread is, what its buffer holds."""

    memory: Values
    places: tuple[Place, ...]
    buffers: tuple[Buffer, ...]


class Move(NamedTuple):
    """One step: of which thread, and whether it is only its oldest buffered store reaching memory."""

    thread: int
    flush: bool


class Machine:
    """Programs, the cells they share and how memory behaves.

    `start` gives every cell its name and first value; `threads` are names and programs.
    """

    def __init__(
        self,
        start: dict[str, int],
        threads: Sequence[tuple[str, Make]],
        memory_model: str = "sc",
        *,
        merge: bool = True,
    ) -> None:
        if memory_model not in MEMORY_MODELS:
            raise ValueError(f"there is no memory model {memory_model!r}: {', '.join(MEMORY_MODELS)}")
        self.cells = tuple(start)
        self.names = tuple(name for name, _ in threads)
        self.buffered = memory_model == "tso"
        numbers = {name: number for number, name in enumerate(self.cells)}
        self.programs = tuple(Program(name, make, numbers, merge=merge) for name, make in threads)
        self.start = State(
            tuple(start.values()), tuple(p.start for p in self.programs), ((),) * len(self.programs)
        )

    def moves(self, state: State) -> Iterator[tuple[Move, State]]:
        """Every step that is possible now, with the state after it."""
        for thread, place in enumerate(state.places):
            if state.buffers[thread]:
                yield Move(thread, True), self._flush(state, thread)
            if place.access is not None:
                after = self.step(state, thread)
                if after is not None:
                    yield Move(thread, False), after

    def take(self, state: State, move: Move) -> State | None:
        """The state after one step, None when it is not possible."""
        if move.flush:
            return self._flush(state, move.thread) if state.buffers[move.thread] else None
        return self.step(state, move.thread)

    def finished(self, state: State) -> bool:
        """Is every program at its end, and nothing left in a buffer?"""
        return all(place.access is None for place in state.places) and not any(state.buffers)

    def step(self, state: State, thread: int) -> State | None:
        """The thread's next access, and what happens together with it. None at the end, and when it waits."""
        memory, places, buffers = state
        place = places[thread]
        access = place.access
        buffer = buffers[thread]
        if access is None:
            return None
        result: int | None = None
        if isinstance(access, Load):
            result = _seen(memory, buffer, place.cells[0])
        elif isinstance(access, Store):
            if self.buffered:
                buffer = (*buffer, (place.cells[0], access.value))
            else:
                memory = _with(memory, place.cells[0], access.value)
        elif isinstance(access, Update):
            if buffer:
                return None
            result = memory[place.cells[0]]
            value = access.change(result)
            if value is None:
                return None
            if value != result:
                memory = _with(memory, place.cells[0], value)
        place = self.programs[thread].follow(place, result)
        while place.quiet:
            memory, place = self._quiet(memory, buffer, place, thread)
        if buffer is not buffers[thread]:
            buffers = (*buffers[:thread], buffer, *buffers[thread + 1 :])
        return State(memory, (*places[:thread], place, *places[thread + 1 :]), buffers)

    def read(self, state: State, thread: int) -> int:
        """What the cell of the thread's next access holds, as that thread sees it."""
        return _seen(state.memory, state.buffers[thread], state.places[thread].cells[0])

    def _quiet(self, memory: Values, buffer: Buffer, place: Place, thread: int) -> tuple[Values, Place]:
        access = place.access
        follow = self.programs[thread].follow
        if isinstance(access, Note):
            cell = place.cells[0]
            return _with(memory, cell, access.change(memory[cell])), follow(place, None)
        assert isinstance(access, Protected)
        return memory, follow(place, tuple(_seen(memory, buffer, cell) for cell in place.cells))

    @staticmethod
    def _flush(state: State, thread: int) -> State:
        buffers = state.buffers
        (cell, value), *rest = buffers[thread]
        buffers = (*buffers[:thread], tuple(rest), *buffers[thread + 1 :])
        return State(_with(state.memory, cell, value), state.places, buffers)


def _with(memory: Values, cell: int, value: int) -> Values:
    return (*memory[:cell], value, *memory[cell + 1 :])


def _seen(memory: Values, buffer: Buffer, cell: int) -> int:
    """What a thread with this buffer reads."""
    for at, value in reversed(buffer):
        if at == cell:
            return value
    return memory[cell]
