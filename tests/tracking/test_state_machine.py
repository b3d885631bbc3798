"""One story of mapping events told to every flavour at once, in 64 and 32 bits, and counted anew after each.

Up to six mms come, fork, map, unmap and go (their ids are used again), on a handful of folios. `Story` is
what all flavours can do: PTEs of any folio, PMDs of PMD-size folios. `AnyLevelStory` is what only
total-mapped-pages can: PMDs of any part of larger folios. After each event

- what it said (statistics, verdict, cost) is what a naive recount of the page tables says;
- every counter of every folio it touched is the recount's, and its slots are the naive slots';
- no invariant is broken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from mapcount.tracking.flavour import FLAVOURS, PMD_ORDER, TOTAL_MAPPED_PAGES, Flavour
from mapcount.tracking.folio import Folio
from mapcount.tracking.invariants import violations
from mapcount.tracking.mm_id import MmIdAllocator
from mapcount.tracking.questions import folio_maybe_mapped_shared
from mapcount.tracking.rmap import (
    Delta,
    folio_add_new_anon_rmap,
    folio_add_rmap,
    folio_mapcount,
    folio_remove_rmap,
)
from mapcount.tracking.truth import Truth

from .naive import PAGES_OF_A_PMD, NaiveFolio, NaiveSlots, lowest_free

MOST_MMS, MOST_FOLIOS = 6, 3
WHICH = st.integers(0, 59)  # of the mms or folios there are, counted round
SOMEWHERE = st.sampled_from([0.0, 0.0, 0.25, 0.5, 0.9])
SOME_LENGTH = st.sampled_from([0.0, 0.3, 0.5, 1.0, 1.0])


class Told:
    """One folio of the story: as every flavour counts it, and as it is."""

    def __init__(self, flavours: Iterable[Flavour], order: int, cached: bool) -> None:
        self.folios = [Folio(flavour, order) for flavour in flavours]
        self.refs = (1 << order) * cached
        for folio in self.folios:
            folio.refcount = self.refs
        self.true = NaiveFolio(order)
        self.slots = {64: NaiveSlots(largest=2**31), 32: NaiveSlots(largest=2**15)}
        self.owners: set[int] = set()
        """Every mm that mapped it since it was last unmapped."""

    def truth(self) -> Truth:
        """What the invariants need to know."""
        truth = Truth(self.true.nr, self.refs)
        for mm in self.true.mms():
            for page, nr in self.true.runs_of(mm):
                truth.add(mm, page, nr)
            for page in self.true.chunks_of(mm):
                truth.add(mm, page, PAGES_OF_A_PMD, PMD_ORDER)
        return truth


Piece = tuple[int, Told, int, int, bool]
"""mm, folio, page, number of pages, by a PMD?"""
Act = Callable[[Folio], object]
ILLEGAL = "are not of a folio|use level|can map only|cannot be removed|cannot map|cannot leave|a new folio"


def room(story: Story) -> bool:
    """May another mm come?"""
    return len(story.mms) < MOST_MMS


def mapped(story: Story) -> bool:
    """Is any folio mapped?"""
    return any(told.true.total() for told in story.told)


def pmd_mapped(story: Story) -> bool:
    """Is any folio mapped by a PMD?"""
    return any(told.true.nr_pmds() for told in story.told)


def pmd_sized(story: Story) -> bool:
    """Is there a folio of 512 pages or more?"""
    return any(told.true.order >= PMD_ORDER for told in story.told)


class Story(RuleBasedStateMachine):
    """Any legal sequence of mapping events means the same to every flavour, and to a recount."""

    flavours: tuple[Flavour, ...] = tuple(
        flavour.on(bits) for flavour in FLAVOURS.values() for bits in (64, 32)
    )
    orders: tuple[int, ...] = (0, 1, 2, 3, 4, 9, 5, 6, 7, 8, 9, 10)
    pmd_orders: tuple[int, ...] = (9,)

    def __init__(self) -> None:
        super().__init__()
        self.told: list[Told] = []
        self.touched: list[Told] = []
        self.mms: set[int] = set()
        self.allocators = [MmIdAllocator(flavour) for flavour in self.flavours]
        self.stats = [0 for _ in self.flavours]
        self.pmd_stats = [0 for _ in self.flavours]
        self.come()

    # -- picking --------------------------------------------------------------------------------------

    def mm(self, which: int) -> int:
        """One of the mms there are."""
        return sorted(self.mms)[which % len(self.mms)]

    def folio(self, which: int) -> Told:
        """One of the folios there are."""
        return self.told[which % len(self.told)]

    def pieces(self, mm: int) -> list[Piece]:
        """Everything that an mm maps."""
        found = [(mm, told, page, nr, False) for told in self.told for page, nr in told.true.runs_of(mm)]
        for told in self.told:
            found += [(mm, told, page, PAGES_OF_A_PMD, True) for page in told.true.chunks_of(mm)]
        return found

    # -- one event, told to all ------------------------------------------------------------------------

    def change(
        self, told: Told, mm: int, page: int, nr: int, pmd: bool, sign: int, new: bool = False
    ) -> None:
        """`mm` maps (`sign` = 1) or unmaps (-1) these pages, in every flavour; what each said is checked."""
        names = {flavour.name for flavour in self.flavours}
        ptes, stats = told.true.ptes_of_pages(), {name: told.true.stat(name) for name in names}
        pmd_stat = told.true.pmd_stat()
        told.true.map(mm, page, nr, pmd, sign)
        entries, total = nr // PAGES_OF_A_PMD if pmd else nr, told.true.total()
        for slots in told.slots.values():
            (slots.add if sign > 0 else slots.remove)(total, mm, entries)
        partial = {name: sign < 0 and told.true.found_partial(name, ptes, pmd) for name in names}
        stats = {name: told.true.stat(name) - stats[name] for name in names}
        pmd_stat = told.true.pmd_stat() - pmd_stat
        for i, folio in enumerate(told.folios):
            delta = self.tell(folio, mm, page, nr, PMD_ORDER if pmd else 0, sign, new)
            name = folio.flavour.name
            said = (delta.stat, delta.pmd_stat, delta.partially_mapped)
            assert (stats[name], pmd_stat, partial[name]) == said
            counts_pages = not pmd and (folio.flavour.page_mapcounts or not folio.large)
            assert (nr if counts_pages else 0) == delta.cost.page_updates
            locks = folio.slots is not None and not new
            assert locks == delta.cost.locked_updates
            self.stats[i] += delta.stat
            self.pmd_stats[i] += delta.pmd_stat
        told.owners = told.owners | {mm} if total else set()
        if told not in self.touched:
            self.touched.append(told)

    @staticmethod
    def tell(folio: Folio, mm: int, page: int, nr: int, level: int, sign: int, new: bool) -> Delta:
        """One folio hears of it: references go up before mapcounts, and down after them."""
        if sign < 0:
            delta = folio_remove_rmap(folio, page, nr, mm, level)
            folio.refcount -= nr >> level
            return delta
        folio.refcount += nr >> level
        return (
            folio_add_new_anon_rmap(folio, mm, level) if new else folio_add_rmap(folio, page, nr, mm, level)
        )

    @initialize(which=WHICH, order=WHICH, pmd=st.booleans(), cached=st.booleans(), children=st.integers(0, 3))
    def begin(self, which: int, order: int, pmd: bool, cached: bool, children: int) -> None:
        """A process with one folio and some children."""
        self.new_folio(which, order, pmd, cached)
        for _ in range(children):
            self.fork(0)

    # -- mms ------------------------------------------------------------------------------------------

    def come(self) -> int:
        """Somebody comes, with the lowest free id."""
        mm = lowest_free(self.mms)
        assert {mm} == {allocator.alloc() for allocator in self.allocators}
        self.mms.add(mm)
        return mm

    @rule()
    @precondition(room)
    def new_mm(self) -> None:
        """A process starts, mapping nothing."""
        self.come()

    @rule(parent=WHICH)
    @precondition(room)
    def fork(self, parent: int) -> None:
        """A child gets every mapping of its parent, and no statistics change."""
        mm = self.mm(parent)
        child, before = self.come(), (list(self.stats), list(self.pmd_stats))
        for _, told, page, nr, pmd in self.pieces(mm):
            self.change(told, child, page, nr, pmd, 1)
        assert before == (self.stats, self.pmd_stats)

    @rule(which=WHICH)
    @precondition(lambda self: len(self.mms) > 1)
    def exit(self, which: int) -> None:
        """A process goes with all its mappings, and its id is free."""
        mm = self.mm(which)
        for _, told, page, nr, pmd in self.pieces(mm):
            self.change(told, mm, page, nr, pmd, -1)
        for allocator in self.allocators:
            allocator.free(mm)
        self.mms.remove(mm)

    # -- folios ---------------------------------------------------------------------------------------

    @rule(which=WHICH, order=WHICH, pmd=st.booleans(), cached=st.booleans())
    def new_folio(self, which: int, order: int, pmd: bool, cached: bool) -> None:
        """A new folio is mapped whole by one mm; unmapped ones make room for it, or the first one does."""
        self.told = [told for told in self.told if told.true.total()]
        if len(self.told) == MOST_FOLIOS:
            for mm in self.told[0].true.mms():
                self.unmap_whole(mm, self.told[0])
            del self.told[0]
        order = self.orders[order % len(self.orders)]
        told = Told(self.flavours, order, cached)
        self.told.append(told)
        self.change(told, self.mm(which), 0, told.true.nr, pmd and order in self.pmd_orders, 1, new=True)

    # -- mappings -------------------------------------------------------------------------------------

    @rule(which=WHICH, folio=WHICH, start=SOMEWHERE, length=SOME_LENGTH)
    def map_ptes(self, which: int, folio: int, start: float, length: float) -> None:
        """An mm maps some consecutive pages by PTEs, once more if it maps them already."""
        told = self.folio(folio)
        page = int(start * told.true.nr)
        self.change(told, self.mm(which), page, max(1, int(length * (told.true.nr - page))), False, 1)

    @rule(which=WHICH, folio=WHICH)
    @precondition(pmd_sized)
    def map_many_times(self, which: int, folio: int) -> None:
        """An mm maps a large folio so often that the slots of a 32-bit kernel overflow."""
        large = [told for told in self.told if told.true.order >= PMD_ORDER]
        told = large[folio % len(large)]
        for _ in range(2**15 // told.true.nr + 1 - told.true.of(self.mm(which)) // told.true.nr):
            self.change(told, self.mm(which), 0, told.true.nr, False, 1)

    @rule(which=WHICH, start=SOMEWHERE, length=SOME_LENGTH)
    @precondition(mapped)
    def unmap_ptes(self, which: int, start: float, length: float) -> None:
        """Some of the pages that an mm maps by PTEs are unmapped, once."""
        pieces = [piece for mm in self.mms for piece in self.pieces(mm) if not piece[4]]
        if pieces:
            mm, told, page, nr, _ = pieces[which % len(pieces)]
            skip = int(start * nr)
            self.change(told, mm, page + skip, max(1, int(length * (nr - skip))), False, -1)

    @rule(which=WHICH, folio=WHICH, chunk=WHICH)
    @precondition(pmd_sized)
    def map_pmd(self, which: int, folio: int, chunk: int) -> None:
        """An mm maps 512 pages by a PMD."""
        able = [told for told in self.told if told.true.order in self.pmd_orders]
        if able:
            told = able[folio % len(able)]
            page = chunk % (told.true.nr // PAGES_OF_A_PMD) * PAGES_OF_A_PMD
            self.change(told, self.mm(which), page, PAGES_OF_A_PMD, True, 1)

    @rule(which=WHICH)
    @precondition(pmd_mapped)
    def unmap_pmd(self, which: int) -> None:
        """A PMD is unmapped."""
        pieces = [piece for mm in self.mms for piece in self.pieces(mm) if piece[4]]
        mm, told, page, nr, _ = pieces[which % len(pieces)]
        self.change(told, mm, page, nr, True, -1)

    @rule(which=WHICH)
    @precondition(pmd_mapped)
    def split_pmd(self, which: int) -> None:
        """A PMD becomes 512 PTEs: 511 mappings more."""
        pieces = [piece for mm in self.mms for piece in self.pieces(mm) if piece[4]]
        mm, told, page, nr, _ = pieces[which % len(pieces)]
        before = told.true.total()
        self.change(told, mm, page, nr, False, 1)
        self.change(told, mm, page, nr, True, -1)
        assert before + 511 == told.true.total()

    @rule(which=WHICH)
    @precondition(mapped)
    def unmap_all(self, which: int) -> None:
        """An mm unmaps all that it maps of a folio."""
        owners = [(mm, told) for told in self.told for mm in told.true.mms()]
        self.unmap_whole(*owners[which % len(owners)])

    def unmap_whole(self, mm: int, told: Told) -> None:
        """An mm unmaps all that it maps of this folio."""
        for _, other, page, nr, pmd in self.pieces(mm):
            if other is told:
                self.change(told, mm, page, nr, pmd, -1)

    # -- what cannot happen ---------------------------------------------------------------------------

    @rule(which=WHICH, folio=WHICH)
    def illegal(self, which: int, folio: int) -> None:
        """What no counter allows raises ValueError in every flavour, and changes nothing."""
        told, mm = self.folio(folio), self.mm(which)
        nr, ptes = told.true.nr, told.true.total() - told.true.nr_pmds()
        attempts: list[Act] = [
            lambda f: folio_add_rmap(f, 1, nr, mm),
            lambda f: folio_remove_rmap(f, nr, 1, mm),
            lambda f: folio_add_rmap(f, 0, nr, mm, 3),
        ]
        if ptes < nr:
            attempts.append(lambda f: folio_remove_rmap(f, 0, ptes + 1, mm))
        if not told.true.nr_pmds() and nr >= PAGES_OF_A_PMD:
            attempts.append(lambda f: folio_remove_rmap(f, 0, PAGES_OF_A_PMD, mm, PMD_ORDER))
        if told.true.total():
            attempts.append(lambda f: folio_add_new_anon_rmap(f, mm))
        for twin in told.folios:
            before = twin.counters()
            for attempt in attempts:
                with pytest.raises(ValueError, match=ILLEGAL):
                    attempt(twin)
            assert before == twin.counters()

    # -- what must hold -------------------------------------------------------------------------------

    @invariant()
    def counters_are_the_recount(self) -> None:
        """Each counter that a flavour keeps is what the page tables say, and no invariant is broken."""
        touched, self.touched = self.touched, []
        for told in touched:
            true, truth = told.true, told.truth()
            ptes, pages = true.ptes_of_pages(), true.mapped_pages()
            some = len([n for n in ptes if n]) + (0x800000 if true.nr_pmds() else 0)
            for folio in told.folios:
                flavour = folio.flavour
                if folio.large:
                    assert true.total() == folio.large_mapcount
                    assert (true.nr_pmds() if flavour.entire_mapcount else 0) == folio.entire_mapcount
                    assert (some if flavour.page_mapcounts else 0) == folio.nr_pages_mapped
                    assert (pages if flavour.total_mapped_pages else 0) == folio.total_mapped_pages
                assert (flavour.page_mapcounts or not folio.large) == (folio.page_mapcount is not None)
                if folio.page_mapcount is not None:
                    assert ptes == [n for _, nr, n in folio.page_mapcount.runs() for _ in range(nr)]
                assert true.total() + told.refs == folio.refcount
                if not true.total():
                    fresh = Folio(flavour, folio.order)
                    fresh.refcount = told.refs
                    assert fresh.counters() == folio.counters()
                assert [] == violations(folio, truth)

    @invariant()
    def flavours_agree(self) -> None:
        """All flavours have the same total, and those with slots of one width the same slots."""
        for told in self.told:
            assert 1 == len({folio_mapcount(folio) for folio in told.folios})
            for bits in (64, 32):
                slots = {
                    str(folio.slots) for folio in told.folios if folio.flavour.bits == bits and folio.slots
                }
                assert len(slots) <= 1

    @invariant()
    def slots_are_the_naive_slots(self) -> None:
        """In every flavour with slots they hold what the rules, read row by row, put there."""
        for told in self.told:
            for folio in told.folios:
                if folio.slots is not None:
                    naive, slots = told.slots[folio.flavour.bits], folio.slots
                    pairs = [[slots.mm_id(i), slots.mm_id_mapcount[i]] for i in (0, 1)]
                    assert (naive.pairs, naive.shared) == (pairs, slots.shared)

    @invariant()
    def answers_agree_with_the_truth(self) -> None:
        """Since 6.15 "exclusive" is always true; so is "shared" on 64 bits after at most two owners."""
        for told in self.told:
            shared = len(told.true.mms()) > 1
            for folio in told.folios:
                if folio.flavour.owner_slots and folio.large:
                    said = folio_maybe_mapped_shared(folio)
                    assert said or not shared
                    if folio.flavour.bits == 64 and len(told.owners) <= 2:
                        assert shared == said

    @invariant()
    def statistics_are_the_recount(self) -> None:
        """The sum of all changes of a statistic is what the folios amount to now."""
        for i, flavour in enumerate(self.flavours):
            assert sum(told.true.stat(flavour.name) for told in self.told) == self.stats[i]
            assert sum(told.true.pmd_stat() for told in self.told) == self.pmd_stats[i]


class AnyLevelStory(Story):
    """With total-mapped-pages, PMDs of any part of any folio from PMD size up are just as well counted."""

    flavours = (TOTAL_MAPPED_PAGES, TOTAL_MAPPED_PAGES.on(32))
    orders = (9, 10, 11)
    pmd_orders = (9, 10, 11)


@pytest.mark.parametrize(("story", "examples"), [(Story, 100), (AnyLevelStory, 40)])
def test_story(story: type[Story], examples: int) -> None:
    """No story of legal events ever parts the flavours from the recount, or from each other."""
    run_state_machine_as_test(
        story,
        settings=settings(
            max_examples=examples,
            stateful_step_count=40,
            suppress_health_check=list(HealthCheck),
        ),
    )
