"""The races with a story: each is there because some rule is needed in it."""

from __future__ import annotations

from mapcount.check.races.acts import PROGRAMS, Act, Where
from mapcount.check.races.race import Race, Thread
from mapcount.check.races.start import Start
from mapcount.check.races.tables import Table


def _act(name: str, table: str, *pages: int, child: str = "", tables: str = "A B") -> Act:
    """A program on a table; on the first of the pages, or on all of them, as it is."""
    pages = pages or (0, 1)
    every = tuple(map(Table, tables.split()))
    return PROGRAMS[name].act(Where(Table(table), pages[0], Table(child or table), every, pages))


def _thread(name: str, does: str, *acts: Act) -> Thread:
    return Thread(name, does, acts)


WRITES = _thread("A", "write-fault", _act("write-fault", "A", 0))
B_EXITS = _thread("B", "unmap", _act("unmap", "B"))

_STORIES = (
    Race(
        "exit",
        "A may reuse its page once B, which shares it, has gone, and not before.",
        Start({"A": "rr", "B": "rr"}),
        (WRITES, B_EXITS),
    ),
    Race(
        "both-write",
        "A and B write to the same page: at most one reuses it, and only after the other has its copy.",
        Start({"A": "rr", "B": "rr"}),
        (WRITES, _thread("B", "write-fault", _act("write-fault", "B", 0))),
    ),
    Race(
        "both-write-pmd",
        "The same by PMDs: whoever is not alone splits its PMD and goes on with a PTE.",
        Start({"A": "R", "B": "R"}),
        (
            _thread("A", "write-fault-pmd", _act("write-fault-pmd", "A")),
            _thread("B", "write-fault-pmd", _act("write-fault-pmd", "B")),
        ),
    ),
    Race(
        "swap-in",
        "A decides about its page while B faults the same page back in from the swap cache.",
        Start({"A": "rr", "B": "s."}, swap_cache=True),
        (WRITES, _thread("B", "swap-in", _act("swap-in", "B", 0))),
    ),
    Race(
        "swap-cache",
        "C keeps references to both pages, and the folio leaves the swap cache while A decides.",
        Start({"A": "rr"}, holds=("C0", "C1"), swap_cache=True),
        (WRITES, _thread("K", "free-swap", _act("free-swap", "A"))),
    ),
    Race(
        "vmsplice",
        "B keeps a reference to read by, then unmaps everything: A must not write where B still reads.",
        Start({"A": "rr", "B": "rr"}),
        (WRITES, _thread("B", "hold-fast, unmap", _act("hold-fast", "B", 0), _act("unmap", "B"))),
    ),
    Race(
        "gup-fast",
        "B gets a reference without a lock, while another thread of B unmaps and A decides.",
        Start({"A": "rr", "B": "rr"}),
        (
            WRITES,
            _thread("B", "hold-fast", _act("hold-fast", "B", 0)),
            _thread("B2", "unmap", _act("unmap", "B")),
        ),
    ),
    Race(
        "unmap-beside",
        "C keeps a reference to page 0. Another thread of A unmaps page 1 while A decides about page 0.",
        Start({"A": "r.", "A2": ".r"}, holds=("C0",)),
        (WRITES, _thread("A2", "unmap", _act("unmap", "A2", 1))),
    ),
    Race(
        "map-beside",
        "C keeps a reference to page 0. Another thread of A faults pages in while A decides about page 0.",
        Start({"A": "r...", "A2": ".ss."}, holds=("C0",), swap_cache=True),
        (WRITES, _thread("A2", "swap-in", _act("swap-in", "A2", 1, 2))),
    ),
    Race(
        "pmd-exit",
        "B's only mapping is a PMD. It goes while A, which maps by PTEs, decides.",
        Start({"A": "rr", "B": "R"}),
        (WRITES, _thread("B", "unmap-pmd", _act("unmap-pmd", "B"))),
    ),
    Race(
        "untracked",
        "A and B have the slots, C has none. B leaves as many mappings as it had.",
        Start({"A": "r.", "B": "rr", "C": "r."}),
        (WRITES, B_EXITS),
    ),
    Race(
        "fork",
        "B forks C while A, which shares the folio with B, decides.",
        Start({"A": "rr", "B": "rr", "C": ".."}),
        (WRITES, _thread("B", "fork", _act("fork", "B", child="C"))),
    ),
    Race(
        "exits",
        "Three mms unmap at the same time, and every counter comes out at 0.",
        Start({"A": "rr", "B": "rr", "C": "rr"}),
        tuple(_thread(name, "unmap", _act("unmap", name)) for name in "ABC"),
    ),
    Race(
        "exit-swap-in",
        "B leaves while C faults its page in: two updates of the word with slots, lock and flag.",
        Start({"A": "rr", "B": "r.", "C": "s."}, swap_cache=True),
        (
            WRITES,
            _thread("B", "unmap", _act("unmap", "B")),
            _thread("C", "swap-in", _act("swap-in", "C", 0)),
        ),
    ),
    Race(
        "pin-fork",
        "A forks while another thread of A pins a page without a lock: the pinned page is not shared.",
        Start({"A": "ww", "B": ".."}),
        (
            _thread("A", "pin-fast", _act("pin-fast", "A", 0)),
            _thread("A2", "fork", _act("fork", "A", child="B")),
        ),
    ),
    Race(
        "pin-page-out",
        "The folio is paged out while A pins a page without a lock: a pinned page stays.",
        Start({"A": "ww"}),
        (
            _thread("A", "pin-fast", _act("pin-fast", "A", 0)),
            _thread("K", "page-out", _act("page-out", "A", tables="A")),
        ),
    ),
    Race(
        "pin-migrate",
        "The folio is migrated while A pins a page without a lock.",
        Start({"A": "ww"}),
        (
            _thread("A", "pin-fast", _act("pin-fast", "A", 0)),
            _thread("K", "migrate", _act("migrate", "A", tables="A")),
        ),
    ),
    Race(
        "page-out",
        "The folio is paged out while A decides and B unmaps.",
        Start({"A": "rr", "B": "rr"}),
        (WRITES, B_EXITS, _thread("K", "page-out", _act("page-out", "A"))),
    ),
    Race(
        "migrate",
        "The folio is migrated while A and B write to the same page.",
        Start({"A": "rr", "B": "rr"}),
        (
            WRITES,
            _thread("B", "write-fault", _act("write-fault", "B", 0)),
            _thread("K", "migrate", _act("migrate", "A")),
        ),
    ),
    Race(
        "migrate-in",
        "A and B write to the new folio of a migration as soon as they map it.",
        Start({"A": "mm", "B": "mm"}, references=1, folio_locked=True),
        (
            WRITES,
            _thread("B", "write-fault", _act("write-fault", "B", 0)),
            _thread(
                "K",
                "migrate-in",
                _act("migrate-in", "A"),
            ),
        ),
    ),
)

RACES: dict[str, Race] = {race.name: race for race in _STORIES}
"""Every race with a story by its name."""
