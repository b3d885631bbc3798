"""A scenario on several flavours, for people: what changed in each step, and where the flavours differ.

Flavours that answer alike share a line. A mistake of the kernel is marked in words, so that it survives a
pipe; colour only repeats it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import groupby

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from mapcount.report.run_schemes import scheme_answers, scheme_rows
from mapcount.report.words import flavours_word, signed, size
from mapcount.scenario.observation import FolioSeen, Observation
from mapcount.scenario.run import Run, SteppedTo
from mapcount.scenario.syntax import visible

MOST_FOLIOS = 8
"""Folios shown in one step, unless every step is asked for."""
MOST_STEPS = 40
"""Beyond so many steps, only those in which the flavours differ or a mistake begins or ends are shown."""
WIDE, NARROW = 36, 18
"""Columns for the names of flavours: of several that answer alike, or of one."""

Answers = dict[str, str]
"""What each flavour answers, as text."""


def draw_runs(runs: Sequence[Run], *, every: bool = False, width: int = 100) -> Iterator[RenderableType]:
    """The same scenario on each flavour: title, steps, summary, failures.

    On a terminal narrower than 100 columns each flavour gets a line of its own.
    """
    scenario = runs[0].scenario
    title = visible(scenario.title.split("\n")[0])
    yield Text.assemble((visible(scenario.name), "bold"), f": {title}" if title else "")
    yield Text()
    shown = _worth_showing(runs, every=every)
    quiet = 0
    for i in range(len(scenario.steps)):
        if i in shown:
            if quiet:
                yield Text(f"      ... {quiet} more steps (--step shows them)", "dim")
            quiet = 0
            yield from _step(runs, i, every=every, wide=width >= 100)
        else:
            quiet += not runs[0].steps[i].only_expects
    if quiet:
        yield Text(f"      ... {quiet} more steps (--step shows them)", "dim")
    yield Text()
    yield Text("summary" + " (differences are to the first kernel)" * (len(runs) > 1), "italic")
    yield summary(runs)
    yield from _findings(runs)


def _worth_showing(runs: Sequence[Run], *, every: bool) -> set[int]:
    steps = {i for i, step in enumerate(runs[0].steps) if not step.only_expects}
    if every:
        return set(range(len(runs[0].steps)))
    if len(steps) <= MOST_STEPS:
        return steps
    telling = {i for i in steps if _telling(runs, i)}
    return set(sorted(telling)[:MOST_STEPS])


def _telling(runs: Sequence[Run], i: int) -> bool:
    """Does a mistake begin or end in this step, or do the flavours begin to differ?"""

    def state(k: int) -> tuple[list[int], bool]:
        seen = [run.steps[k].seen for run in runs]
        return [s.wrong_folios for s in seen], len({_proc_key(s) for s in seen}) > 1

    return bool(runs[0].steps[i].failures) or i == 0 or state(i) != state(i - 1)


def _proc_key(seen: Observation) -> str:
    return str([(name, roll["pss"], roll["uss"]) for name, roll in seen.rollup.items()])


def _step(runs: Sequence[Run], i: int, *, every: bool, wide: bool) -> Iterator[Text]:
    step = runs[0].steps[i].step
    text = visible(step.text) or "(nothing)"
    yield Text.assemble(
        (f"{step.line:>4}  ", "dim"),
        (text, "bold"),
        *((("   # " + visible(step.comment)), "dim"),) * bool(step.comment),
    )
    before = [run.steps[i - 1].seen if i else None for run in runs]
    yield from _folios(runs, [run.steps[i] for run in runs], before, every=every, wide=wide)
    yield from _processes(runs, [run.steps[i] for run in runs], before, every=every, wide=wide)
    yield from _system(runs, [run.steps[i] for run in runs], before, every=every, wide=wide)


def _folios(
    runs: Sequence[Run],
    now: Sequence[SteppedTo],
    before: Sequence[Observation | None],
    *,
    every: bool,
    wide: bool,
) -> Iterator[Text]:
    """Each place whose folios changed: the truth, then what each flavour keeps and believes."""
    places: dict[str, list[tuple[str, FolioSeen]]] = {}
    changed: set[str] = set()
    for run, step, old in zip(runs, now, before, strict=True):
        known = set(map(id, old.folios)) if old else set()
        for folio in step.seen.folios:
            places.setdefault(folio.place, []).append((str(run.flavour), folio))
            if id(folio) not in known:
                changed.add(folio.place)
    rows = [place for place in places if every or place in changed]
    for place in rows if every else rows[:MOST_FOLIOS]:
        for (truth, what), group in _grouped(places[place]):
            yield Text.assemble("      ", (f"{place:<18} ", "cyan"), f"{what:<19} ", truth)
            answers = {name: _belief(folio) for name, folio in group}
            wrong = {name for name, folio in group if folio.wrong}
            yield from _lines(answers, wide, wrong)
            for name, answer, is_wrong in scheme_answers(group):
                label = f"{name:<{WIDE if wide else NARROW}} "
                yield Text.assemble("        ", (label, "dim"), (answer, "red" if is_wrong else ""))
    if not every and len(rows) > MOST_FOLIOS:
        yield Text(f"      ... and {len(rows) - MOST_FOLIOS} more places (--step shows them)", "dim")


def _grouped(
    found: list[tuple[str, FolioSeen]],
) -> Iterator[tuple[tuple[str, str], list[tuple[str, FolioSeen]]]]:
    ordered = sorted(found, key=lambda pair: _truth(pair[1]))
    for truth, group in groupby(ordered, key=lambda pair: _truth(pair[1])):
        yield truth, list(group)


def _truth(folio: FolioSeen) -> tuple[str, str]:
    owners = ", ".join(f"{name} {n}" for name, n in list(folio.owners.items())[:6])
    more = ", ..." if len(folio.owners) > 6 else ""
    many = f"{folio.count} x " if folio.count > 1 else ""
    what = f"{folio.kind} {many}{size(4 << folio.order)}"
    return f"{folio.truth}: {owners}{more}" if owners else folio.truth, what


def _belief(folio: FolioSeen) -> str:
    c = folio.counters
    total = folio.counters.get("large_mapcount", str(c.get("page_mapcount")).split("*")[-1])
    verdict = ("shared" if folio.maybe_shared else "exclusive") + (" <- WRONG" if folio.wrong else "")
    words = [f"{verdict:<16}total {total}"]
    if c.get("entire_mapcount"):
        words.append(f"entire {c['entire_mapcount']}")
    if c.get("total_mapped_pages", total) != total:
        words.append(f"pages {c['total_mapped_pages']}")
    if "mm_id" in c:
        words.append("slots " + (" ".join(f"{name}:{n}" for name, n in folio.slots) or "empty"))
    if folio.partially_mapped:
        words.append("partial")
    return "  ".join(words)


def _lines(
    answers: Answers, wide: bool, wrong: Collection[str] = (), extra: Answers | None = None
) -> Iterator[Text]:
    """One line for each group of flavours that answer the same."""
    by_answer: dict[str, list[str]] = {}
    for name, answer in answers.items():
        by_answer.setdefault(answer, []).append(name)
    groups = list(by_answer.items())
    if not wide and len(groups) > 1:
        groups = [(answer, [name]) for name, answer in answers.items()]
    for answer, names in groups:
        style = "red" if set(wrong) & set(names) else ""
        label = flavours_word(names, answers)
        note = (extra or {}).get(names[0], "")
        yield Text.assemble(
            "        ",
            (f"{label:<{WIDE if wide else NARROW}} ", "dim"),
            (answer, style),
            (f"  {note}" if note else "", "yellow"),
        )


def _processes(
    runs: Sequence[Run],
    now: Sequence[SteppedTo],
    before: Sequence[Observation | None],
    *,
    every: bool,
    wide: bool,
) -> Iterator[Text]:
    """Each process whose memory changed: Rss, Pss, Uss, Swap; a difference to the first flavour in words."""
    first = now[0].seen
    for name, base in first.rollup.items():
        rolls = {
            str(run.flavour): step.seen.rollup.get(name, base) for run, step in zip(runs, now, strict=True)
        }
        old = {
            str(run.flavour): o.rollup.get(name) if o else None for run, o in zip(runs, before, strict=True)
        }
        if not every and all(old[f] == rolls[f] for f in rolls):
            continue
        if not any(_anything(roll) for roll in (*rolls.values(), *old.values())):
            continue
        answers = {f: _memory(roll) for f, roll in rolls.items()}
        notes = {f: _change(roll, base) for f, roll in rolls.items()}
        rss = f"Rss {size(base['rss']):<7} " + (f"Swap {size(base['swap']):<7} " if base["swap"] else "")
        same = len(set(answers.values())) == 1
        what = rss + next(iter(answers.values())) if same else rss.rstrip()
        yield Text.assemble("      ", (f"{name:<18} ", "green"), what)
        if not same:
            yield from _lines(answers, wide, set(), notes)


def _anything(roll: object) -> bool:
    return isinstance(roll, dict) and any(v for field, v in roll.items() if field != "size")


def _memory(roll: dict[str, int] | object) -> str:
    assert isinstance(roll, dict)
    text = f"Pss {size(roll['pss']):<7} Uss {size(roll['uss']):<7}"
    if roll["shared_hugetlb"] or roll["private_hugetlb"]:
        text += f" Hugetlb {size(roll['private_hugetlb'])} private, {size(roll['shared_hugetlb'])} shared"
    return text.rstrip()


def _change(roll: object, base: object) -> str:
    assert isinstance(roll, dict)
    assert isinstance(base, dict)
    words = [
        f"{field.capitalize()} {signed(roll[field] - base[field])}"
        for field in ("pss", "uss")
        if roll[field] != base[field]
    ]
    return "<- " * bool(words) + ", ".join(words)


COUNTERS = {
    "anon_pages": "AnonPages", "mapped": "Mapped", "anon_huge_pages": "AnonHugePages",
    "shmem_pmd_mapped": "ShmemPmdMapped", "file_pmd_mapped": "FilePmdMapped", "swap_used": "swap used",
    "swap_cached": "SwapCached",
}  # fmt: skip
EVENTS = {
    "deferred_split": "queued for splitting", "thp_split_page": "THPs split", "thp_split_pmd": "PMDs split",
}  # fmt: skip


def _system(
    runs: Sequence[Run],
    now: Sequence[SteppedTo],
    before: Sequence[Observation | None],
    *,
    every: bool,
    wide: bool,
) -> Iterator[Text]:
    """The system's counters that changed in this step, in any flavour."""
    fields = [
        field
        for field in (*COUNTERS, *EVENTS)
        if any(
            step.seen.system[field] != (old.system[field] if old else 0)
            or (every and step.seen.system[field])
            for step, old in zip(now, before, strict=True)
        )
    ]
    if not fields:
        return
    answers: Answers = {}
    for run, step in zip(runs, now, strict=True):
        pairs = [
            f"{COUNTERS[f]} {size(4 * step.seen.system[f])}"
            if f in COUNTERS
            else f"{EVENTS[f]} {step.seen.system[f]}"
            for f in fields
        ]
        answers[str(run.flavour)] = ", ".join(pairs)
    if len(set(answers.values())) == 1:
        yield Text.assemble("      ", ("system             ", "magenta"), next(iter(answers.values())))
    else:
        yield Text.assemble("      ", ("system", "magenta"))
        yield from _lines(answers, wide)


def summary(runs: Sequence[Run]) -> Table:
    """By flavour: how often and how long the estimate was wrong, how /proc differs, what counting cost."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", no_wrap=True)
    for run in runs:
        table.add_column(str(run.flavour), justify="right", overflow="fold")
    base = runs[0]
    acted = len(base.acted)
    schemes = dict.fromkeys(
        name for step in base.steps for folio in step.seen.folios for name in folio.schemes
    )
    rows: list[tuple[str, list[str]]] = [
        (
            f"steps wrong (of {acted})",
            [str(sum(s.seen.wrong_folios > 0 for s in r.acted)) for r in runs],
        ),
        ("longest wrong, steps", [str(_longest(r)) for r in runs]),
        (
            "folios wrong at most",
            [str(max((s.seen.wrong_folios for s in r.acted), default=0)) for r in runs],
        ),
    ]
    rows += scheme_rows(runs, list(schemes))
    differences: list[tuple[str, list[str]]] = [
        ("Uss off by at most", [largest_difference(r, base, "uss") for r in runs]),
        ("Pss off by at most", [largest_difference(r, base, "pss") for r in runs]),
        ("AnonPages off by", [_largest_system(r, base, "anon_pages") for r in runs]),
        ("Mapped off by", [_largest_system(r, base, "mapped") for r in runs]),
    ]
    rows += differences if len(runs) > 1 else []
    for field in ("page_updates", "locked_updates", "atomic_updates"):
        words = {"page_updates": "page-counter", "locked_updates": "locked", "atomic_updates": "atomic"}
        rows.append((f"{words[field]} updates", [f"{_cost(r, field):,}" for r in runs]))
    for name, cells in rows:
        table.add_row(name, *cells)
    return table


def _cost(run: Run, field: str) -> int:
    return run.steps[-1].seen.cost.get(field, 0)


def _longest(run: Run) -> int:
    streaks = [
        len(list(group)) for wrong, group in groupby(run.acted, lambda s: s.seen.wrong_folios > 0) if wrong
    ]
    return max(streaks, default=0)


def largest_difference(run: Run, base: Run, field: str) -> str:
    """By how much a field of smaps_rollup differs at most, of any process after any step, with its sign."""
    changes = [
        roll[field] - theirs.seen.rollup[name][field]
        for ours, theirs in zip(run.steps, base.steps, strict=True)
        for name, roll in ours.seen.rollup.items()
        if name in theirs.seen.rollup
    ]
    most = max(changes, key=abs, default=0)
    return "reference" if run is base else signed(most) if most else "none"


def _largest_system(run: Run, base: Run, field: str) -> str:
    changes = [
        4 * (ours.seen.system[field] - theirs.seen.system[field])
        for ours, theirs in zip(run.steps, base.steps, strict=True)
    ]
    most = max(changes, key=abs, default=0)
    return "reference" if run is base else signed(most) if most else "none"


def _findings(runs: Sequence[Run]) -> Iterator[Text]:
    """Every failure and broken invariant; or how many expectations hold, and on which kernels."""
    for failure in (failure for run in runs for failure in run.failures):
        yield _finding(f"FAILED  {visible(str(failure))}")
    for run in runs:
        for step, folio, invariant in run.broken:
            where = f"{run.flavour}: line {step.step.line}: {folio.place}"
            yield _finding(f"BROKEN  {where}: {invariant.sentence}")
    written = sum(len(a.expects) for step in runs[0].scenario.steps for a in step.actions)
    if not written or any(run.failures for run in runs):
        return
    yield Text()
    by_count = {
        count: [str(r.flavour) for r in runs if r.checked == count] for count in (r.checked for r in runs)
    }
    for count, names in by_count.items():
        skipped = f"; {written - count} are for other kernels" if count < written else ""
        some = (
            f"{count} expectation{'s' * (count != 1)} hold{'s' * (count == 1)}"
            if count
            else "nothing was checked"
        )
        style = "green" if count else "yellow"
        yield Text(f"{some} on {flavours_word(names, runs)}{skipped}.", style)


def _finding(text: str) -> Text:
    """A line that is never wrapped, so that it can be searched for."""
    return Text(text, "bold red", no_wrap=True, overflow="ignore")
