"""The verbs of the scenario language, as a table: who may do what, to what, with which options.

The parser reads lines by this table and `reference` prints it, so a new verb is one new row.
A verb's *arguments* come in the order of the row and fill `Action.target`, `size` or `word`, each by its
kind; its *options* are `keyword=value` or bare keywords, in any order, and fill `Action.options` by keyword
(`on=`: `Action.flavours`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from mapcount.scenario.syntax import Value
from mapcount.tracking.flavour import FLAVOURS

Who = Literal["process", "kernel", "any"]
"""Which actors may do a verb or give an argument."""


class Kind(Enum):
    """How the word of an argument or option is read; the value is how usage lines write it."""

    TARGET = "TARGET"
    SIZE = "SIZE"
    OFFSET = "OFFSET"
    FOLIOS = "FOLIO[,FOLIO...]"
    HUGE = "HUGE"
    NAME = "NAME"
    PROT = "PROT"
    ADVICE = "ADVICE"
    FLAG = ""
    FLAVOURS = "FLAVOUR[,FLAVOUR...]"


CHOICES: dict[Kind, tuple[str, ...]] = {
    Kind.HUGE: ("2M", "1G"),
    Kind.PROT: ("none", "r", "rw", "rx", "rwx"),
    Kind.ADVICE: ("dontneed", "free", "cold", "pageout", "collapse", "hugepage", "nohugepage"),
    Kind.FLAVOURS: tuple(FLAVOURS),
}
"""The kinds of which every valid word is known."""

KINDS: dict[Kind, str] = {
    Kind.TARGET: "a region `heap`; a range of it in bytes or pages `heap[0:1M]`, `heap[1p:]`; one page "
    "`heap[3p]`; single pages a stride apart `heap[1M::64K]`; with its process `W1.heap` (kernel, expect)",
    Kind.SIZE: "whole pages: `64K` `2M` `1G` (binary), plain bytes, or pages `16p`; at most 64T",
    Kind.OFFSET: "a SIZE, or `0`",
    Kind.FOLIOS: "sizes of large folios, each a power of two from 8K to 1G",
    Kind.NAME: "a letter, then up to 31 letters, digits, `_` or `-`; `kernel` is reserved",
}
"""What words of the other kinds look like."""


@dataclass(frozen=True, slots=True)
class Argument:
    """A word that stands in its place: `fork NAME`. Only actors that `who` names may give it."""

    kind: Kind
    required: bool = True
    who: Who = "any"

    @property
    def usage(self) -> str:
        """As usage lines write it."""
        return self.kind.value if self.required else f"[{self.kind.value}]"

    def fits(self, word: str) -> bool:
        """May `word` be meant as this argument, where it could be an option too?"""
        return self.kind is not Kind.SIZE or word[:1].isdigit()


@dataclass(frozen=True, slots=True)
class Option:
    """A word that says its own name: `thp=2M`, `small`.

    `bare` is what the keyword alone means (None: it needs a value). The option contradicts each of `excludes`
    and makes sense only beside one of `needs`.
    """

    keyword: str
    kind: Kind
    doc: str
    required: bool = False
    bare: Value | None = None
    excludes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()

    @property
    def usage(self) -> str:
        """As usage lines write it."""
        value = f"={self.kind.value}" if self.kind is not Kind.FLAG else ""
        value = f"[{value}]" if value and self.bare is not None else value
        return f"{self.keyword}{value}" if self.required else f"[{self.keyword}{value}]"


@dataclass(frozen=True, slots=True)
class Verb:
    """One row: what the verb does (`doc`), who may do it, and the words that follow it.

    `compares`: comparisons follow. `begins`: the process called `Action.word` comes to life.
    `ends`: the actor is gone afterwards.
    """

    name: str
    who: Who
    doc: str
    example: str
    arguments: tuple[Argument, ...] = ()
    options: tuple[Option, ...] = ()
    compares: bool = False
    begins: bool = False
    ends: bool = False

    @property
    def usage(self) -> str:
        """How to write it: `mprotect TARGET PROT`."""
        words = [self.name, *(argument.usage for argument in self.arguments)]
        words += ["FIELD=VALUE..."] if self.compares else []
        return " ".join([*words, *(option.usage for option in self.options)])

    def option(self, keyword: str) -> Option | None:
        """The option of that keyword, if there is one."""
        return next((option for option in self.options if option.keyword == keyword), None)


_TARGET = (Argument(Kind.TARGET),)
_OTHERS = ("thp", "small", "shared", "file", "shmem", "memfd", "hugetlb", "offset", "prot")

_MMAP = (
    Option(
        "thp",
        Kind.FOLIOS,
        "folio sizes that faults may use, beside small ones",
        excludes=("small", "hugetlb"),
    ),
    Option("small", Kind.FLAG, "faults use small folios only", bare=True, excludes=("hugetlb",)),
    Option("shared", Kind.FLAG, "MAP_SHARED; without file or shmem, memory shared with children", bare=True),
    Option("file", Kind.NAME, "map this file, in the page cache", excludes=("shmem", "hugetlb")),
    Option("shmem", Kind.NAME, "map this tmpfs file", excludes=("hugetlb",)),
    Option(
        "memfd",
        Kind.NAME,
        "map this memfd, gone with its last process",
        excludes=("file", "shmem", "hugetlb"),
    ),
    Option("hugetlb", Kind.HUGE, "hugetlb pages of this size; alone: 2M", bare=512),
    Option("offset", Kind.OFFSET, "where in the file the region begins", needs=("file", "shmem", "memfd")),
    Option("prot", Kind.PROT, "protection, rw unless said"),
    Option("reserved", Kind.FLAG, "name an address range, map nothing", bare=True, excludes=_OTHERS),
)

_ROWS = (
    Verb("mmap", "process", "Map a new region, or a part of a reserved one.", "P mmap heap 4M thp=64K,2M",
         (Argument(Kind.TARGET), Argument(Kind.SIZE, required=False)), _MMAP),
    Verb("munmap", "process", "Unmap pages.", "P munmap heap[1M:]", _TARGET),
    Verb("read", "process", "Read one byte of each page.", "P read heap[0:64K]", _TARGET),
    Verb("write", "process", "Write one byte of each page.", "P write heap[3p]", _TARGET),
    Verb("fork", "process", "Begin a child process with a copy of this address space.", "P fork C",
         (Argument(Kind.NAME),), begins=True),
    Verb("exec", "process", "Continue with a new, empty address space.", "P exec"),
    Verb("exit", "process", "End; the address space is torn down.", "P exit", ends=True),
    Verb("mprotect", "process", "Change the protection of pages.", "P mprotect heap[0:1M] r",
         (Argument(Kind.TARGET), Argument(Kind.PROT))),
    Verb("mremap", "process", "Move pages to another place.", "P mremap heap[0:1M] to=high[1M:2M]", _TARGET,
         (Option("to", Kind.TARGET, "where the pages go", required=True),)),
    Verb("madvise", "process", "Tell the kernel what to do with pages.", "P madvise heap pageout",
         (Argument(Kind.TARGET), Argument(Kind.ADVICE))),
    Verb("mlock", "process", "Fault pages in and keep them in memory.", "P mlock heap[0:64K]", _TARGET),
    Verb("munlock", "process", "Undo mlock.", "P munlock heap", _TARGET),
    Verb("pin", "process", "Take a long-term pin on each page, as for DMA.", "P pin heap[3p]", _TARGET),
    Verb("unpin", "process", "Drop the pins.", "P unpin heap[3p]", _TARGET),
    Verb("migrate", "kernel", "Move the folios to other memory.", "kernel migrate P.heap", _TARGET),
    Verb("swapout", "kernel", "Reclaim the pages to swap.", "kernel swapout P.heap[0p:16p]", _TARGET),
    Verb("split", "kernel", "Split the large folios into small ones.", "kernel split P.heap", _TARGET),
    Verb("ksm", "kernel", "Merge the range's small anonymous pages, in every process, as of equal content.",
         "kernel ksm heap", _TARGET),
    Verb("expect", "any", "Check fields: a region's, a process's (no TARGET), or the kernel's own.",
         "P expect heap truth=exclusive maybe_shared=yes on=no-page-mapcount",
         (Argument(Kind.TARGET, required=False, who="process"),),
         (Option("on", Kind.FLAVOURS, "only on kernels of these flavours"),), compares=True),
)  # fmt: skip

VERBS: dict[str, Verb] = {verb.name: verb for verb in _ROWS}
"""Every verb by its name."""

PROCESS_FIELDS: dict[str, str] = {
    "truth": "who maps the folios: exclusive or shared",
    "maybe_shared": "what folio_maybe_mapped_shared says: yes or no",
    "total": "large_mapcount: mappings of the folio",
    "entire": "entire_mapcount: PMD mappings of the whole folio",
    "nr_pages_mapped": "pages of the folio mapped by PTEs (page-mapcount)",
    "mapped_pages": "pages counted once for each time they are mapped (total-mapped-pages)",
    "slots": "the counts in the two owner slots",
    "refcount": "references to the folio",
    "pincount": "pins on the folio",
    "order": "the folio's order",
    "folios": "folios that the pages belong to",
    "small_folios": "of these, folios of order 0",
    "large_folios": "of these, folios of order 1 and more",
    "partially_mapped": "is a folio queued as partially mapped: yes or no",
    "anon_exclusive": "pages marked anon exclusive",
    "present": "pages that are mapped, as pagemap says",
    "swap": "pages that are swapped out, as pagemap says",
    "excl": "pages with pagemap's bit 56, exclusively mapped",
    "swapcached": "pages in the swap cache",
    "rss": "smaps Rss",
    "pss": "smaps Pss",
    "uss": "Private_Clean + Private_Dirty",
    "pss_dirty": "smaps Pss_Dirty",
    "private_clean": "smaps Private_Clean",
    "private_dirty": "smaps Private_Dirty",
    "shared_clean": "smaps Shared_Clean",
    "shared_dirty": "smaps Shared_Dirty",
    "referenced": "smaps Referenced",
    "anonymous": "smaps Anonymous",
    "lazyfree": "smaps LazyFree",
    "anon_huge_pages": "smaps AnonHugePages",
    "shmem_pmd_mapped": "smaps ShmemPmdMapped",
    "file_pmd_mapped": "smaps FilePmdMapped",
    "shared_hugetlb": "smaps Shared_Hugetlb",
    "private_hugetlb": "smaps Private_Hugetlb",
    "swap_kb": "smaps Swap",
    "swap_pss": "smaps SwapPss",
    "locked": "smaps Locked",
    "vmas": "VMAs",
    "mapmax": "numa_maps mapmax",
    "kpagecount": "the pages' map counts in /proc/kpagecount",
}
"""What `expect` may ask of a region or a process, each with its meaning."""

SYSTEM_FIELDS: dict[str, str] = {
    "anon_pages": "AnonPages, in pages",
    "mapped": "Mapped, in pages",
    "anon_huge_pages": "AnonHugePages, in pages",
    "shmem_huge_pages": "ShmemHugePages, in pages",
    "shmem_pmd_mapped": "ShmemPmdMapped, in pages",
    "file_pmd_mapped": "FilePmdMapped, in pages",
    "shmem": "Shmem, in pages",
    "file_pages": "pages in the page cache",
    "swap_used": "pages in swap",
    "swap_cached": "SwapCached, in pages",
    "deferred_split": "folios queued for deferred splitting",
    "thp_split_page": "folios split since the start",
    "thp_split_pmd": "PMDs split since the start",
    "pswpin": "pages read from swap since the start",
    "pswpout": "pages written to swap since the start",
    "wrong_folios": "folios said to be shared that are not, or the reverse",
}
"""What `kernel expect` may ask of the whole system, each with its meaning."""


def reference() -> str:
    """The language's reference in Markdown, made of the tables above."""
    verbs = VERBS.values()
    options = [(verb, option) for verb in verbs for option in verb.options]
    return "\n".join(
        [
            "| verb | who | what it does | example |",
            "|---|---|---|---|",
            *_rows((f"`{v.usage}`", v.who, v.doc, f"`{v.example}`") for v in verbs),
            "",
            "| word | what to write |",
            "|---|---|",
            *_rows((f"`{k.value}`", KINDS[k] if k in KINDS else _any_of(k)) for k in Kind if k.value),
            "",
            "| option | of | what it means | not with | only with |",
            "|---|---|---|---|---|",
            *_rows(
                (f"`{o.usage}`", v.name, o.doc, _list(_contradicting(v, o)), _list(o.needs))
                for v, o in options
            ),
            "",
            "| field of a region or process | what it is |",
            "|---|---|",
            *_rows((f"`{name}`", doc) for name, doc in PROCESS_FIELDS.items()),
            "",
            "| field of the kernel | what it is |",
            "|---|---|",
            *_rows((f"`{name}`", doc) for name, doc in SYSTEM_FIELDS.items()),
            "",
        ]
    )


def _contradicting(verb: Verb, option: Option) -> list[str]:
    """The keywords that contradict `option`, whichever of the two rows says so."""
    return [o.keyword for o in verb.options if o.keyword in option.excludes or option.keyword in o.excludes]


def _any_of(kind: Kind) -> str:
    return "one of " + _list(CHOICES[kind])


def _list(words: Iterable[str]) -> str:
    return ", ".join(f"`{word}`" for word in words)


def _rows(rows: Iterable[tuple[str, ...]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in rows]
