"""Synthetic traces: six kinds of workload, endless, each from a seed.

A workload yields a phase and its events (`address_spaces.py`); whoever writes the trace stops when there are
enough. The same kind, folios and seed give the same events, whatever their number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from mapcount.replay.address_spaces import I64, AddressSpaces, Events
from mapcount.replay.random_maps import random_maps
from mapcount.replay.trace import KINDS, Meta
from mapcount.replay.writer import TraceWriter
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT

Block = tuple[str, Events]
"""The phase, and events."""


@dataclass(frozen=True, slots=True)
class Workload:
    """One kind of workload: its story, folios, and what happens to them."""

    story: str
    folios: int
    """How many folios it has unless said otherwise."""
    kind: str
    orders: tuple[int, ...]
    """Orders of its folios, drawn with equal chances."""
    phases: tuple[str, ...]
    play: Callable[[AddressSpaces, Generator], Iterator[Block]]


def fork_exec_storm(spaces: AddressSpaces, rng: Generator) -> Iterator[Block]:
    """A shell forks; each child runs a small program, which exits."""
    folios = np.arange(len(spaces.orders))
    program = len(folios) // 8
    shell = spaces.start()
    yield "start", spaces.new(shell, folios[program:])
    while True:
        child, events = spaces.fork(shell)
        yield "fork", events
        yield "exec", spaces.exec(child)
        yield "run", spaces.new(child, folios[:program])
        yield "exit", spaces.exit(child)


def prefork(spaces: AddressSpaces, rng: Generator) -> Iterator[Block]:
    """A server forks eight workers and leaves; they write a little, leave one by one, the last takes over."""
    folios = np.arange(len(spaces.orders))
    server = spaces.start()
    yield "start", spaces.new(server, folios)
    while True:
        workers = []
        for _ in range(8):
            worker, events = spaces.fork(server)
            workers.append(worker)
            yield "fork", events
        yield "parent leaves", spaces.exit(server)
        for worker in workers:
            yield "write", spaces.shrink(worker, _some(rng, len(spaces.maps[worker]), 16))
        for i in rng.permutation(8)[:-1]:
            yield "workers leave", spaces.exit(workers[i])
        server = next(worker for worker in workers if worker in spaces.maps)
        yield "restart", spaces.exec(server)
        yield "restart", spaces.new(server, folios)


def zygote(spaces: AddressSpaces, rng: Generator) -> Iterator[Block]:
    """A zygote with 200 children, which write a little, and die and are forked again at random."""
    parent = spaces.start()
    yield "start", spaces.new(parent, np.arange(len(spaces.orders)))
    children: list[int] = []
    while True:
        if len(children) == 200:
            yield "death", spaces.exit(children.pop(int(rng.integers(200))))
        child, events = spaces.fork(parent)
        children.append(child)
        yield "fork", events
        yield "write", spaces.shrink(child, _some(rng, len(spaces.maps[child]), 32))


def snapshot_database(spaces: AddressSpaces, rng: Generator) -> Iterator[Block]:
    """A database forks to save a snapshot, and writes on meanwhile; memory it lost is mapped anew later."""
    folios = np.arange(len(spaces.orders))
    database = spaces.start()
    yield "start", spaces.new(database, folios)
    while True:
        child, events = spaces.fork(database)
        yield "fork", events
        for _ in range(4):
            yield "write", spaces.shrink(database, _some(rng, len(spaces.maps[database]), 8))
        yield "saved", spaces.exit(child)
        maps = spaces.maps[database]
        whole = maps[:, 2] == np.left_shift(1, spaces.orders[maps[:, 0]])
        torn = np.flatnonzero(~whole)
        yield "renew", spaces.unmap(database, torn)
        yield "renew", spaces.new(database, np.setdiff1d(folios, spaces.maps[database][:, 0]))


def shared_libraries(spaces: AddressSpaces, rng: Generator) -> Iterator[Block]:
    """A thousand processes map the same libraries in parts; they end and others start."""
    processes: list[int] = []
    while True:
        if len(processes) == 1000:
            yield "exit", spaces.exit(processes.pop(int(rng.integers(1000))))
        process = spaces.start()
        processes.append(process)
        folios = _some(rng, len(spaces.orders), 4)
        size = np.left_shift(1, spaces.orders[folios])
        page = rng.integers(size)
        yield "start", spaces.map(process, folios, page, 1 + rng.integers(size - page))


def random_partial_maps(spaces: AddressSpaces, rng: Generator) -> Iterator[Block]:
    """Sixteen processes map and unmap eighths of folios, PMD-size ones now and then by a PMD, at random."""
    for events in random_maps(spaces.orders.astype(np.uint8), int(rng.integers(1 << 62))):
        yield "run", events


def _some(rng: Generator, n: int, one_in: int) -> I64:
    """Some of n, one in so many, at least one, in order."""
    return np.sort(rng.choice(n, max(1, n // one_in), replace=False)) if n else np.zeros(0, np.int64)


WORKLOADS = {
    "fork-exec-storm": Workload(
        "a shell whose children run small programs", 2_000, "anon", (0, 0, 2, 4, 9),
        ("start", "fork", "exec", "run", "exit"), fork_exec_storm,
    ),
    "prefork": Workload(
        "a pre-fork server whose parent leaves first", 2_000, "anon", (2, 4, 4, 9),
        ("start", "fork", "parent leaves", "write", "workers leave", "restart"), prefork,
    ),
    "zygote": Workload(
        "a zygote with 200 children", 2_000, "anon", (0, 2, 4, 9), ("start", "fork", "write", "death"), zygote
    ),
    "snapshot": Workload(
        "a database that saves snapshots by fork", 10_000, "anon", (4, 9),
        ("start", "fork", "write", "saved", "renew"), snapshot_database,
    ),
    "shared-libraries": Workload(
        "libraries that a thousand processes share", 2_000, "file", (0, 2, 3, 4, 5, 9), ("start", "exit"),
        shared_libraries,
    ),
    "random": Workload(
        "random partial maps by sixteen processes", 100_000, "shmem", (1, 2, 4, 6, 9), ("run",),
        random_partial_maps,
    ),
}  # fmt: skip
"""Every kind by its name on the command line."""


def orders_of(workload: Workload, folios: int, rng: Generator) -> NDArray[np.uint8]:
    """The orders of so many folios."""
    return rng.choice(np.array(workload.orders, np.uint8), folios)


def blocks(workload: Workload, orders: NDArray[np.uint8], rng: Generator) -> Iterator[Block]:
    """The workload's events, endless."""
    return workload.play(AddressSpaces(orders), rng)


def write_synthetic(
    writer: TraceWriter, name: str, events: int, seed: int, folios: int | None = None
) -> None:
    """Write so many events of the workload called `name` to a trace."""
    workload = WORKLOADS[name]
    rng = np.random.default_rng(seed)
    orders = orders_of(workload, folios or workload.folios, rng)
    writer.add_folios(orders, np.full(len(orders), KINDS.index(workload.kind), np.uint8))
    writer.meta = Meta(
        NO_PAGE_MAPCOUNT, {}, workload.phases, f"synthetic: {name}, {events} events, seed {seed}"
    )
    for phase, rows in blocks(workload, orders, rng):
        rows = rows[: events - writer.events]
        folio, mm, op, page, nr = (rows[:, k] for k in range(5))
        writer.add_events(
            folio.astype(np.uint32), mm.astype(np.uint32), op.astype(np.uint8), page.astype(np.uint32),
            nr.astype(np.uint32), np.full(len(rows), workload.phases.index(phase), np.uint8),
        )  # fmt: skip
        if writer.events >= events:
            break
