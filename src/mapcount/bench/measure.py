"""Measures: acts each story out in each form of memory, several times over, and looks what was got."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mapcount.bench.acting import FIRST_PAGE, TimedDirector, TimedStage
from mapcount.bench.forms import NotEnabled, writes_for
from mapcount.bench.look import Seen, look
from mapcount.bench.measured import Measured, Row, Sample
from mapcount.bench.predict import predict
from mapcount.bench.story import BENCHMARKS, PAGE_KIB, PMD_KIB, Form, Story
from mapcount.live.snapshot import CannotHere, Source
from mapcount.live.thp import Session, Thp
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT

Progress = Callable[[int, int, str], None]
"""Told how many stories of how many are done, and what comes next."""


@dataclass(frozen=True, slots=True)
class Bench:
    """How to measure."""

    source: Source
    """Where to look at what was got."""
    session: Session
    """Where settings may be written."""
    thp: Thp
    """The settings as they were at first."""
    size_kib: int
    """A multiple of the PMD size."""
    runs: int
    may_write: bool
    """Write the settings that a form needs; otherwise they are as they should be."""
    progress: Progress = lambda done, total, what: None

    def run(self, benchmark: str, forms: Sequence[Form], left_out: Sequence[NotEnabled] = ()) -> Measured:
        """All stories of a benchmark, in turns, so that a change of the machine's load hits all alike.

        Raises CannotHere, OSError or AgentLost where it cannot be done.
        """
        stories = BENCHMARKS[benchmark]
        samples: dict[tuple[Story, Form], list[Sample]] = {(s, f): [] for s in stories for f in forms}
        done, total = 0, self.runs * len(samples)
        for _ in range(self.runs):
            for story in stories:
                base = None if story.writes else self._base(story)
                for form in forms:
                    self.progress(done, total, story.name)
                    samples[story, form].append(self._sample(story, form, base))
                    done += 1
        self.progress(done, total, "")
        return Measured(
            benchmark,
            self.size_kib,
            self.runs,
            self.source.machine.release,
            self.source.machine.flavour,
            tuple(self._row(story, form, taken) for (story, form), taken in samples.items()),
            tuple(left_out),
            tuple(map(str, self.session.before)),
            tuple(self._notes()),
        )

    def _row(self, story: Story, form: Form, samples: Sequence[Sample]) -> Row:
        return Row(
            story, form, self.size_kib // PAGE_KIB, tuple(samples),
            predict(story, form, self.source.machine.flavour),
            {str(f): predict(story, form, f) for f in (PAGE_MAPCOUNT, NO_PAGE_MAPCOUNT)},
        )  # fmt: skip

    def _notes(self) -> list[str]:
        notes = list(self.source.machine.limits) if not self.source.machine.frames else []
        side_effect = self.session.side_effect
        return [*notes, side_effect] if side_effect else notes

    def _base(self, story: Story) -> int:
        """The story's last step over memory that nobody has touched."""
        return self._act(story, Form(PAGE_KIB), filled=False).ns

    def _sample(self, story: Story, form: Form, base: int | None) -> Sample:
        if self.may_write:
            self.session.write({**self.session.before, **writes_for(form.kib, self.thp)})
        acted = self._act(story, form, filled=True)
        base = acted.again if base is None else base
        assert base is not None
        share = acted.before.share(form) if acted.before else None
        copied = acted.after.changed(acted.before) if acted.after and acted.before else None
        return Sample(acted.ns, base, share, copied)

    def _act(self, story: Story, form: Form, *, filled: bool) -> _Acted:
        """One story, by processes that are gone afterwards."""
        *before, timed = (
            action
            for step in story.scenario(form, self.size_kib, filled=filled).steps
            for action in step.actions
        )
        director = TimedDirector(cpu=max(os.sched_getaffinity(0)))
        with director:
            director.start("P")
            stage = TimedStage(director, tables_first=form.kib < PMD_KIB)
            for action in before:
                stage.act(action)
            seen = self._look(stage, story) if filled else None
            ns = stage.act(timed)
            if not story.writes:
                return _Acted(ns, None, seen, None)
            after = self._look(stage, story)
            return _Acted(ns, stage.act(timed), seen, after)

    def _look(self, stage: TimedStage, story: Story) -> Seen | None:
        return look(self.source, stage.pid(story.actor), FIRST_PAGE, stage.nr_pages)


@dataclass(frozen=True, slots=True)
class _Acted:
    """What one story gave."""

    ns: int
    again: int | None
    """The timed step once more, when there was nothing left to do for it."""
    before: Seen | None
    after: Seen | None


def check_machine(source: Source) -> None:
    """Raise CannotHere where the stories do not fit the machine."""
    page_size = source.machine.page_size
    if page_size != PAGE_KIB << 10 or source.machine.pmd_order != (PMD_KIB // PAGE_KIB).bit_length() - 1:
        raise CannotHere(
            f"pages of {page_size} bytes: the stories are written for pages of 4 KiB and PMDs of 2 MiB"
        )
