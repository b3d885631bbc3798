"""Runs inside a guest: acts stories out, and audits the actors after every step.

    python answers.py FOLDER SCENARIO...

Leaves in FOLDER, for each story, a recording `NAME.jsonl`. Each process in it has `audit` as well: what smaps
would say of its regions under test, by flavour. A story that this guest cannot act out leaves its reason in
`NAME.skipped`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from mapcount.audit.machine import audit
from mapcount.conform.check import TIMES, RunningKernel
from mapcount.conform.fitting import this_host, why_not
from mapcount.conform.observing import Observer
from mapcount.conform.pages import Place
from mapcount.live.live_source import LiveSource, open_live_source
from mapcount.live.snapshot import Block, Identity, Machine, MemoryStat, Process
from mapcount.live.struct_folio import FolioReader, open_folio_reader
from mapcount.scenario.compare import compare
from mapcount.scenario.parse import load


class Regions:
    """A source of some processes and of nothing but the regions under test in them."""

    name = "the regions under test"

    def __init__(
        self, source: LiveSource, pids: Sequence[int], places: Mapping[int, Sequence[Place]]
    ) -> None:
        self._source, self._pids, self._places = source, pids, places
        self._whole: tuple[Process, Process] | None = None
        self.own_pid = None

    @property
    def machine(self) -> Machine:
        """The guest."""
        return self._source.machine

    def pids(self) -> Sequence[int]:
        """The actors."""
        return self._pids

    def identity(self, pid: int) -> Identity:
        """Who an actor is."""
        return self._source.identity(pid)

    def process(self, pid: int) -> Process:
        """An actor with its regions under test."""
        whole = self._source.process(pid)
        part = replace(whole, regions=tuple(whole.regions[at] for at in self._kept(whole)))
        self._whole = whole, part
        return part

    def _kept(self, process: Process) -> list[int]:
        places = self._places[process.pid]
        return [
            at
            for at, region in enumerate(process.regions)
            if any(place.start <= region.start < place.start + place.n for place in places)
        ]

    def blocks(self, process: Process) -> Iterator[Block]:
        """What those regions map."""
        whole = (
            self._whole[0] if self._whole and self._whole[1] is process else self._source.process(process.pid)
        )
        kept = np.array(self._kept(whole), np.int32)
        for block in self._source.blocks(whole):
            rows = np.flatnonzero(np.isin(block.runs.region, kept))
            columns = {name: getattr(block.runs, name)[rows] for name in block.runs.__slots__}
            columns["region"] = np.searchsorted(kept, columns["region"]).astype(np.int32)
            yield Block(type(block.runs)(**columns), block.folios)

    def absent(self, pid: int) -> str | None:
        """Why this number is of no process."""
        return None if pid in self.pids() else f"no such process: {pid}"

    def memory_stats(self) -> Sequence[MemoryStat]:
        """None: control groups hold more than the regions under test."""
        return ()


class AuditingObserver(Observer):
    """Looks at agents, and has them audited."""

    def __init__(self, reader: FolioReader, source: LiveSource) -> None:
        super().__init__(reader)
        self._source = source
        self._last: tuple[object, list[dict[str, Any]]] = None, []

    def look(self, actors: Mapping[str, int], places: Mapping[str, Sequence[Place]]) -> list[dict[str, Any]]:
        """As any observer, and with what the audit says of each process."""
        seen = super().look(actors, places)
        if seen != self._last[0]:  # looks are repeated until two are the same
            audits = self._audit(actors, places)
            self._last = seen, [process | {"audit": audits[process["name"]]} for process in seen]
        return self._last[1]

    def _audit(
        self, actors: Mapping[str, int], places: Mapping[str, Sequence[Place]]
    ) -> dict[str, dict[str, Any]]:
        self._source.pids()
        regions = Regions(
            self._source, [*actors.values()], {pid: places[name] for name, pid in actors.items()}
        )
        audited = {process.pid: process for process in audit(regions, regions.pids()).processes}
        return {
            name: {
                "guessed_kib": audited[pid].guessed_kib,
                "under": {flavour: asdict(memory) for flavour, memory in audited[pid].under.items()},
            }
            for name, pid in actors.items()
        }


def answer(kernel: RunningKernel, path: str, folder: Path) -> None:
    """Act one story out; again, up to a few times, where it deviates."""
    scenario = load(path)
    lacking = why_not(scenario, kernel.flavour, kernel.host)
    if lacking:
        (folder / f"{scenario.name}.skipped").write_text(lacking)
        return
    for _ in range(TIMES):
        recording = kernel.play(scenario)
        if not compare(scenario, recording).unknown:
            break
    (folder / f"{scenario.name}.jsonl").write_text(recording.lines())


def main() -> None:
    """Answer for every scenario named."""
    folder = Path(sys.argv[1])
    with (
        open_folio_reader() as reader,
        open_live_source() as source,
        AuditingObserver(reader, source) as observer,
    ):
        kernel = RunningKernel(reader.flavour, this_host(set_thp=True), observer)
        for path in sys.argv[2:]:
            answer(kernel, path, folder)


if __name__ == "__main__":
    main()
