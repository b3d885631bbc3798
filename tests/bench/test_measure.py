"""Measuring, with processes that only pretend: what is acted out how often, which settings are written."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest
from tests.live.fakes import MemorySource, machine

from mapcount.bench import measure
from mapcount.bench.measure import Bench
from mapcount.bench.story import BENCHMARKS, Form
from mapcount.live.thp import Thp

from .rows import BY_PMD, MTHP, SMALL

POLICIES = {64: "never", 256: "madvise", 2048: "madvise"}


class Actor:
    """A process that is not there."""

    pid = 7


class Pretender:
    """A director whose orders take 1000 ns where memory was filled, 10 ns where not, 3 ns when repeated."""

    acted: list[list[str]]

    def __init__(self, cpu: int | None = None) -> None:
        self.actors = {name: Actor() for name in ("P", "A", "B")}
        self.told: list[str] = []
        self.acted.append(self.told)
        self.ns = 0

    def __enter__(self) -> Pretender:
        return self

    def __exit__(self, *_: object) -> None:
        self.told.append("gone")

    def start(self, name: str) -> None:
        """Begin."""

    def order(
        self, actor: str, do: str, what: Mapping[str, Any] | None = None, fds: Collection[int] = ()
    ) -> str | None:
        """Note it, and say how long it took."""
        word = f"{actor} {do}"
        self.ns = 3 if self.told and self.told[-1] == word else 1000 if "P touch" in self.told else 10
        self.told.append(word)
        return None

    def fork(self, parent: str, child: str) -> str | None:
        """Note it."""
        return self.order(parent, f"fork {child}")

    def exit(self, name: str) -> None:
        """Note it."""
        self.order(name, "exit")


class Notes:
    """A session that notes what is written; every size has its file below `root`."""

    side_effect = "min_free_kbytes has changed"

    def __init__(self, root: Path = Path("/nowhere")) -> None:
        self.thp = Thp(POLICIES, {}, root)
        self.before: dict[Path, str] = {}
        self.written: list[Mapping[Path, str]] = []

    def write(self, wanted: Mapping[Path, str]) -> None:
        """Note it, and what was there before the first time."""
        self.written.append(wanted)
        for path in wanted:
            was = {self.thp.file(kib): policy for kib, policy in POLICIES.items()}
            self.before.setdefault(path, was[path])


@pytest.fixture
def acted(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What the processes of each story were told, story by story."""
    Pretender.acted = []
    monkeypatch.setattr(measure, "TimedDirector", Pretender)
    return Pretender.acted


def bench(session: Notes, **changes: Any) -> Bench:
    """Two runs with 4 MiB where frames cannot be seen, except for `changes`."""
    source = MemorySource(machine=machine(frames=False, limits=("not root",)))
    known: dict[str, Any] = {"may_write": False, "runs": 2, "size_kib": 4096} | changes
    return Bench(source, session, session.thp, **known)  # type: ignore[arg-type]


def test_every_story_is_acted_out_in_every_form(acted: list[list[str]]) -> None:
    """As often as asked, by processes of its own, and once more over memory that nobody has touched."""
    found = bench(Notes()).run("munmap", [SMALL, MTHP])
    assert 2 * 3 * (2 + 1) == len(acted)
    assert all("gone" == told[-1] for told in acted)
    assert 2 * 3 == sum("P touch" not in told for told in acted)
    assert [2] * 6 == [len(row.samples) for row in found.rows]
    assert [(s, f) for s in BENCHMARKS["munmap"] for f in (SMALL, MTHP)] == [
        (row.story, row.form) for row in found.rows
    ]


def test_the_call_itself_is_subtracted(acted: list[list[str]]) -> None:
    """What it takes over untouched memory; for writes, what they take when nothing is left to do."""
    assert {990.0} == {row.ns.mid for row in bench(Notes()).run("munmap", [SMALL]).rows}
    assert {997.0} == {row.ns.mid for row in bench(Notes()).run("cow", [SMALL]).rows}


def test_what_was_not_seen_is_unknown(acted: list[list[str]]) -> None:
    """Without frames neither forms nor copies are claimed, and the reason is noted."""
    found = bench(Notes()).run("cow", [MTHP])
    assert {(None, None)} == {(row.share, row.copied) for row in found.rows}
    assert ("not root", "min_free_kbytes has changed") == found.notes
    assert [] == found.deviations


def test_settings_are_those_of_the_form_and_otherwise_as_before(
    acted: list[list[str]], tmp_path: Path
) -> None:
    """Each form has its own in its turn, also in the second run; small folios need none."""
    for kib in POLICIES:
        (tmp_path / f"hugepages-{kib}kB").mkdir()
        (tmp_path / f"hugepages-{kib}kB/enabled").touch()
    session = Notes(tmp_path)
    found = bench(session, may_write=True).run("fork", [SMALL, MTHP, Form(256), BY_PMD])
    of_64, of_256 = session.thp.file(64), session.thp.file(256)
    turn, as_before = {of_64: "madvise", of_256: "never"}, {of_64: "never", of_256: "madvise"}
    assert [{}, turn, as_before, as_before] == session.written[:4]
    assert [as_before, turn, as_before, as_before] == session.written[4:]
    assert tuple(map(str, turn)) == found.written


def test_without_permission_nothing_is_written(acted: list[list[str]]) -> None:
    """Settings are left alone."""
    session = Notes()
    assert () == bench(session).run("fork", [MTHP]).written
    assert [] == session.written


def test_progress_ends_with_all_done(acted: list[list[str]]) -> None:
    """It is told before each story and at the end, never goes back, and ends at the total."""
    told: list[tuple[int, int, str]] = []
    bench(Notes(), progress=lambda *now: told.append(now)).run("cow", [SMALL, MTHP])
    done = [now for now, _, _ in told]
    assert sorted(done) == done
    assert {12} == {total for _, total, _ in told}
    assert (12, 12, "") == told[-1]
