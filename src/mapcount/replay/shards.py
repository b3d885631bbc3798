"""A trace in shards by folio: what one worker of many does (`distributed.py` gives them the work).

Two rounds of tasks, which pass everything through files on storage that all workers see:

1. *split*: one task per events file puts each event into its shard's piece, with its row;
2. *replay* or *compare*: one task per shard applies its pieces in order, and leaves what it came to.

A task writes its files under temporary names first, so it may run twice, or be lost with its worker and run
again: that costs time only. A worker holds one events file, or one shard's folios and one piece.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from mapcount.replay.compare import SchemeCounts
from mapcount.replay.engine import Engine
from mapcount.replay.folios import Folios
from mapcount.replay.illegal import unsound
from mapcount.replay.pages import PageMapcounts
from mapcount.replay.reader import Trace, Window
from mapcount.replay.result import ROWS_AT_ONCE, Shard
from mapcount.replay.schemes import SchemeReplay
from mapcount.replay.trace import MOST_MM, TraceError
from mapcount.schemes.registry import find
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT, Flavour

SHARD_FOLIOS = 1 << 20
"""The most folios of a shard: 40 MiB of state."""

Refusal = tuple[int, str]
"""The row, in the whole trace, of an event that cannot be, and the message."""


def edges_of(folios: int, workers: int) -> list[int]:
    """Where shards begin, and the end. A few shards for each worker; no more than fit a result's batches."""
    shards = max(4 * workers, -(-folios // SHARD_FOLIOS))
    size = -(-folios // shards)
    size = max(-(-size // ROWS_AT_ONCE) * ROWS_AT_ONCE if size > ROWS_AT_ONCE else size, 1)
    return [*range(0, folios, size), folios]


def split_file(path: str, number: int, first: int, edges: list[int], scratch: str) -> Refusal | None:
    """Put the events of one file into a piece for each shard: columns, and each event's row in the file.

    If there is one whose folio does not exist, those before it, and that one's refusal is returned.
    """
    trace = Trace(path)
    window = trace.window(*trace.files[number], first)
    stray = np.flatnonzero(window.folio >= trace.folios)
    sound = int(stray[0]) if len(stray) else len(window)
    refusal = unsound(window, sound, trace.folios, MOST_MM) if len(stray) else None
    shard = np.searchsorted(np.array(edges[1:]), window.folio[:sound], side="right")
    order = np.argsort(shard, kind="stable").astype(np.uint32)
    ends = np.searchsorted(shard[order], np.arange(len(edges)))
    for k in range(len(edges) - 1):
        rows = order[ends[k] : ends[k + 1]]
        if len(rows):
            columns = {name: getattr(window, name)[rows] for name in COLUMNS}
            columns["folio"] -= np.uint32(edges[k])
            _save(_piece(scratch, k, number), columns | {"rows": rows})
    return None if refusal is None else (first + sound, str(refusal))


COLUMNS = ("folio", "mm", "op", "page", "nr", "phase")


def _piece(scratch: str, k: int, number: int) -> Path:
    """Where the events of a shard that are in file number `number` are put."""
    return Path(scratch) / f"piece-{k:05}-{number:05}.npz"


def _pieces(trace: Trace, scratch: str, k: int) -> Iterator[Window]:
    """A shard's events, a file's at a time."""
    first = 0
    for number, (file, rows) in enumerate(trace.files):
        piece = _piece(scratch, k, number)
        if piece.exists():
            with np.load(piece) as found:
                folio, mm, op, page, nr, phase = (found[name] for name in COLUMNS)
                yield Window(((file.name, 0),), first, folio, mm, op, page, nr, phase, found["rows"])
        first += rows


def replay_shard(
    path: str, k: int, edges: list[int], flavour: Flavour, every: bool, scratch: str
) -> Refusal | None:
    """Replay a shard, and leave its state in a file for `load_shard`."""
    trace = Trace(path)
    with Engine(Folios.of(trace, edges[k], edges[k + 1]), flavour, every=every, threads=1) as engine:
        refusal = _apply(engine, _pieces(trace, scratch, k))
        if refusal is not None:
            return refusal
        shard = replace(Shard.of(engine), tally=engine.tally(trace.events))
    columns = {f"state{i}": column for i, column in enumerate(shard.folios.state)}
    if shard.pages is not None:
        columns |= {"offsets": shard.pages.offsets, "counts": shard.pages.counts}
    counted = {"tally": shard.tally, "events": np.array(shard.events)}
    _save(Path(scratch) / f"shard-{k:05}.npz", columns | counted)
    return None


def load_shard(scratch: str, k: int, edges: list[int], flavour: Flavour) -> Shard:
    """What `replay_shard` left."""
    with np.load(Path(scratch) / f"shard-{k:05}.npz") as found:
        folios = Folios(0, edges[k])
        folios.state = tuple(found[f"state{i}"] for i in range(8))
        pages = PageMapcounts(Folios(0)) if "counts" in found else None
        if pages is not None:
            pages.offsets, pages.counts = found["offsets"], found["counts"]
        return Shard(folios, pages, flavour, int(found["events"]), found["tally"])


def compare_shard(
    path: str, k: int, edges: list[int], words: Sequence[str], scratch: str
) -> Refusal | list[SchemeCounts]:
    """Replay a shard on schemes, and return what was counted."""
    trace = Trace(path)
    folios = Folios.of(trace, edges[k], edges[k + 1])
    replays = [SchemeReplay(find(word), folios) for word in words]
    with Engine(folios, NO_PAGE_MAPCOUNT, threads=1, schemes=replays) as engine:
        refusal = _apply(engine, _pieces(trace, scratch, k))
    return refusal or [SchemeCounts.of(one, folios, trace.events) for one in replays]


def _apply(engine: Engine, windows: Iterator[Window]) -> Refusal | None:
    for window in windows:
        try:
            engine.replay(window)
        except TraceError as error:
            if error.row is None:
                raise
            return error.row, str(error)
    return None


def _save(path: Path, columns: dict[str, Any]) -> None:
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        np.savez(file, **columns)
    temporary.replace(path)
