"""What can be had on a machine: forms of memory, room for it, and what was got."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.live.fakes import MemorySource, Run, block_of, machine, process, region

from mapcount.bench import room
from mapcount.bench.forms import choose, forms_of, writes_for
from mapcount.bench.look import NONE, look
from mapcount.bench.measure import check_machine
from mapcount.bench.room import HEADROOM_KIB, available_kib, check_room, room_for
from mapcount.live.snapshot import CannotHere
from mapcount.live.thp import Thp

from .rows import BY_PMD, BY_PTES, MTHP, SMALL

ROOT = Path("/nowhere")
THP = Thp({16: "never", 64: "madvise", 1024: "never", 2048: "madvise"}, {}, ROOT)
GIB = 1 << 20


def test_without_permission_only_what_is_enabled_is_measured() -> None:
    """4K always, and each size that advised memory gets; what would enable the others is said."""
    forms, left_out = choose(None, THP, may_write=False)
    assert [SMALL, MTHP, BY_PTES, BY_PMD] == forms
    assert [16, 1024] == [out.kib for out in left_out]
    assert {THP.file(16): "madvise", THP.file(64): "never"} == left_out[0].writes


def test_with_permission_every_size_is_measured() -> None:
    """Settings decide nothing then."""
    forms, left_out = choose(None, THP, may_write=True)
    assert [4, 16, 64, 1024, 2048, 2048] == [form.kib for form in forms]
    assert [] == left_out


def test_chosen_sizes_are_measured_and_no_others() -> None:
    """The order is by size, whatever was said first."""
    assert ([SMALL, MTHP], []) == choose([64, 4], THP, may_write=True)
    assert ([], [16]) == (lambda got: (got[0], [out.kib for out in got[1]]))(
        choose([16], THP, may_write=False)
    )


def test_sizes_that_the_kernel_does_not_have_are_refused() -> None:
    """A size between those that there are, and one beyond the largest."""
    for kib in (128, 4096):
        with pytest.raises(CannotHere, match=f"folios of {kib} KiB"):
            choose([kib], THP, may_write=True)


def test_small_folios_need_no_settings() -> None:
    """Not even a kernel with huge pages."""
    assert {} == writes_for(4, Thp({}, {}, ROOT))
    assert ([SMALL], []) == choose(None, Thp({}, {}, ROOT), may_write=False)


def test_memory_of_the_pmd_size_comes_in_two_forms() -> None:
    """Mapped by PTEs and mapped by a PMD."""
    assert (BY_PTES, BY_PMD) == forms_of(2048)
    assert (MTHP,) == forms_of(64)


def test_pages_are_seen_with_their_folios_and_frames() -> None:
    """Runs in the memory under test count, with the frame of each page; those elsewhere do not."""
    regions = [region(start=0x10), region(start=0x1000, nr_pages=1024), region(start=0x9000)]
    blocks = [
        block_of([Run(page=3, region=0, folio=7), Run(page=0, nr=512, region=1, folio=512, order=9, pmd=1)]),
        block_of(
            [
                Run(page=512, nr=16, region=1, folio=2048, order=4),
                Run(page=528, nr=2, region=1, folio=4096, first=5, order=4),
                Run(page=600, region=1, folio=77),
                Run(page=0, region=2, folio=8),
            ]
        ),
    ]
    source = MemorySource([process(5, regions)], {5: blocks})
    seen = look(source, 5, 0x1000, 1024)
    assert seen is not None
    assert {BY_PMD: 512, MTHP: 18, SMALL: 1} == seen.forms
    assert [*range(512, 1024), *range(2048, 2064), 4101, 4102] == seen.frames[:530].tolist()
    assert (77, 1024 - 531) == (seen.frames[600], np.count_nonzero(seen.frames == NONE))
    assert 0.5 == seen.share(BY_PMD)
    assert 0 == seen.share(BY_PTES)


def test_pages_behind_other_frames_have_changed() -> None:
    """A copied page is behind another frame than before; a reused one is not."""
    regions = [region(start=0x1000, nr_pages=4)]
    runs = [block_of([Run(page=0, nr=4, folio=16, order=2)])]
    copied = [block_of([Run(page=0, nr=2, folio=16, order=2), Run(page=2, folio=99), Run(page=3, folio=5)])]
    before, after = (
        look(MemorySource([process(1, regions)], {1: blocks}), 1, 0x1000, 4) for blocks in (runs, copied)
    )
    assert before is not None
    assert after is not None
    assert (0, 2) == (before.changed(before), after.changed(before))


def test_without_frames_nothing_is_seen() -> None:
    """Not root: the form of memory is unknown, and nobody is asked."""
    assert None is look(MemorySource(machine=machine(frames=False)), 1, 0, 4)


def test_other_page_sizes_are_refused() -> None:
    """The stories count in pages of 4 KiB and PMDs of 2 MiB."""
    check_machine(MemorySource())
    for other in ({"page_size": 65536}, {"pmd_order": 13}):
        with pytest.raises(CannotHere, match="4 KiB"):
            check_machine(MemorySource(machine=machine(**other)))


def fake(tmp_path: Path, groups: str, **files: str) -> tuple[Path, Path]:
    """/proc and /sys/fs/cgroup with 8 GiB available, these groups, and these files (`a__b` is a/b)."""
    proc, cgroups = tmp_path / "proc", tmp_path / "cgroup"
    (proc / "self").mkdir(parents=True)
    (proc / "meminfo").write_text(f"MemTotal: 99 kB\nMemAvailable:   {8 * GIB} kB\n")
    (proc / "self/cgroup").write_text(groups)
    for name, text in files.items():
        path = cgroups / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return proc, cgroups


@pytest.mark.parametrize(
    ("groups", "files", "gib"),
    [
        ("", {}, 8),
        ("0::/\n", {}, 8),
        ("0::/a/b\n", {"a__b__memory_dot_max": "max", "a__b__memory_dot_current": "5"}, 8),
        (
            "0::/a/b\n",
            {
                "a__memory_dot_max": f"{3 << 30}",
                "a__memory_dot_current": f"{1 << 30}",
                "a__b__memory_dot_max": f"{7 << 30}",
                "a__b__memory_dot_current": "0",
            },
            2,
        ),
        (
            "4:memory:/x\n3:cpu:/y\n0::/\n",
            {
                "memory__x__memory_dot_limit_in_bytes": f"{5 << 30}",
                "memory__x__memory_dot_usage_in_bytes": f"{4 << 30}",
            },
            1,
        ),
    ],
)
def test_what_is_available_is_the_least_of_all_limits(
    tmp_path: Path, groups: str, files: dict[str, str], gib: int
) -> None:
    """The machine's own, and those of our control group and of each above it."""
    assert gib * GIB == available_kib(*fake(tmp_path, groups, **files))


@pytest.mark.parametrize(
    ("benchmark", "wanted", "available", "got"),
    [
        ("fork", None, 9 * GIB, GIB),
        ("cow", None, 9 * GIB, GIB),
        ("cow", None, HEADROOM_KIB + GIB, GIB // 2),
        ("fork", 3 * GIB + 5, 9 * GIB, 3 * GIB),
        ("fork", 1000, 9 * GIB, 2048),
    ],
)
def test_so_much_is_used(
    monkeypatch: pytest.MonkeyPatch, benchmark: str, wanted: int | None, available: int, got: int
) -> None:
    """What is wanted, or 1 GiB, or what fits beside the headroom; in whole PMD ranges."""
    monkeypatch.setattr(room, "available_kib", lambda: available)
    assert got == room_for(benchmark, wanted)


@pytest.mark.parametrize(("benchmark", "wanted"), [("fork", 2 * GIB), ("cow", GIB), ("fork", 16384 * GIB)])
def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch, benchmark: str, wanted: int) -> None:
    """Copy-on-write needs its memory twice; others keep their headroom."""
    monkeypatch.setattr(room, "available_kib", lambda: HEADROOM_KIB + 2 * GIB - 1)
    with pytest.raises(CannotHere, match="--gib takes less"):
        room_for(benchmark, wanted)
    check_room(2 * GIB - 1, HEADROOM_KIB + 2 * GIB - 1)
