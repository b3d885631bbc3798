"""The generated parts of the documentation, each made from the code's own tables or by running it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import click

from make_docs import ELLIPSIS, ROOT, console, outputs
from mapcount.cli import COMMANDS, mapcount
from mapcount.scenario.compare import KNOWN_DEVIATIONS, PAGEMAP_PMD_EXCLUSIVE, Comparison, compare
from mapcount.scenario.observation import FolioSeen
from mapcount.scenario.parse import MAX_BYTES, MAX_STEPS, load, parse
from mapcount.scenario.printing import show_size
from mapcount.scenario.recording import Recording, load_recording
from mapcount.scenario.run import run
from mapcount.scenario.syntax import MAX_LINE
from mapcount.scenario.verbs import reference
from mapcount.scenario.words import MAX_FOLIO, MAX_PAGES
from mapcount.sim.ksm import LIMIT as KSM_LIMIT
from mapcount.sim.system import MAX_STRETCHES
from mapcount.tracking.flavour import (
    FLAVOURS,
    NO_PAGE_MAPCOUNT,
    PAGE_MAPCOUNT,
    PMD_ORDER,
    V6_14,
    Flavour,
)
from mapcount.tracking.folio import Folio
from mapcount.tracking.invariants import INVARIANTS
from mapcount.tracking.owner_slots import OwnerSlots
from mapcount.tracking.questions import folio_average_page_mapcount, folio_precise_page_mapcount
from mapcount.tracking.rmap import Delta, folio_add_new_anon_rmap, folio_add_rmap, folio_remove_rmap

PARTS: dict[str, Callable[[], str]] = {}
"""Every generated part by its name."""


def part(make: Callable[[], str]) -> Callable[[], str]:
    """Register a part under its function's name, with `-` for `_`."""
    PARTS[make.__name__.replace("_", "-")] = make
    return make


def table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join([*lines, *("| " + " | ".join(str(cell) for cell in row) + " |" for row in rows)])


def yes(flag: bool) -> str:
    """`yes`, or nothing."""
    return "yes" if flag else ""


# -- README ------------------------------------------------------------------------------------------------


@part
def audit_short() -> str:
    """What the README shows of an audit: what changes, and for whom."""
    command = "mapcount audit --from captures/demo.capture"
    (lines,) = outputs((command,))
    (rss,) = [i for i, line in enumerate(lines) if line.split() == ["under"]]
    (large,) = [i for i, line in enumerate(lines) if "large folios (" in line]
    (processes,) = [i for i, line in enumerate(lines) if line == "Processes"]
    (sizes,) = [i for i, line in enumerate(lines) if line.startswith("Large folios by size")]
    shown = [*lines[:2], ELLIPSIS, *lines[rss : large + 1], ELLIPSIS, *lines[processes : sizes - 1], ELLIPSIS]
    return "\n".join(["```console", f"$ {command}", *shown, "```"])


# -- docs/top.md -------------------------------------------------------------------------------------------


@part
def top_screen() -> str:
    """What `mapcount top` shows of the demo capture, in a terminal of 80 columns and 24 lines."""
    from mapcount.live.capture_source import CaptureSource
    from mapcount.report.top.still import still

    name = "captures/demo.capture"
    with contextlib.chdir(ROOT):
        lines = still(CaptureSource(Path(name)), 80, 24)
    return "\n".join(["```", *lines, "```"])


# -- docs/mechanism.md -------------------------------------------------------------------------------------


@part
def flavours() -> str:
    """The four kernels."""
    header = ("flavour", "kernel", "per-page counts", "owner slots", "entire mapcount", "total mapped pages")
    return table(
        header,
        (
            (f"`{f.name}`", f.since, *map(yes, kept))
            for f in FLAVOURS.values()
            for kept in [(f.page_mapcounts, f.owner_slots, f.entire_mapcount, f.total_mapped_pages)]
        ),
    )


@part
def counters() -> str:
    """Which counters a folio has: small, large, hugetlb, in each flavour."""
    folios = [("small", 0, False), ("large", 4, False), ("hugetlb", PMD_ORDER, True)]
    kept = {
        (what, f.name): Folio(f, order, hugetlb=hugetlb).counters()
        for what, order, hugetlb in folios
        for f in FLAVOURS.values()
    }
    names = dict.fromkeys(name for found in kept.values() for name in found if name != "order")
    return table(
        ("counter", *(what for what, _, _ in folios)),
        ((f"`{name}`", *(_kept_by(kept, what, name) for what, _, _ in folios)) for name in names),
    )


def _kept_by(kept: dict[tuple[str, str], dict[str, object]], what: str, name: str) -> str:
    names = [flavour for flavour in FLAVOURS if name in kept[what, flavour]]
    return "all flavours" if len(names) == len(FLAVOURS) else ", ".join(f"`{n}`" for n in names) or "-"


@part
def limits() -> str:
    """What fits in ids and slots, and where the two flags are."""
    rows = []
    for bits in (64, 32):
        f = PAGE_MAPCOUNT.on(bits)
        slots = OwnerSlots(f)
        flags = (slots.lock_mask.bit_length() - 1, slots.shared_mask.bit_length() - 1)
        rows.append((f"{bits} bits", f"1 ... {f.max_mm_id:,}", f"{f.max_slot_mapcount:,}", *flags))
    return table(("machine", "MM ids", "largest count in a slot", "lock bit", "shared flag"), rows)


SHORT_LIVED = "P mmap heap 64K thp=64K\nP write heap\nP fork A\nA munmap heap[32K:]\nA exit\n"
THIRD_LEFT = "P mmap heap 64K thp=64K\nP write heap\nP fork A\nP fork B\nP exit\nA exit\nB munmap heap[2p:]\n"
THIRD_LEFT += "B munmap heap[1p]\n"
LATE = "P mmap a 64K thp=64K shmem=f shared\nP read a\nP fork A ; A read a\nP fork B ; B read a\nA exit\n"
LATE += "B mmap b 64K shmem=f shared ; B read b\nP exit\nB munmap a\n"
TWICE = "P mmap a 64K thp=64K shmem=f shared\nP read a\nP mmap b 64K shmem=f shared\nP read b\n"


@part
def story_short_lived() -> str:
    """Parent and one child: exact all the way."""
    return _slots_table(SHORT_LIVED)


@part
def story_third_left() -> str:
    """Three mms, and the one without a slot stays."""
    return _slots_table(THIRD_LEFT)


@part
def story_late() -> str:
    """An mm that got its slot late."""
    return _slots_table(LATE)


@part
def story_twice() -> str:
    """One mm, two VMAs."""
    return _slots_table(TWICE)


def _slots_table(text: str) -> str:
    rows = []
    for step in run(parse(text), PAGE_MAPCOUNT).steps:
        folio = _large(step.seen.folios)
        if folio is not None:
            rows.append((f"`{step.step.text}`", *_slots_row(folio)))
    return table(("step", "who really maps it", "total", "slot 0", "slot 1", "flag", "the kernel says"), rows)


def _large(folios: Iterable[FolioSeen]) -> FolioSeen | None:
    return next((folio for folio in folios if folio.order), None)


def _slots_row(folio: FolioSeen) -> tuple[str, ...]:
    counts, ids = _list(folio.counters["mm_id_mapcount"]), _list(folio.counters["mm_id"])
    names = iter(name for name, _ in folio.slots)
    slots = [f"{next(names)}: {n}" if mm_id else "free" for mm_id, n in zip(ids, counts, strict=True)]
    owners = ", ".join(f"{name} {n}" for name, n in folio.owners.items())
    flag = "shared" if folio.counters["mm_ids_shared"] else ""
    says = ("shared" if folio.maybe_shared else "exclusive") + (" - **wrong**" if folio.wrong else "")
    return (f"{folio.truth}: {owners}", str(folio.counters["large_mapcount"]), *slots, flag, says)


def _list(value: object) -> list[int]:
    assert isinstance(value, list)
    return value


@part
def exit_orders() -> str:
    """In how many orders of exits two slots are mistaken, by number of processes: every order is run."""
    rows = []
    for n in range(2, 6):
        names = ["P", *"ABCD"[: n - 1]]
        start = "P mmap heap 64K thp=64K\nP write heap\n" + "".join(f"P fork {c}\n" for c in names[1:])
        orders = list(permutations(names))
        runs = [run(parse(start + "".join(f"{c} exit\n" for c in order)), PAGE_MAPCOUNT) for order in orders]
        wrong = [sum(step.seen.wrong_folios > 0 for step in one.steps) for one in runs]
        most = max(wrong)
        rows.append((n, len(orders), sum(w > 0 for w in wrong), f"{most} step" + "s" * (most != 1)))
    return table(("processes", "orders of exit", "of these with a mistake", "mistaken for at most"), rows)


def _events(flavour: Flavour, order: int, level: int) -> Iterator[tuple[str, Delta]]:
    """What happens to a folio of a parent and a child, and each event's measured effect."""
    folio = Folio(flavour, order)
    nr = folio.nr_pages
    yield "first mapping of a new folio", folio_add_new_anon_rmap(folio, 1, level)
    yield "fork", folio_add_rmap(folio, 0, nr, 2, level)
    if nr > 1 and not level:
        yield "the child unmaps half", folio_remove_rmap(folio, nr // 2, nr // 2, 2)
        yield "the child exits", folio_remove_rmap(folio, 0, nr // 2, 2)
        yield "the parent unmaps half", folio_remove_rmap(folio, nr // 2, nr // 2, 1)
        yield "the parent exits", folio_remove_rmap(folio, 0, nr // 2, 1)
    else:
        yield "the child exits", folio_remove_rmap(folio, 0, nr, 2, level)
        yield "the parent exits", folio_remove_rmap(folio, 0, nr, 1, level)


SIZES = (("4K", 0, 0), ("64K by PTEs", 4, 0), ("2M by PTEs", PMD_ORDER, 0), ("2M by a PMD", PMD_ORDER, 9))


@part
def costs() -> str:
    """Counter updates of each event: page words, locked updates, other atomic updates."""
    rows = []
    for what, order, level in SIZES:
        events = [list(_events(f, order, level)) for f in FLAVOURS.values()]
        for same in zip(*events, strict=True):
            costs = (delta.cost for _, delta in same)
            cells = (f"{c.page_updates} / {c.locked_updates} / {c.atomic_updates}" for c in costs)
            rows.append((what, same[0][0], *cells))
    return table(("folio", "event", *(f"`{name}`" for name in FLAVOURS)), rows)


@part
def statistics() -> str:
    """By how much AnonPages and AnonHugePages change, and where a folio is found partially mapped."""
    rows = []
    for what, order, level in SIZES[2:]:
        events = [list(_events(f, order, level)) for f in FLAVOURS.values()]
        for same in zip(*events, strict=True):
            rows.append((what, same[0][0], *(_statistics(delta) for _, delta in same)))
    return table(("folio", "event", *(f"`{name}`" for name in FLAVOURS)), rows)


def _statistics(delta: Delta) -> str:
    words = [f"{delta.stat:+d}" if delta.stat else "0"]
    words += [f"huge {delta.pmd_stat:+d}"] * bool(delta.pmd_stat)
    return ", ".join(words + ["*partial*"] * delta.partially_mapped)


@part
def averages() -> str:
    """The average page mapcount beside the counts that it stands for."""
    rows = []
    for order, pmds, ptes in (
        (4, 0, 1), (4, 0, 8), (4, 0, 23), (4, 0, 24), (4, 0, 32), (9, 1, 0), (9, 1, 255), (9, 1, 256),
        (9, 2, 1), (9, 0, 600),
    ):  # fmt: skip
        folios = [_mapped(f, order, pmds, ptes) for f in list(FLAVOURS.values())[1:]]
        average = [folio_average_page_mapcount(folio) for folio in folios[1:]]
        rows.append((folios[0].nr_pages, pmds, ptes, _each_page(folios[0]), *average))
    header = ("pages", "PMDs", "PTEs", "each page's count (`page-mapcount`)")
    return table((*header, "average, `no-page-mapcount`", "average, `total-mapped-pages`"), rows)


def _mapped(flavour: Flavour, order: int, pmds: int, ptes: int) -> Folio:
    folio = Folio(flavour, order)
    for _ in range(pmds):
        folio_add_rmap(folio, 0, folio.nr_pages, 1, PMD_ORDER)
    while ptes:
        n = min(ptes, folio.nr_pages)
        folio_add_rmap(folio, 0, n, 1)
        ptes -= n
    return folio


def _each_page(folio: Folio) -> str:
    counts = [folio_precise_page_mapcount(folio, page) for page in range(folio.nr_pages)]
    return ", ".join(f"{counts.count(count)} x {count}" for count in dict.fromkeys(counts))


HALF = "P mmap heap 64K thp=64K\nP write heap\nP fork C\nC munmap heap[32K:]\nP munmap heap[:48K]\nC exit\n"


@part
def proc_story() -> str:
    """What /proc says of a folio that is mapped in part."""
    rows = []
    runs = [run(parse(HALF), f, regions=True) for f in (PAGE_MAPCOUNT, NO_PAGE_MAPCOUNT)]
    for steps in zip(*(r.steps for r in runs), strict=True):
        seen = [step.seen for step in steps]
        first = True
        for both in zip(*(one.regions for one in seen), strict=True):
            says = (f"Pss {r.smaps['pss']}, Uss {r.smaps['uss']}, bit 56: {r.exclusive}" for r in both)
            anon = (one.system["anon_pages"] * 4 if first else "" for one in seen)
            text = f"`{steps[0].step.text}`" if first else ""
            rows.append((text, both[0].process, both[0].smaps["rss"], *says, *anon))
            first = False
    names = [f"`{r.flavour}`" for r in runs]
    return table(("step", "process", "Rss", *names, *(f"AnonPages, {name}" for name in names)), rows)


SPLIT_OWNERS = "P mmap heap 64K thp=64K\nP write heap\nP fork C\nP munmap heap[:32K]\nC munmap heap[32K:]\n"


@part
def before_6_15() -> str:
    """Both ways in which the guess of older kernels was wrong, beside the slots."""
    rows = []
    for text in (SPLIT_OWNERS, TWICE):
        old, new = (_large(run(parse(text), f).steps[-1].seen.folios) for f in (V6_14, PAGE_MAPCOUNT))
        assert old is not None
        assert new is not None
        story = "; ".join(line for line in text.splitlines())
        says = ("shared" if one.maybe_shared else "exclusive" for one in (old, new))
        rows.append((f"`{story}`", old.truth, *(w + " - **wrong**" * (w != old.truth) for w in says)))
    return table(("after", "truth", "`v6.14` says", "`page-mapcount` says"), rows)


@part
def invariants() -> str:
    """The registry of invariants."""
    return table(
        ("id", "claim", "claimed for"),
        (
            (f"`{i.id}`", i.sentence, _all_or([f"`{f.name}`" for f in FLAVOURS.values() if i.claimed(f)]))
            for i in INVARIANTS.values()
        ),
    )


def _all_or(names: list[str]) -> str:
    return "every flavour" if len(names) == len(FLAVOURS) else ", ".join(names)


@part
def layout() -> str:
    """The drawing of `mapcount layout`."""
    return console("mapcount layout")


# -- docs/audit.md -----------------------------------------------------------------------------------------


@part
def audit() -> str:
    """The report on the capture that comes with the project."""
    return console("mapcount audit --from captures/demo.capture")


# -- docs/cli.md, docs/scenarios.md ------------------------------------------------------------------------


@part
def commands() -> str:
    """Every command's --help."""
    sections = [console("mapcount --help")]
    for name in COMMANDS:
        sections += [f"## mapcount {name}", console(f"mapcount {name} --help")]
    return "\n\n".join(sections)


def options_of(name: str) -> list[str]:
    """Every option of a command, as typed."""
    command = mapcount.get_command(click.Context(mapcount), name)
    assert command is not None
    return [opt for param in command.params if isinstance(param, click.Option) for opt in param.opts]


@part
def bounds() -> str:
    """The largest of everything that a scenario may ask for."""
    return table(
        ("what", "at most"),
        (
            ("a scenario file", f"{MAX_BYTES >> 20} MiB"),
            ("its steps", f"{MAX_STEPS:,}"),
            ("a line", f"{MAX_LINE:,} characters"),
            ("a size or a place in a region", show_size(MAX_PAGES)),
            ("a folio in `thp=`", show_size(MAX_FOLIO)),
            ("single pages in one strided target", f"{MAX_STRETCHES:,}"),
            ("pages merged by one `ksm`", f"{KSM_LIMIT:,}"),
        ),
    )


@part
def library() -> str:
    """The scenarios that come with the repository, each with the first line of its title."""
    stories = [load(path) for path in sorted((ROOT / "scenarios").glob("*.scn"))]
    rows = ((f"`scenarios/{s.name}.scn`", s.title.split("\n")[0]) for s in stories)
    return table(("file", "story"), rows)


@part
def language() -> str:
    """Verbs, words, options and fields."""
    return reference().rstrip()


# -- docs/schemes.md ---------------------------------------------------------------------------------------


@part
def last_mapper() -> str:
    """The scheme of the tutorial."""
    return "\n".join(["```python", (ROOT / "examples" / "last_mapper.py").read_text("utf-8").rstrip(), "```"])


# -- docs/kernel-deviations.md -----------------------------------------------------------------------------


def recordings() -> Iterator[Recording]:
    """The recorded kernels."""
    for path in sorted((ROOT / "recordings").glob("*.jsonl"), reverse=True):
        yield load_recording(str(path))


def comparisons(recording: Recording) -> Iterator[Comparison]:
    """Every recorded story, beside the simulation."""
    for path in sorted((ROOT / "scenarios" / "recorded").glob("*.scn")):
        yield compare(load(path), recording)


@part
def agreement() -> str:
    """How many fields the recorded kernels and the simulated ones agree on."""
    rows = []
    for recording in recordings():
        found = list(comparisons(recording))
        known, unknown = sum(len(c.known) for c in found), sum(len(c.unknown) for c in found)
        steps, fields = sum(len(c.steps) for c in found), sum(c.fields for c in found)
        name = f"`recordings/{Path(recording.path).name}`"
        counts = (len(found), steps, fields, fields - known - unknown, known, unknown)
        rows.append((name, *(f"{count:,}" for count in counts)))
    header = ("recording", "stories", "steps", "fields compared", "agree", "known deviations", "unexplained")
    return table(header, rows)


@part
def deviations() -> str:
    """The known deviations and their anchors."""
    return table(
        ("id", "what deviates"), ((f"[`{d.id}`](#{d.id})", d.sentence) for d in KNOWN_DEVIATIONS.values())
    )


@part
def bit_56() -> str:
    """The recorded steps in which bit 56 is the first page's, and what the same kernel says elsewhere."""
    rows = []
    for recording in recordings():
        for comparison in comparisons(recording):
            scenario = f"`{comparison.scenario.name}`"
            for step in comparison.steps:
                fields = {d.field for d in step.differences if d.known is PAGEMAP_PMD_EXCLUSIVE}
                names = sorted(f.removesuffix(".pm.excl") for f in fields if f.endswith(".pm.excl"))
                rows += [
                    (scenario, step.step.line, f"`{step.step.text}`", name, *_bit_56_row(step.real, name))
                    for name in names
                ]
    header = ("scenario", "line", "step", "process", "bit 56 set", "kpagecount is 1", "smaps: private")
    return table((*header, "so bit 56 says"), rows)


def _bit_56_row(real: Any, name: str) -> tuple[str, str, str, str]:
    (actor,) = (a for a in real["actors"] if a["name"] == name)
    said = actor["pm"]["orig_excl"]
    once = real["folio"]["kpagecount"]["hist"].get("1", 0)
    private = (actor["smaps"]["Private_Clean"] + actor["smaps"]["Private_Dirty"]) // 4
    verdict = "exclusive, of shared pages" if said > once else "shared, of exclusive pages"
    return str(said), str(once), str(private), verdict


KPF_MLOCKED = 33


@part
def mlock_lost() -> str:
    """The mlocked flag of a folio that a locked VMA still maps."""
    recording = next(recordings())
    rows = []
    for answer in recording.of("v_mlock.anon64k"):
        if answer["folio"].get("thp"):
            (parent,) = (a for a in answer["actors"] if a["name"] == "P")
            flag = int(answer["folio"]["kpf_head"], 16) >> KPF_MLOCKED & 1
            rows.append((answer["label"], parent["pm"]["orig"], parent["smaps"]["Locked"], yes(bool(flag))))
    return table(("step", "P maps of the folio, pages", "P: Locked, KiB", "folio flagged mlocked"), rows)


@part
def lazyfree() -> str:
    """MADV_FREE of half a huge page."""
    recording = next(recordings())
    rows = []
    for name in ("u_madvfree.anon2m_pmd", "u2_madvfree_partial.anon2m_pmd"):
        for answer in recording.of(name):
            if "MADV_FREE" in answer["label"]:
                (parent,) = (a for a in answer["actors"] if a["name"] == "P")
                rows.append(
                    (f"`{name}`", answer["label"], parent["smaps"]["Rss"], parent["smaps"]["LazyFree"])
                )
    return table(("scenario", "step", "P: Rss, KiB", "P: LazyFree, KiB"), rows)


@part
def anon_whole() -> str:
    """The cgroup's anon beside the pages that are really mapped."""
    by_name = {str(r.flavour): r.of("b2_parent_half.anon2m_pte") for r in recordings()}
    rows = []
    for same in zip(*by_name.values(), strict=True):
        if same[0]["folio"].get("thp"):
            counts: dict[str, int] = same[0]["folio"]["kpagecount"]["hist"]
            mapped = sum(n for count, n in counts.items() if count != "0")
            rows.append((same[0]["label"], mapped, *(answer["charged_pages"]["anon"] for answer in same)))
    return table(("step", "pages mapped", *(f"anon, `{name}`" for name in by_name)), rows)
