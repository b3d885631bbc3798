"""A benchmark as text and as JSON, of made-up numbers."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from mapcount.bench.measured import Measured, Sample
from mapcount.bench.story import BENCHMARKS
from mapcount.report.bench import draw_bench
from mapcount.report.bench_data import bench_as_data
from mapcount.report.bench_words import figure, reservations, what_it_says

from .rows import (
    BY_PMD,
    BY_PTES,
    FORMS,
    MTHP,
    NOT_ENABLED,
    NR_PAGES,
    SMALL,
    measured,
    mistaken,
    on_a_line,
    row,
)

(FORK,) = BENCHMARKS["fork"]
GONE, THIRD, SHARED = BENCHMARKS["cow"]


def drawn(result: Measured, width: int = 100) -> str:
    """The report as a pipe gets it."""
    console = Console(file=StringIO(), width=width, highlight=False)
    console.print(*draw_bench(result, width=width), sep="\n")
    assert isinstance(console.file, StringIO)
    return console.file.getvalue()


def line_of(text: str, begin: str) -> str:
    """The first line that begins so, with its columns one blank apart."""
    return next(" ".join(line.split()) for line in text.splitlines() if line.startswith(begin))


def test_times_stand_beside_updates_and_published_figures() -> None:
    """Each form has a line: median, spread, cost per page, counter updates with and without, figure."""
    text = drawn(on_a_line("munmap"))
    assert "64K 0.840 0.840 .. 0.840 51.2 1.125 0.062 -16 %" == line_of(text, "64K")
    assert "2M by a PMD 0.016 0.016 .. 0.016 1.00 0.006 0.004 -" == line_of(text, "2M by a PMD")
    assert "20.0 ns per page + 500 ns per batch (least squares over 8 sizes" in text
    assert text.startswith(
        "munmap: 64M of memory on Linux 6.18.0-test (page-mapcount), 3 runs; time on the CPU"
    )


def test_one_sentence_says_what_it_means() -> None:
    """What a page costs by size, and what NO_PAGE_MAPCOUNT would leave out."""
    assert [
        "munmap: a page costs 21.0 ns in folios of 2M by PTEs, 400 in small ones, 1.00 by a PMD. "
        "NO_PAGE_MAPCOUNT leaves out 99.8% of the counter updates at 2M by PTEs "
        "(published: -31 % run time).",
        "The published changes, of the times here, are 6.1 to 11.6 ns a page over 8 sizes; "
        "where that is level, it is what a page's own count costs.",
    ] == list(what_it_says(on_a_line("munmap")))
    fork = on_a_line("fork")
    assert 1 == len(list(what_it_says(replace(fork, rows=(fork.rows[-2],))))), "one size says nothing of all"


def test_copies_stand_beside_what_was_simulated() -> None:
    """A third process's mTHP is copied though nobody else maps it; the sentences say so."""
    text = drawn(mistaken())
    assert "64K 49.2 49.2 .. 49.2 3000 100% 100%" == line_of(text[text.index("third process") :], "64K")
    reuse, copied, exact = what_it_says(mistaken())
    assert reuse.startswith("Reusing a page takes 33 % of the time of a copy (published: 34 to 36 %")
    assert copied.endswith("the kernel takes it for shared and copies: 64K, at 3.0 times the cost of reuse.")
    assert exact.endswith("the third process's pages are reused: 4K, 2M by a PMD.")


def test_the_chart_is_on_a_log_scale() -> None:
    """A bar ends where the ruler has its value: ten times the cost is one decade more."""
    rows = [row(FORK, SMALL, 1000), row(FORK, MTHP, 100), row(FORK, BY_PTES, 10), row(FORK, BY_PMD, 0)]
    lines = drawn(measured("fork", rows)).splitlines()
    at = lines.index("ns per page, on a log scale")
    ruler, *bars = lines[at + 1 : at + 6]
    places = [ruler.index(mark) for mark in ("10 ", "100 ", "1000")]
    ends = [bar.rindex("█") + 1 for bar in bars[:3]]
    assert places[1:] == [ends[1], ends[0]]
    assert places[0] + 1 == ends[2]
    assert "2M by a PMD fork           <noise" == bars[3]


@pytest.mark.parametrize(
    "result", [on_a_line("fork"), on_a_line("munmap"), mistaken()], ids=["fork", "munmap", "cow"]
)
@pytest.mark.parametrize("width", [60, 80, 100, 200])
def test_the_report_fits_and_is_plain(result: Measured, width: int) -> None:
    """It keeps to the width, even of a narrow terminal, and in a pipe has no escape codes."""
    lines = drawn(result, width).splitlines()
    assert max(map(len, lines)) <= width
    assert "\x1b" not in "".join(lines)
    assert "…" not in "".join(lines)


def test_a_meaningless_fit_is_called_so() -> None:
    """Times off the line, and too few sizes, give no numbers to believe in."""
    rows = [row(FORK, form, 100 if i % 2 else 10) for i, form in enumerate(FORMS)]
    assert "Per page and per batch: meaningless, the times do not lie on a line" in drawn(
        measured("fork", rows)
    )
    few = measured("fork", [row(FORK, SMALL, 9), row(FORK, MTHP, 9)])
    assert "Per page and per batch: unknown" in drawn(few)


def test_reservations_say_what_is_not_as_wanted() -> None:
    """What deviates, what was left out, not got or not seen, written, and noted; one sentence each."""
    rows = [
        row(THIRD, MTHP, 1, copied=0.5),
        row(GONE, BY_PTES, 1, copied=0, share=0.25),
        row(SHARED, BY_PMD, 1, share=None),
        row(SHARED, SMALL, 1, copied=1),
    ]
    said = reservations(
        measured("cow", rows, left_out=(NOT_ENABLED,), written=("/s/a/on", "/s/b/on"), notes=("min_free",))
    )
    assert [
        "DEVIATES  third process, 64K: 50% of the pages were copied, the simulated kernel copies 100%",
        "Not enabled here and so not measured: 16K. --set-thp enables each for its turn "
        "(for 16K: 'madvise' in /sys/x/hugepages-16kB/enabled).",
        "It was not seen whether the memory had the form wanted: 2M by a PMD.",
        "2M by PTEs: only 25% of the memory had this form.",
        "Written meanwhile and put back, in /s: a/on, b/on",
        "min_free",
    ] == list(said)
    assert [] == list(reservations(mistaken()))


def test_without_frames_copies_are_unknown() -> None:
    """Nothing is claimed that was not observed."""
    rows = [row(story, MTHP, 9, share=None) for story in (GONE, THIRD, SHARED)]
    text = drawn(measured("cow", rows))
    assert "64K 0.147 0.147 .. 0.147 9.00 unknown 0%" == line_of(text, "64K")
    assert "takes it for shared" not in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.0001, "<0.001"),
        (0.0123, "0.012"),
        (1, "1.00"),
        (12.34, "12.3"),
        (999.4, "999"),
        (3111, "3111"),
    ],
)
def test_figures_have_three_digits(value: float, text: str) -> None:
    """More would be noise."""
    assert text == figure(value)


def noisy(ns_per_page: float) -> Measured:
    """fork() of which one run in three took 2 ns a page longer although there was nothing to do for pages."""
    rows = [row(FORK, form, [ns_per_page] * 3) for form in (MTHP, BY_PTES, BY_PMD)]
    slow = [
        Sample(s.ns, s.base_ns + 2 * NR_PAGES * (i == 0), s.share, s.copied)
        for i, s in enumerate(rows[0].samples)
    ]
    return measured("fork", [replace(r, samples=tuple(slow)) for r in rows])


def test_what_cannot_be_told_from_noise_is_not_zero() -> None:
    """Below the noise there is no time and no fit, only what it is less than; above, all of them."""
    text = drawn(noisy(1.5))
    assert "64K <noise <noise .. <noise <2.00 1.062 0.062 -15 %" == line_of(text, "64K")
    assert "Per page and per batch: unknown" in text
    assert "fork: a page costs <2.00 ns in folios of 2M by PTEs, <2.00 by a PMD." in " ".join(text.split())
    assert "64K 0.041 0.041 .. 0.041 2.50 1.062 0.062 -15 %" == line_of(drawn(noisy(2.5)), "64K")


def test_what_is_subtracted_is_said() -> None:
    """Under each table stands what the call itself takes, and by how much that differs from run to run."""
    text = " ".join(drawn(noisy(1.5)).split())
    assert (
        "Subtracted: the same call over untouched memory, 0.001 ms; its runs lie 0.033 ms apart: "
        "less than that is noise." in text
    )
    assert "writing the same pages once more, 0.001 ms; its runs lie up to 0 ms apart" in drawn(
        mistaken(), 200
    )
    once = measured("fork", [row(FORK, MTHP, 5)])
    assert "One run shows no noise." in drawn(replace(once, runs=1))


def test_json_below_the_noise() -> None:
    """There the cost of a page is null; a flag says why, and how large the noise is."""
    below, above = (bench_as_data(noisy(ns))["stories"][0]["rows"][0] for ns in (1.5, 2.5))
    assert (None, True, 2 * NR_PAGES) == (below["ns_per_page"], below["below_noise"], below["noise_ns"])
    assert (2.5, False, 1000) == (above["ns_per_page"], above["below_noise"], above["base_ns"])


def test_json_has_every_sample() -> None:
    """Raw samples, what was made of them, and what they stand beside; it survives the way through text."""
    rows = [row(FORK, form, [3, 1, 2]) for form in (SMALL, MTHP, BY_PMD)]
    data = json.loads(json.dumps(bench_as_data(measured("fork", rows, left_out=(NOT_ENABLED,)))))
    (story,) = data["stories"]
    small, mthp, by_pmd = story["rows"]
    assert ("fork", ["P fork A"]) == (story["name"], story["steps"])
    assert ["pte", "pte", "pmd"] == [r["mapped_by"] for r in story["rows"]]
    assert [16384 * n + 1000 for n in (3, 1, 2)] == [sample["ns"] for sample in mthp["samples"]]
    assert {"low": 16384, "mid": 32768, "high": 49152} == mthp["ns"]
    assert {"owner-tracking": 0, "no-page-mapcount": -15} == mthp["published_percent"]
    assert {"owner-tracking": None, "no-page-mapcount": None} == by_pmd["published_percent"]
    assert {"page": 0, "locked": 1 / 16, "atomic": 0} == mthp["updates_per_page"]["no-page-mapcount"]
    assert None is small["copied"]
    assert [{"folio_kib": 16, "writes": {"/sys/x/hugepages-16kB/enabled": "madvise"}}] == data["not_enabled"]


def test_json_of_a_fit_and_of_copies() -> None:
    """The fit carries why it is meaningless; copies are observed beside simulated."""
    (story,) = bench_as_data(on_a_line("fork"))["stories"]
    assert (8, None) == (story["fit"]["sizes"], story["fit"]["meaningless"])
    third = bench_as_data(mistaken())["stories"][1]
    assert None is third["fit"]
    assert {"observed": 1.0, "simulated": 1.0, "deviates": False} == third["rows"][1]["copied"]
