"""Control groups' statistics, and the machine's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from mapcount.live.cgroups import memory_hierarchy, memory_stats
from mapcount.live.settings import hidepid, huge_page_settings, meminfo
from mapcount.live.snapshot import MemoryStat


def group(at: Path, **files: str) -> int:
    """A control group's directory; its inode."""
    at.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (at / name.replace("__", ".")).write_text(text)
    return at.stat().st_ino


def test_version_2_groups(tmp_path: Path) -> None:
    """Every group with a memory.stat is listed, parents first, with its limit if it has one."""
    root = tmp_path / "fs" / "cgroup"
    top = group(root, cgroup__controllers="cpu memory\n", memory__stat="anon 9\nfile_mapped 8\nshmem 7\n")
    web = group(
        root / "web",
        memory__stat="anon 5\nfile 1\nfile_mapped 4\nshmem 3\n",
        memory__max="1048576\n",
        memory__current="4096\n",
    )
    free = group(root / "web" / "free", memory__stat="anon 0\n", memory__max="max\n", memory__current="0\n")
    group(root / "without")
    assert memory_hierarchy(tmp_path) == root
    assert [
        MemoryStat("/", top, 9, 8, 7),
        MemoryStat("/web", web, 5, 4, 3, 1 << 20, 4096),
        MemoryStat("/web/free", free, 0, None, None, None, 0),
    ] == list(memory_stats(root))


def test_version_1_groups_include_those_below(tmp_path: Path) -> None:
    """Version 1 has fields for a group alone and for all below it; the latter are what version 2 says."""
    root = tmp_path / "fs" / "cgroup" / "memory"
    stat = "rss 1\nmapped_file 2\nshmem 3\ntotal_rss 10\ntotal_mapped_file 20\ntotal_shmem 30\n"
    inode = group(
        root,
        memory__stat=stat,
        memory__limit_in_bytes="9223372036854771712\n",
        memory__usage_in_bytes="4096\n",
    )
    assert memory_hierarchy(tmp_path) == root
    assert [MemoryStat("/", inode, 10, 20, 30, None, 4096)] == list(memory_stats(root))


def test_the_unified_hierarchy_beside_version_1(tmp_path: Path) -> None:
    """In hybrid mode the memory controller may be in the unified hierarchy, which has a place of its own."""
    root = tmp_path / "fs" / "cgroup"
    group(root / "cpu")
    assert memory_hierarchy(tmp_path) is None
    group(root / "unified", cgroup__controllers="cpuset memory\n")
    assert root / "unified" == memory_hierarchy(tmp_path)


def test_a_machine_without_control_groups_has_none(tmp_path: Path) -> None:
    """Nothing is there, and nothing is made up."""
    assert memory_hierarchy(tmp_path) is None


def test_meminfo_is_in_kib(tmp_path: Path) -> None:
    """Fields in KiB are read; counts of huge pages are no sizes."""
    (tmp_path / "meminfo").write_text("MemTotal:  100 kB\nAnonPages: 5 kB\nHugePages_Total:  3\n\n")
    assert {"MemTotal": 100, "AnonPages": 5} == meminfo(tmp_path)


def test_settings_are_all_files_but_statistics(tmp_path: Path) -> None:
    """Every setting of transparent huge pages is read by its path; statistics are not settings."""
    root = tmp_path / "kernel" / "mm" / "transparent_hugepage"
    for name, text in {
        "enabled": "always [madvise] never\n",
        "khugepaged/max_ptes_shared": "256\n",
        "hugepages-64kB/enabled": "never\n",
        "hugepages-64kB/stats/split": "12\n",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    assert {
        "enabled": "always [madvise] never",
        "khugepaged/max_ptes_shared": "256",
        "hugepages-64kB/enabled": "never",
    } == huge_page_settings(tmp_path)


def test_a_kernel_without_thp_has_no_settings(tmp_path: Path) -> None:
    """Then there is no such directory."""
    assert {} == huge_page_settings(tmp_path)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ("rw", False),
        ("rw,hidepid=0", False),
        ("rw,hidepid=off", False),
        ("rw,hidepid=2", True),
        ("hidepid=invisible", True),
    ],
)
def test_hidden_processes_are_noticed(tmp_path: Path, options: str, expected: bool) -> None:
    """The option is that of the last mount on /proc."""
    (tmp_path / "self").mkdir()
    (tmp_path / "self" / "mounts").write_text(
        f"proc {tmp_path} proc rw,hidepid=1 0 0\nsys /sys sysfs rw 0 0\nproc {tmp_path} proc {options} 0 0\n"
    )
    assert expected == hidepid(tmp_path)
