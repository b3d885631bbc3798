"""Simulating against doing: the same story on the simulated and on the running kernel, in one run.

A process fills N GiB of 64 KiB folios and forks four times; each child unmaps the upper half, then the
parent does; all exit. The ratio that counts leaves the filling out, which costs the real kernel most.

    python benchmarks/fork_unmap.py [--gib N] [--allow-sysfs] [--runs N]

`--allow-sysfs` lets the real side enable 64 KiB folios in /sys for the run, and puts the setting back;
without it the kernel chooses the folio size, which the table then names.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path
from platform import release

from mapcount.scenario.parse import parse
from mapcount.scenario.run import run
from mapcount.tracking.flavour import FLAVOURS

FOLIO_KIB = 64
CHILDREN = ("A", "B", "C", "D")


def story(gib: int, folio_kib: int) -> str:
    """The scenario: sizes as the real side really had them."""
    half = f"heap[{gib << 9}M:]"
    lines = [f"P mmap heap {gib}G " + (f"thp={folio_kib}K" if folio_kib > 4 else "small"), "P write heap"]
    lines += [f"P fork {name}" for name in CHILDREN]
    lines += [f"{name} munmap {half}" for name in CHILDREN] + [f"P munmap {half}"]
    lines += [f"{name} exit" for name in CHILDREN] + ["P exit"]
    return "\n".join(lines) + "\n"


def simulate(gib: int, folio_kib: int, flavour: str) -> float:
    """Seconds for the whole story, parsing, truth and invariants after each step included."""
    start = time.perf_counter()
    result = run(parse(story(gib, folio_kib)), FLAVOURS[flavour])
    seconds = time.perf_counter() - start
    assert not result.broken
    return seconds


def peak_mib(gib: int) -> float:
    """Peak memory of a fresh interpreter that simulates the story at this size, in MiB."""
    code = f"import sys; sys.path.insert(0, {sys.path[0]!r}); import fork_unmap as f; f._report({gib})"
    out = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    return float(out)


def _report(gib: int) -> None:
    simulate(gib, FOLIO_KIB, "page-mapcount")
    # Not getrusage: its peak is that of who started us, if that is more.
    status = Path("/proc/self/status").read_text()
    print(int(status.partition("VmHWM:")[2].split()[0]) / 1024)


def main() -> int:
    """Print the table; 3 where the real side cannot be measured."""
    options = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    options.add_argument("--gib", type=int, default=16)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--allow-sysfs", action="store_true")
    given = options.parse_args()
    from mapcount.live.snapshot import CannotHere
    from real_kernel import measure, size_gib

    try:
        gib = size_gib(given.gib)
        real = measure(parse(story(gib, FOLIO_KIB)), FOLIO_KIB, given.runs, given.allow_sysfs)
    except (CannotHere, OSError, RuntimeError) as error:
        print(f"the real side cannot be measured here: {error}", file=sys.stderr)
        return 3
    folio_kib = real[0].folio_kib or FOLIO_KIB
    done = [r.seconds for r in real]
    print(f"{gib} GiB of {folio_kib} KiB folios, real kernel {release()}, {given.runs} runs")
    print(f"{'':22}{'min s':>10}{'median s':>10}{'max s':>10}{'simulated / real':>20}")
    print(f"{'real kernel':22}{min(done):>10.4f}{statistics.median(done):>10.4f}{max(done):>10.4f}{'1':>20}")
    for name in FLAVOURS:
        times = [simulate(gib, folio_kib, name) for _ in range(given.runs)]
        ratio = statistics.median(times) / statistics.median(done)
        print(
            f"{name:22}{min(times):>10.4f}{statistics.median(times):>10.4f}{max(times):>10.4f}{ratio:>20.5f}"
        )
    print(f"\n256 GiB simulated: {simulate(256, 64, 'page-mapcount'):.4f} s, peak {peak_mib(256):.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
