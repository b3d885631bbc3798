"""What stands above the list and below it: sums now and then, mistakes, and how old all of it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.text import Text

from mapcount.audit.census import FolioSize
from mapcount.audit.overview import Overview
from mapcount.audit.regions import OpenedProcess
from mapcount.audit.smaps import Memory
from mapcount.report.top.opened import compared_with, region_lines
from mapcount.report.top.processes import age
from mapcount.report.top.watch import Watch
from mapcount.report.words import about, count, plural, signed_about
from mapcount.scenario.syntax import visible

BAD, WARNING = "bold red", "yellow"


@dataclass(frozen=True, slots=True)
class Sum:
    """One number, in KiB, now and on the other kernel."""

    name: str
    now: int
    then: int
    whole: bool = True
    """Is that all of it? Else at least so much."""

    @property
    def change(self) -> str:
        """By how much it differs."""
        if self.now == self.then:
            return "none" if self.whole else "none seen"
        return f"{'' if self.whole else '>='}{signed_about(self.then - self.now)}"


def draw_machine(watch: Watch, name: str, release: str, flavour: str) -> Text:
    """All processes together, and the machine."""
    lines = [Text(f"{visible(name)}: Linux {visible(release)}, {flavour}", "bold")]
    if watch.unreadable:
        unread = plural(len(watch.unreadable), "process", "processes")
        lines[0].append(f"; {unread} could not be read", WARNING)
    overview = watch.overview
    if overview is None:
        lines.append(Text(visible(watch.nobody) or "reading what every process maps ..."))
        return _joined(lines)
    then = overview.then.name
    machine = [Sum(n, s.now_kib, s.under[then], overview.complete) for n, s in overview.meminfo.items()]
    number = plural(len(watch.lines), "process", "processes")
    lines += _sums(number, _memory(watch.now, watch.then), machine, then, predicted=overview.predicted)
    lines.append(_folios(overview.folios, overview.mistaken_kib, known=overview.predicted))
    lines += _limits(overview)
    return _joined(lines)


def draw_process(opened: OpenedProcess, gone: str) -> Text:
    """One process that is open; `gone`: why it cannot be read any more."""
    process, rows = opened.process, region_lines(opened)
    sharing = f", one address space with {', '.join(map(str, process.sharing))}" if process.sharing else ""
    who = f"{process.pid} ({visible(process.comm)}), control group {visible(process.cgroup)}{sharing}"
    then = Memory(
        sum(row.region.now.rss_kib for row in rows),
        sum((row.then or row.region.now).pss_kib for row in rows),
        sum((row.then or row.region.now).uss_kib for row in rows),
    )
    now = Memory(
        then.rss_kib, sum(row.region.now.pss_kib for row in rows), sum(row.region.now.uss_kib for row in rows)
    )
    lines = [Text(who, "bold")]
    name, predicted = compared_with(opened).name, any(row.then for row in rows)
    lines += _sums(plural(len(rows), "region"), _memory(now, then), [], name, predicted=predicted)
    lines.append(_folios(opened.sizes, sum(row.region.mistaken_kib for row in rows), known=predicted))
    if opened.off_kib:
        lines.append(Text(f"~ it moved while being read: off by up to {about(opened.off_kib)}", WARNING))
    if gone:
        lines.append(Text(f"{visible(gone)}: this is what was read last", BAD))
    return _joined(lines)


def draw_unread(gone: str) -> Text:
    """A process that is to be opened and was not read yet; `gone`: and cannot be."""
    return Text(visible(gone), BAD) if gone else Text("reading what it maps ...")


def draw_region(opened: OpenedProcess, start: int, gone: str) -> Text:
    """One region that is open."""
    process, size = opened.process, opened.machine.page_size
    lines = [Text(f"{process.pid} ({visible(process.comm)})", "bold")]
    for row in region_lines(opened):
        if row.start == start:
            region = row.region.region
            end = start + region.nr_pages
            name = visible(region.name) or "anonymous"
            lines[0].append(f", {start * size:x}-{end * size:x} {visible(region.perms)} {name}")
            shown = f" (the first {len(opened.folios)} are shown)" * (opened.all_folios > len(opened.folios))
            lines.append(
                Text(
                    f"{plural(opened.all_folios, 'large folio')}{shown}; Rss {about(row.region.now.rss_kib)}"
                )
            )
    if gone:
        lines.append(Text(f"{visible(gone)}: this is what was read last", BAD))
    return _joined(lines)


def _memory(now: Memory, then: Memory) -> list[Sum]:
    return [
        Sum("Rss", now.rss_kib, then.rss_kib),
        Sum("Pss", now.pss_kib, then.pss_kib),
        Sum("Uss", now.uss_kib, then.uss_kib),
    ]


def _sums(
    first: str, sums: Sequence[Sum], machine: Sequence[Sum], then: str, *, predicted: bool
) -> Iterable[Text]:
    """Four lines: what it is, now, then, and the change; of some processes, and of the machine."""
    label = max(len(first), len(f"under {then}"))
    rows = [
        (first, [each.name for each in sums], "machine:", [each.name for each in machine]),
        ("now", [about(each.now) for each in sums], "", [about(each.now) for each in machine]),
        (f"under {then}", [about(each.then) for each in sums], "", [about(each.then) for each in machine]),
        ("change", [each.change for each in sums], "", [each.change for each in machine]),
    ]
    for name, mine, between, whole in rows:
        if name not in (first, "now") and not predicted:
            mine, whole = ["?"] * len(mine), ["?"] * len(whole)
        line = f"{name:{label}}" + "".join(f"{cell:>8}" for cell in mine)
        if machine:
            line += f"  {between:8}" + "".join(f"{cell:>11}" for cell in whole)
        yield Text(line)


def _folios(sizes: Sequence[FolioSize], mistaken_kib: int, *, known: bool) -> Text:
    folios, memory = sum(row.folios for row in sizes), sum(row.folios * row.kib for row in sizes)
    if not folios:
        return Text("no large folios" if known else "whether there are large folios is not known")
    text = Text(f"{plural(folios, 'large folio')} ({about(memory)})")
    unknown = sum(row.not_judged for row in sizes)
    if wrong := sum(row.mistaken_for_shared for row in sizes):
        text.append(", ")
        text.append(f"{count(wrong)} of one process alone mistaken for shared: {about(mistaken_kib)}", BAD)
    elif not unknown:
        text.append("; the kernel is not mistaken about any of them")
    if unknown:
        text.append(f"; of {count(unknown)} it is not known whether the kernel is mistaken")
    return text


def _limits(overview: Overview) -> Iterable[Text]:
    limits = [limit for audit in overview.audits for limit in audit.machine.limits]
    if limits:
        more = f"({len(limits)} things are not known here, n tells) " if len(limits) > 1 else ""
        yield Text(more + visible(limits[0]), WARNING)


def _joined(lines: Sequence[Text]) -> Text:
    text = Text("\n").join(lines)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def ages(watch: Watch, now: float, wait: float | None) -> list[str]:
    """How old the numbers are, and in how many seconds all will be read again."""
    words = []
    if found := watch.ages(now):
        youngest, oldest = (age(seconds) for seconds in found)
        what = "predicted" if watch.overview and watch.overview.predicted else "read"
        words.append(f"{what} {youngest if youngest == oldest else f'{youngest}-{oldest}'} ago")
    if watch.glanced_at is not None:
        words.append(f"sizes {age(now - watch.glanced_at)} ago")
    if wait is not None:
        words.append(f"all in {age(wait)}" if wait else "reading all")
    return words


def as_many_as_fit(parts: Iterable[str], width: int) -> str:
    """One line of these, as far as there is room; what comes first is most important."""
    line = ""
    for part in parts:
        longer = f"{line} | {part}" if line else part
        if len(longer) > width:
            return line or part
        line = longer
    return line
