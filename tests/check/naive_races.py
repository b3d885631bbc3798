"""Every interleaving of tiny straight-line programs, by plain recursion: what the search is compared with."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from mapcount.check.races.memory import Load, Note, Steps, Store, Update, add, put


class Access(NamedTuple):
    """`load`, `store` (a value) or `add` (a number), on a cell; where a load's result goes."""

    kind: str
    cell: str
    value: int
    result: str


Programs = Sequence[Sequence[Access]]
Outcome = tuple[tuple[str, int], ...]


def outcomes(start: dict[str, int], programs: Programs, *, buffered: bool) -> Counter[Outcome]:
    """Final values, each with the number of interleavings (of accesses and flushes) that end in it."""
    return Counter(_ends(start, [list(p) for p in programs], [[] for _ in programs], buffered))


def _ends(
    memory: dict[str, int], left: list[list[Access]], buffers: list[list[tuple[str, int]]], buffered: bool
) -> Iterator[Outcome]:
    if not any(left) and not any(buffers):
        yield tuple(sorted(memory.items()))
    for thread in range(len(left)):
        if buffers[thread]:
            (cell, value), *rest = buffers[thread]
            yield from _ends({**memory, cell: value}, left, _replaced(buffers, thread, rest), buffered)
        if not left[thread]:
            continue
        access, *others = left[thread]
        on = _replaced(left, thread, others)
        own = dict(buffers[thread])  # the newest store to each cell is the last one
        if access.kind == "load":
            seen = own.get(access.cell, memory[access.cell])
            yield from _ends({**memory, access.result: seen}, on, buffers, buffered)
        elif access.kind == "store" and buffered:
            more = [*buffers[thread], (access.cell, access.value)]
            yield from _ends(memory, on, _replaced(buffers, thread, more), buffered)
        elif access.kind == "store":
            yield from _ends({**memory, access.cell: access.value}, on, buffers, buffered)
        elif not buffers[thread]:
            changed = memory[access.cell] + access.value
            yield from _ends({**memory, access.cell: changed}, on, buffers, buffered)


def _replaced(lists: list[list], thread: int, by: list) -> list[list]:
    return [by if i == thread else one for i, one in enumerate(lists)]


def as_program(accesses: Sequence[Access]) -> Steps[None]:
    """The same accesses as a program of the machine."""
    for access in accesses:
        if access.kind == "load":
            seen = yield Load(access.cell, "load")
            yield Note(access.result, put(seen))
            seen = 0
        elif access.kind == "store":
            yield Store(access.cell, access.value, "store")
        else:
            yield Update(access.cell, add(access.value), "add")
