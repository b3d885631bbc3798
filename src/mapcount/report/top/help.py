"""Text to read: what the screen shows, and what it cannot."""

from __future__ import annotations

from rich.text import Text

from mapcount.report.audit_reservations import draw_reservations
from mapcount.report.capture import draw_unreadable
from mapcount.report.top.watch import Watch

HELP = Text(
    """\
What each process's memory is, what it would be on the other kind of kernel,
and where this kernel is mistaken. Only reads, and stops no process.

  up down PgUp PgDn  choose a row         /  filter by name, number, group
  Enter              open it              s  sort by the next column
  Esc                back                 f  large folios by size
  p                  pause, go on         r  read everything now
  c                  write a capture      n  what is not known here, and why
  ?                  this text            q  quit

Rss Pss Uss  what smaps says now
change       by how much that would differ without per-page mapcounts
             (on a kernel without them: with them)
mistaken     memory of this process alone that the kernel takes for shared
age          how long ago change and mistaken were read
~  not exact, n says why      ?  not known      >=  at least

A heading that is clicked on sorts by its column.

Sizes are read often, for that costs little. Who maps which folio costs more:
processes whose sizes have changed are read first, and everything from time to
time. All of it takes at most about 5 % of one core, so on a machine that has
much to read it takes longer until everything was read again.

A process opens into its regions, a region into its large folios: where they
are, how they are mapped, the kernel's large and entire mapcount, who sits in
the two owner slots (MM id: mappings), whether one address space is alone with
it in truth (exclusive) or not (shared), and what the kernel says of that.
Where it is wrong there is a !
"""
)


def draw_notes(watch: Watch) -> Text:
    """What is inexact or missing."""
    lines = []
    if watch.overview:
        lines += list(draw_reservations(watch.overview))
    lines += [Text(line) for line in draw_unreadable(watch.unreadable)]
    return Text("\n\n").join(lines) if lines else Text("Everything asked for could be read, and is exact.")
