"""A /proc of ordinary files: frames and one process as a test wants them."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mapcount.live.frames import FrameFiles
from mapcount.live.live_source import LiveSource

from .fakes import machine

MMAP, ANON, SWAPBACKED, HEAD, TAIL, HUGE, ZERO = (1 << bit for bit in (11, 12, 14, 15, 16, 17, 24))
HWPOISON, NOPAGE, KSM, THP, OFFLINE = (1 << bit for bit in (19, 20, 21, 22, 23))
PRESENT, FILE, EXCLUSIVE, SWAPPED = (1 << bit for bit in (63, 61, 56, 62))


@dataclass
class Vma:
    """A region: its entries in pagemap by page, and what smaps says besides its Rss."""

    start: int
    entries: Mapping[int, int]
    nr_pages: int
    flags: str = "rd wr mr mw me ac"
    fields: Mapping[str, int] = field(default_factory=dict)
    name: str = ""

    def smaps(self) -> str:
        """As the kernel prints it; Rss counts all entries that are present, unless it is given."""
        present = sum(entry >= PRESENT for entry in self.entries.values())
        kib = {"Size": self.nr_pages * 4, "Rss": present * 4, **self.fields}
        rows = "".join(f"{name}: {value:>14} kB\n" for name, value in kib.items())
        span = f"{self.start * 4096:x}-{(self.start + self.nr_pages) * 4096:x}"
        return f"{span} rw-p 00000000 00:00 0 {self.name}\n{rows}THPeligible: 0\nVmFlags: {self.flags} \n"


def stat_line(
    pid: int, comm: str = "fake", start_time: int = 1, virtual_size: int = 4096, code: int = 7
) -> str:
    """A line of /proc/PID/stat."""
    fields = ["0"] * 49
    fields[19], fields[20], fields[23] = str(start_time), str(virtual_size), str(code)
    return f"{pid} ({comm}) S {' '.join(fields[1:])}\n"


def write_words(path: Path, values: Mapping[int, int]) -> None:
    """A file of 64-bit words; what is not given is a hole of zeros."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("r+b" if path.exists() else "w+b") as file:
        for at, value in values.items():
            file.seek(8 * at)
            file.write(struct.pack("=Q", value))


@dataclass
class FakeProc:
    """The files: frames by number, and processes."""

    root: Path

    def frames(self, flags: Mapping[int, int], counts: Mapping[int, int]) -> None:
        """Write kpageflags and kpagecount."""
        write_words(self.root / "kpageflags", flags)
        write_words(self.root / "kpagecount", counts)

    def process(self, pid: int, vmas: Sequence[Vma], **stat: object) -> None:
        """Write a process."""
        at = self.root / str(pid)
        at.mkdir(parents=True, exist_ok=True)
        (at / "stat").write_text(stat_line(pid, **stat))  # type: ignore[arg-type]
        (at / "cgroup").write_text("4:memory:/a/b\n0::/\n")
        (at / "smaps").write_text("".join(vma.smaps() for vma in vmas))
        end = max((vma.start + vma.nr_pages for vma in vmas), default=1)
        write_words(at / "pagemap", {end - 1: 0, 0: 0})
        for vma in vmas:
            write_words(at / "pagemap", {vma.start + page: entry for page, entry in vma.entries.items()})

    def source(self, **changes: object) -> LiveSource:
        """The source that reads it: page by page, without levels and struct folio unless said otherwise."""
        (self.root / "meminfo").write_text("MemTotal: 1024 kB\nHugePages_Total: 3\n")
        kernel = machine(**{"folios": False, "levels": False, **changes})
        return LiveSource(kernel, self.root, self.root / "sys", FrameFiles(self.root), None)
