"""What a benchmark found: every sample, and the numbers made of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from mapcount.bench.fit import Fit, fit
from mapcount.bench.forms import NotEnabled
from mapcount.bench.predict import Prediction
from mapcount.bench.story import PAGE_KIB, Form, Story
from mapcount.tracking.flavour import Flavour

TOLERANCE = 0.01
"""Copied pages may differ from the prediction by this part: a page may be held for a moment by others."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One run of one story."""

    ns: int
    """The timed step."""
    base_ns: int
    """The same step with nothing to do for pages: the cost of the call itself, or of the loop of writes."""
    share: float | None
    """The part of the memory that had the form wanted; None where that cannot be seen."""
    copied: int | None
    """Pages that were copied; None if the step is no write, or where frames cannot be seen."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A median, and how far the samples lie apart."""

    low: float
    mid: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Of at least one value."""
        return cls(min(values), median(values), max(values))


@dataclass(frozen=True, slots=True)
class Row:
    """One story in one form of memory."""

    story: Story
    form: Form
    nr_pages: int
    samples: tuple[Sample, ...]
    here: Prediction
    """What the simulator says of this kernel."""
    by_flavour: Mapping[str, Prediction]
    """What it says of a kernel with per-page counts and of one without."""

    @property
    def base_ns(self) -> float:
        """What is subtracted: the median of the step with nothing to do for pages."""
        return median(sample.base_ns for sample in self.samples)

    @property
    def noise_ns(self) -> int:
        """By how much the runs of that differ, which have no reason to. One run shows none."""
        bases = [sample.base_ns for sample in self.samples]
        return max(bases) - min(bases)

    @property
    def ns(self) -> Spread:
        """What was done for the pages: without the call itself. May be below the noise, and below zero."""
        return Spread.of([sample.ns - self.base_ns for sample in self.samples])

    @property
    def below_noise(self) -> bool:
        """Is what was done for the pages too little to be seen?"""
        return self.ns.mid <= self.noise_ns

    @property
    def ns_per_page(self) -> float | None:
        """The median by page; None below the noise."""
        return None if self.below_noise else self.ns.mid / self.nr_pages

    @property
    def share(self) -> float | None:
        """The part of the memory that had the form wanted, in the worst run."""
        shares = [sample.share for sample in self.samples if sample.share is not None]
        return min(shares, default=None)

    @property
    def copied(self) -> float | None:
        """The part of the pages that was copied: the median."""
        copied = [sample.copied for sample in self.samples if sample.copied is not None]
        return median(copied) / self.nr_pages if copied else None

    @property
    def deviates(self) -> bool:
        """Was another part of the pages copied than the simulator says?"""
        if self.copied is None or self.here.copied is None or (self.share or 0) < 1 - TOLERANCE:
            return False
        return abs(self.copied - self.here.copied) > TOLERANCE


@dataclass(frozen=True, slots=True)
class Measured:
    """One benchmark."""

    benchmark: str
    size_kib: int
    runs: int
    release: str
    flavour: Flavour
    rows: tuple[Row, ...]
    """Story by story, by form."""
    left_out: tuple[NotEnabled, ...] = ()
    written: tuple[str, ...] = ()
    """Settings that were written meanwhile; they were put back."""
    notes: tuple[str, ...] = ()

    @property
    def nr_pages(self) -> int:
        """Pages of the memory."""
        return self.size_kib // PAGE_KIB

    @property
    def stories(self) -> list[Story]:
        """What was timed, in order."""
        return list(dict.fromkeys(row.story for row in self.rows))

    def of(self, story: Story) -> list[Row]:
        """The rows of one story."""
        return [row for row in self.rows if row.story == story]

    def fit(self, story: Story) -> Fit | None:
        """Cost per page and per batch, from the large folios that PTEs map."""
        return fit(
            {
                row.form.nr_pages: row.ns_per_page
                for row in self.of(story)
                if row.form.large and not row.form.by_pmd and row.ns_per_page is not None
            }
        )

    @property
    def deviations(self) -> list[Row]:
        """Where the kernel did not do what the simulator says."""
        return [row for row in self.rows if row.deviates]
