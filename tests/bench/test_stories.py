"""Stories: what the simulated kernel says of them, and how they are told to real processes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest

from mapcount.bench.acting import FIRST_PAGE, TimedStage
from mapcount.bench.predict import Updates, predict
from mapcount.bench.story import BENCHMARKS, Form, Story
from mapcount.scenario.run import run
from mapcount.tracking.flavour import FLAVOURS, NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT, V6_14, Flavour

from .rows import BY_PMD, BY_PTES, FORMS, MTHP, SMALL

STORIES = {story.name: story for stories in BENCHMARKS.values() for story in stories}


@pytest.mark.parametrize("flavour", FLAVOURS.values(), ids=str)
@pytest.mark.parametrize("story", STORIES.values(), ids=STORIES)
def test_every_story_holds_on_every_kernel(story: Story, flavour: Flavour) -> None:
    """Each is legal in each form of memory, and breaks no invariant."""
    for form in (SMALL, MTHP, BY_PTES, BY_PMD):
        assert [] == run(story.scenario(form, 4096), flavour).broken


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_memory_has_the_form_meant(form: Form) -> None:
    """After the filling the simulated process has all of it in folios of that size, mapped that way."""
    story = Story("filled", "", (), "P write heap")
    folios = run(story.scenario(form, 4096), PAGE_MAPCOUNT).steps[-1].seen.folios
    assert {form.nr_pages} == {1 << folio.order for folio in folios}
    assert 1024 // form.nr_pages == sum(folio.count for folio in folios)
    assert all({"P": 1 if form.by_pmd else form.nr_pages} == folio.owners for folio in folios)


@pytest.mark.parametrize(
    ("name", "form", "with_pages", "without"),
    [
        ("fork", SMALL, Updates(1, 0, 0), Updates(1, 0, 0)),
        ("fork", MTHP, Updates(1, 1 / 16, 0), Updates(0, 1 / 16, 0)),
        ("fork", BY_PTES, Updates(1, 1 / 512, 0), Updates(0, 1 / 512, 0)),
        ("fork", BY_PMD, Updates(0, 1 / 512, 1 / 512), Updates(0, 1 / 512, 1 / 512)),
        ("munmap", MTHP, Updates(1, 1 / 16, 1 / 16), Updates(0, 1 / 16, 0)),
        ("munmap shared", BY_PTES, Updates(1, 1 / 512, 0), Updates(0, 1 / 512, 0)),
        ("exit shared", BY_PTES, Updates(1, 1 / 512, 0), Updates(0, 1 / 512, 0)),
        ("child gone", MTHP, Updates(0, 0, 0), Updates(0, 0, 0)),
    ],
)
def test_counter_updates_of_the_timed_step(
    name: str, form: Form, with_pages: Updates, without: Updates
) -> None:
    """With per-page counts one for each page and one for each batch; without, those of batches alone."""
    assert with_pages == predict(STORIES[name], form, PAGE_MAPCOUNT).updates
    assert without == predict(STORIES[name], form, NO_PAGE_MAPCOUNT).updates


@pytest.mark.parametrize(
    ("name", "form", "flavour", "copied"),
    [
        ("child gone", MTHP, PAGE_MAPCOUNT, 0),
        ("child gone", MTHP, V6_14, 15 / 16),
        ("third process", SMALL, PAGE_MAPCOUNT, 0),
        ("third process", MTHP, PAGE_MAPCOUNT, 1),
        ("third process", BY_PTES, NO_PAGE_MAPCOUNT, 1),
        ("third process", BY_PMD, PAGE_MAPCOUNT, 0),
        ("shared", SMALL, PAGE_MAPCOUNT, 1),
        ("shared", BY_PMD, NO_PAGE_MAPCOUNT, 1),
        ("munmap", MTHP, PAGE_MAPCOUNT, None),
    ],
)
def test_copies_of_the_timed_step(name: str, form: Form, flavour: Flavour, copied: float | None) -> None:
    """A sole owner reuses its pages, unless it is the third of three: then large folios are copied.

    Before Linux 6.15 it copied them always, but for the last page that was mapped.
    """
    assert copied == predict(STORIES[name], form, flavour).copied


class Told:
    """A director that writes down what it is told, and needs five nanoseconds for everything."""

    ns = 5

    def __init__(self, error: str | None = None) -> None:
        self.orders: list[tuple[str, str, Mapping[str, Any]]] = []
        self.error = error

    def order(
        self, actor: str, do: str, what: Mapping[str, Any] | None = None, fds: Collection[int] = ()
    ) -> str | None:
        """Note an order."""
        self.orders.append((actor, do, what or {}))
        return self.error

    def fork(self, parent: str, child: str) -> str | None:
        """Note a fork."""
        return self.order(parent, "fork", {"child": child})

    def exit(self, name: str) -> None:
        """Note an exit."""
        self.order(name, "exit")


def act_out(story: Story, form: Form, director: Told, *, tables_first: bool = False) -> list[int]:
    """All of a story over 4 MiB; the nanoseconds of its steps."""
    stage = TimedStage(director, tables_first=tables_first)  # type: ignore[arg-type]
    steps = story.scenario(form, 4096).steps
    return [stage.act(action) for step in steps for action in step.actions]


def test_a_story_is_told_to_processes() -> None:
    """Each step is one order to its actor, at the place where the memory is."""
    director = Told()
    times = act_out(STORIES["third process"], BY_PTES, director)
    everything = {"ranges": [[FIRST_PAGE, 1024, 1, 1]]}
    one_each = {"ranges": [[FIRST_PAGE, 1, 512, 2]]}
    assert [5] * len(times) == times
    assert [
        ("P", "madvise", everything | {"advice": "hugepage"}),
        ("P", "touch", everything | {"write": True}),
        ("P", "mprotect", one_each | {"prot": "r"}),
        ("P", "mprotect", one_each | {"prot": "rw"}),
        ("P", "touch", one_each | {"write": True}),
        ("P", "madvise", everything | {"advice": "nohugepage"}),
        ("P", "fork", {"child": "A"}),
        ("P", "fork", {"child": "B"}),
        ("P", "munmap", everything),
        ("A", "exit", {}),
        ("B", "touch", everything | {"write": True}),
    ] == director.orders[1:]
    actor, do, what = director.orders[0]
    assert ("P", "mmap", FIRST_PAGE, 1024) == (actor, do, what["at"], what["pages"])


def test_page_tables_come_first_where_a_pmd_is_not_wanted() -> None:
    """A page of each PMD range is read and dropped again, before huge pages are allowed."""
    director = Told()
    act_out(STORIES["fork"], MTHP, director, tables_first=True)
    assert [("madvise", "nohugepage"), ("touch", None), ("madvise", "dontneed"), ("madvise", "hugepage")] == [
        (do, what.get("advice")) for _, do, what in director.orders[1:5]
    ]


def test_small_folios_are_asked_for() -> None:
    """Memory in small folios is advised against huge pages, so settings do not matter."""
    director = Told()
    act_out(STORIES["fork"], SMALL, director)
    assert "nohugepage" == director.orders[1][2]["advice"]


def test_a_refused_step_says_which() -> None:
    """An error of a system call names the process and the step."""
    with pytest.raises(OSError, match="P mmap: ENOMEM"):
        act_out(STORIES["fork"], MTHP, Told(error="ENOMEM"))


def test_a_verb_that_no_story_has_is_a_mistake() -> None:
    """A story is not silently shortened."""
    with pytest.raises(ValueError, match="no story of a benchmark has mlock"):
        act_out(Story("other", "", (), "P mlock heap"), SMALL, Told())
