"""What is measured: stories in the scenario language, whose last step is timed.

The real processes and the simulated kernel act out the same text. Memory comes in the forms that matter to
the counters: small folios, large ones mapped by PTEs, and PMD-size ones mapped by PMDs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mapcount.scenario.parse import parse
from mapcount.scenario.syntax import Scenario

PAGE_KIB = 4
PMD_KIB = 2048
REGION = "heap"


@dataclass(frozen=True, slots=True, order=True)
class Form:
    """How the memory is cut into folios, and what maps them."""

    kib: int
    """The folio size."""
    by_pmd: bool = False

    @property
    def nr_pages(self) -> int:
        """Pages of one folio."""
        return self.kib // PAGE_KIB

    @property
    def large(self) -> bool:
        """Are they large folios?"""
        return self.nr_pages > 1


@dataclass(frozen=True, slots=True)
class Story:
    """Steps between filling the memory and the step whose duration counts."""

    name: str
    doc: str
    """What is timed."""
    before: tuple[str, ...]
    timed: str

    @property
    def actor(self) -> str:
        """Who does the timed step."""
        return self.timed.split()[0]

    @property
    def writes(self) -> bool:
        """Is the timed step a write: to pages that are then reused or copied?"""
        return self.timed.split()[1] == "write"

    def scenario(self, form: Form, size_kib: int, *, filled: bool = True) -> Scenario:
        """The whole story. Without the filling, its last step costs what has nothing to do with pages."""
        sizes = f"thp={form.kib}K" if form.large else "small"
        lines = [f"P mmap {REGION} {size_kib}K {sizes}"]
        lines += _filling(form) if filled else []
        return parse("\n".join([*lines, *self.before, self.timed]) + "\n", f"bench {self.name}")


def _filling(form: Form) -> list[str]:
    """Fault the memory in. PMDs become PTEs when one page's protection is changed for a moment.

    At the end it is advised against huge pages, so that khugepaged does not come and change its form.
    """
    fill = [f"P write {REGION}"]
    if form.kib == PMD_KIB and not form.by_pmd:
        one_each = f"{REGION}[0::{PMD_KIB}K]"
        fill += [f"P mprotect {one_each} r", f"P mprotect {one_each} rw", f"P write {one_each}"]
    return [*fill, f"P madvise {REGION} nohugepage"]


_THIRD = ("P fork A", "P fork B", f"P munmap {REGION}", "A exit")

BENCHMARKS: Mapping[str, tuple[Story, ...]] = {
    "fork": (
        Story("fork", "fork() in the process that filled the memory", (), "P fork A"),
    ),
    "munmap": (
        Story("munmap", "munmap() by the only process that maps the memory, which frees it", (),
              f"P munmap {REGION}"),
        Story("munmap shared", "munmap() by a child: its parent keeps the memory", ("P fork A",),
              f"A munmap {REGION}"),
        Story("exit shared", "exit of a child: its parent keeps the memory", ("P fork A",), "A exit"),
    ),
    "cow": (
        Story("child gone", "write by a parent whose only child has exited",
              ("P fork A", "A exit"), f"P write {REGION}"),
        Story("third process", "write by a second child, alone since parent and first child have gone",
              _THIRD, f"B write {REGION}"),
        Story("shared", "write by a parent whose child still maps everything",
              ("P fork A",), f"P write {REGION}"),
    ),
}  # fmt: skip
"""The stories of each benchmark, the most telling first."""
