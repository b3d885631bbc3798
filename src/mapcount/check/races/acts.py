"""What a thread can do, by name: each program with what its page table must look like for it to matter."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mapcount.check.races import faults, gup, mapping, reclaim
from mapcount.check.races.folio import FolioOps
from mapcount.check.races.memory import Steps
from mapcount.check.races.tables import Table

Act = Callable[[FolioOps], Steps[Any]]
"""A program, given the folio: what one thread does, or a part of it."""


@dataclass(frozen=True, slots=True)
class Where:
    """Where a program acts: its own table and page, a child's table if it forks, and every table there is."""

    table: Table
    page: int
    child: Table
    tables: tuple[Table, ...]
    pages: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Program:
    """One kind of program."""

    name: str
    does: str
    """What it does, in a line."""
    entry: str
    """What its page is to be mapped by, as a letter of `Start`; nothing for programs without a table."""
    act: Callable[[Where], Act]
    swap_cache: bool = False
    pinned: bool = False
    held: bool = False
    migrates_in: bool = False

    @property
    def forks(self) -> bool:
        """Does it need a child?"""
        return self.name.startswith("fork")


PROGRAMS: dict[str, Program] = {
    p.name: p
    for p in (
        Program(
            "write-fault",
            "write to a page mapped read-only by a PTE: reuse or copy",
            "r",
            lambda w: lambda folio: faults.write_fault(folio, w.table, w.page),
        ),
        Program(
            "write-fault-pmd",
            "write to a folio mapped read-only by a PMD: reuse it or split the PMD",
            "R",
            lambda w: lambda folio: faults.write_fault_pmd(folio, w.table),
        ),
        Program(
            "unmap",
            "unmap every page that PTEs map",
            "r",
            lambda w: lambda folio: mapping.unmap(folio, w.table, w.pages),
        ),
        Program(
            "unmap-page",
            "unmap one page",
            "r",
            lambda w: lambda folio: mapping.unmap(folio, w.table, (w.page,)),
        ),
        Program(
            "unmap-pmd",
            "unmap what a PMD maps",
            "R",
            lambda w: lambda folio: mapping.unmap_pmd(folio, w.table),
        ),
        Program(
            "fork",
            "duplicate PTEs into a child",
            "r",
            lambda w: lambda folio: mapping.fork(folio, w.table, w.child, w.pages),
        ),
        Program(
            "fork-pmd",
            "duplicate a PMD into a child",
            "R",
            lambda w: lambda folio: mapping.fork_pmd(folio, w.table, w.child),
        ),
        Program(
            "pin",
            "pin an exclusive page (FOLL_PIN), under the page table lock",
            "w",
            lambda w: lambda folio: gup.pin(folio, w.table, w.page),
        ),
        Program(
            "pin-fast",
            "pin an exclusive page by GUP-fast, without a lock",
            "w",
            lambda w: lambda folio: gup.pin_fast(folio, w.table, w.page),
        ),
        Program(
            "unpin",
            "give a pin back",
            "w",
            lambda w: lambda folio: gup.unpin(folio, w.table, w.page),
            pinned=True,
        ),
        Program(
            "hold-fast",
            "get a reference to read a page by, as vmsplice() does (FOLL_GET)",
            "r",
            lambda w: lambda folio: gup.hold_fast(folio, w.table, w.page),
        ),
        Program(
            "let-go",
            "give such a reference back",
            "",
            lambda w: lambda folio: gup.let_go(folio, w.table.mm, w.page),
            held=True,
        ),
        Program(
            "swap-in",
            "fault in pages that are still in the swap cache",
            "s",
            lambda w: lambda folio: faults.swap_in(folio, w.table, w.pages),
            swap_cache=True,
        ),
        Program(
            "free-swap",
            "take the folio out of the swap cache",
            "",
            lambda w: reclaim.free_swap,
            swap_cache=True,
        ),
        Program(
            "page-out",
            "page the folio out, table by table",
            "",
            lambda w: lambda folio: reclaim.page_out(folio, w.tables, w.pages),
        ),
        Program(
            "migrate",
            "migrate the folio to another, table by table",
            "",
            lambda w: lambda folio: reclaim.migrate(folio, w.tables, w.pages),
        ),
        Program(
            "migrate-in",
            "the other end of a migration: map the new folio, table by table",
            "m",
            lambda w: lambda folio: reclaim.migrate_in(folio, w.tables, w.pages),
            migrates_in=True,
        ),
    )
}
"""Every program by its name."""
