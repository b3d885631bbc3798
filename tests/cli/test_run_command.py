"""`mapcount run` as a user types it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from hypothesis import given, settings
from hypothesis import strategies as st

from mapcount.cli import COMMANDS, mapcount

ROOT = Path(__file__).parents[2]
STORY = ROOT / "scenarios" / "prefork.scn"
RECORDED = ROOT / "scenarios" / "recorded" / "c_3_parent1st.anon64k.scn"


def run(*args: object) -> Result:
    """Call `mapcount run` in this process. Anything but an exit code is raised."""
    result = CliRunner().invoke(mapcount, ["run", *map(str, args)], env={"COLUMNS": None})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def test_the_report_marks_the_mistake_and_the_difference() -> None:
    """The story's point is in the text: the kernel is wrong, and Uss is gone in one of the flavours."""
    text = run(STORY).output
    assert "shared <- WRONG total 16  slots empty" in text
    assert "Uss 0  <- Uss -64K" in text
    assert "expectations hold" in text


def test_all_flavours_side_by_side() -> None:
    """`--flavour all` shows the four kernels; equal answers share a line."""
    text = run(STORY, "--flavour", "all").output
    for name in ("v6.14", "page-mapcount", "no-page-mapcount", "total-mapped-pages"):
        assert name in text
    assert "all 4 kernels" in text or "v6.14, page-mapcount" in text


def test_lines_fit_a_hundred_columns() -> None:
    """No line of a report is wider than 100 columns."""
    text = run(STORY, "--flavour", "all", "--step").output
    assert max(map(len, text.splitlines())) <= 100


def test_json_has_everything() -> None:
    """`--json` is one array of scenarios with every step of every flavour, counters and smaps included."""
    (story,) = json.loads(run(STORY, "--json").output)
    assert list(story["flavours"]) == ["page-mapcount", "no-page-mapcount"]
    steps = story["flavours"]["no-page-mapcount"]["steps"]
    assert len(story["steps"]) == len(steps)
    wrong = [folio for step in steps for folio in step["folios"] if folio["wrong"]]
    assert wrong[0]["truth"] == "exclusive"
    assert wrong[0]["counters"]["mm_id_mapcount"] == [0, 0]
    assert {"rss", "pss", "uss", "swap"} <= set(steps[-1]["rollup"]["W2"])
    assert {"rss", "pss", "uss", "swap"} <= set(steps[-1]["regions"][0]["smaps"])
    assert steps[-1]["cost"]["locked_updates"] > 0


def test_expectations_that_fail_exit_1(tmp_path: Path) -> None:
    """A failed expectation is named with file, line, flavour and what was found, and the exit code is 1."""
    story = tmp_path / "wrong.scn"
    story.write_text("P mmap heap 64K thp=64K\nP write heap\nP expect heap total=17\n")
    result = run(story)
    assert result.exit_code == 1
    failed = f"FAILED  {story}:3: on page-mapcount: expected total=17, found 16"
    assert failed.split() == result.output[result.output.index("FAILED") :].split()[: len(failed.split())]


def test_beside_a_recording() -> None:
    """A real kernel's answers stand beside the simulated ones, and agree."""
    result = run(RECORDED, "--on", f"recording:{ROOT}/recordings/no-page-mapcount.jsonl")
    assert result.exit_code == 0
    assert "794 fields compared in 11 steps: all agree" in result.output


def test_a_known_deviation_is_named_and_is_no_finding() -> None:
    """What is documented is shown as such, and the exit code stays 0."""
    story = ROOT / "scenarios" / "recorded" / "b3_child_second_half.anon2m_pmd.scn"
    result = run(story, "--on", f"recording:{ROOT}/recordings/page-mapcount.jsonl")
    assert result.exit_code == 0
    assert "known: pagemap-pmd-exclusive" in result.output


def test_a_deviation_exits_1(tmp_path: Path) -> None:
    """A recorded answer that the simulator does not give is marked, and the exit code is 1."""
    lines = (ROOT / "recordings" / "page-mapcount.jsonl").read_text().splitlines()
    chosen = [line for line in lines if '"c_3_parent1st","kind":"anon64k"' in line]
    assert chosen
    chosen[4] = chosen[4].replace('"refcount":64', '"refcount":65')
    recording = tmp_path / "r.jsonl"
    recording.write_text("\n".join(chosen) + "\n")
    result = run(RECORDED, "--on", f"recording:{recording}")
    assert "DEVIATES" in result.output
    assert result.exit_code == 1


def test_beside_a_recording_as_json() -> None:
    """`--json` with `--on` gives both answers of every step and the fields that differ."""
    recording = f"recording:{ROOT}/recordings/no-page-mapcount.jsonl"
    (story,) = json.loads(run(RECORDED, "--on", recording, "--json").output)
    assert story["fields_compared"] == 794
    assert story["steps"][3]["real"]["folio"]["large_mapcount"] == 48
    assert story["steps"][3]["simulated"]["folio"]["large_mapcount"] == 48


MISTAKES = [
    ("P mumap heap", '1:3: unknown verb "mumap"'),
    ("P munmap heap", ':1:10: P has no region "heap"'),
    ("P mmap heap 64K\nP munmap haep", 'did you mean "heap"?'),
    ("P mmap heap 64K\nP munmap heap[0:1M]", ':2:10: the range is outside "heap", which has 16 pages'),
    ("P mmap heap 64K\nP munmap heap\nP munmap heap", ":3:10: nothing is mapped there"),
    ("P mmap heap 64K\nP munmap heap[0:32K]\nP write heap", ":3:9: not all of it is mapped"),
    ("P mmap heap 5000", "multiple of 4"),
    ("P fork A\nA exit\nA exit", "A exited at line 2"),
    ("P mmap heap 64K prot=r\nP write heap", ":2:9: the memory may not be written"),
    ("P mmap heap 64K\nP unpin heap", ":2:9: not all of it is pinned"),
    ("P mmap heap", ":1:8: a new region needs a size"),
    ("P mmap heap 2M hugetlb\nP munmap heap[0:4K]", "hugetlb memory is handled in whole folios"),
    ("P mmap heap 64K\nP write heap\nP expect heap truth>5", "is a word"),
    ("P mmap heap 64K\nP write heap\nP expect heap maybe_shared=maybe", 'maybe_shared is never "maybe"'),
    ("P mmap heap 64K\nP write heap\nP expect heap total=yes", ":3:15: total is a number"),
]


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_a_mistake_is_one_clear_message(tmp_path: Path, text: str, message: str) -> None:
    """A mistake is told once, with file, line and column, on standard error alone; the exit code is 2."""
    story = tmp_path / "bad.scn"
    story.write_text(text + "\n")
    result = run(story)
    assert message in result.stderr
    assert str(story) in result.stderr
    assert result.stdout == ""
    assert result.exit_code == 2


def test_files_that_are_no_scenarios(tmp_path: Path) -> None:
    """A directory, a missing file, an empty one, binary garbage and a huge one: a message and exit 2 each."""
    empty, garbage, huge = tmp_path / "empty.scn", tmp_path / "garbage.scn", tmp_path / "huge.scn"
    empty.write_text("")
    garbage.write_bytes(bytes(range(256)) * 4)
    huge.write_text("P read heap\n" * 100_000)
    for path in (tmp_path, tmp_path / "missing.scn", empty, garbage, huge):
        result = run(path)
        assert result.exit_code == 2
        assert str(path) in result.stderr
        assert len(result.stderr.splitlines()) <= 4


@pytest.mark.parametrize(
    "args", [["--flavour", "v7"], ["--bits", "16"], ["--on", "recording"], ["--on", "x:y"], ["--no"]]
)
def test_wrong_options(args: list[str]) -> None:
    """A wrong option is a usage error."""
    assert run(STORY, *args).exit_code == 2


WORDS = st.sampled_from(
    """
    P A B kernel mmap munmap read write fork exec exit mprotect mremap madvise mlock munlock pin unpin
    expect migrate swapout split ksm heap b P.heap heap[0:64K] heap[3p] heap[1p::2p] heap[8p:] b[0:64K]
    64K 4M 2M 1G r rw none dontneed free cold pageout collapse hugepage nohugepage thp=64K thp=2M
    thp=16K,2M small shared file=f shmem=f memfd=m hugetlb to=b to=b[0:64K] offset=4K reserved
    truth=shared rss>=4K uss=0 anon_pages>=0 ; # x
    """.split()  # noqa: SIM905 - words read better than a list of quoted words
)
VALID = st.sampled_from(
    """
    P mmap heap 4M thp=2M|P mmap heap 2M thp=64K|P mmap b 2M shared|P mmap b 64K shmem=f shared thp=64K
    P write heap|P read heap|P write heap[3p]|P fork A|P fork B|A fork B|A exit|B exit|A write heap[0:64K]
    P munmap heap[1p::64p]|A munmap heap[8p:]|P madvise heap pageout|A madvise heap[0:64K] dontneed|P exec
    P madvise heap[0:1M] free|P mlock heap[0:64K]|kernel migrate heap|kernel split heap|P write b|A write b
    P pin heap[3p]|P unpin heap[3p]|P mremap heap[0:64K] to=c|P mprotect heap[0:1M] r|kernel swapout heap
    kernel ksm heap[0:64K]|P madvise heap collapse|P expect heap rss>=0|kernel expect wrong_folios=0
    """.strip()
    .replace("|", "\n")
    .splitlines()
).map(str.strip)


@settings(max_examples=250)
@given(
    st.lists(
        st.one_of(VALID, VALID, VALID, st.lists(WORDS, max_size=6).map(" ".join)), min_size=1, max_size=25
    ),
    st.sampled_from(["64", "32"]),
)
def test_no_input_ends_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str], bits: str
) -> None:
    """Whatever the file says, the command ends with 0, 1 or 2, and no invariant ever breaks."""
    story = tmp_path_factory.getbasetemp() / f"fuzz-{os.getpid()}.scn"
    story.write_text("\n".join(lines))
    result = run(story, "--flavour", "all", "--bits", bits)
    assert result.exit_code in (0, 1, 2)
    assert "BROKEN" not in result.output


def mapcount_process(*args: str, **kwargs: object) -> subprocess.CompletedProcess[str]:
    """`mapcount` in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "mapcount", *args],
        capture_output=True,
        text=True,
        check=False,
        **kwargs,  # type: ignore[call-overload]
    )


def test_help_lists_every_command() -> None:
    """`mapcount --help` names every command without importing any of them."""
    text = mapcount_process("--help").stdout
    assert all(name in text for name in COMMANDS)
    code = """
import sys
from mapcount.cli import mapcount
mapcount(["--help"], standalone_mode=False)
print([name for name in sys.modules if name.startswith(("rich", "mapcount.s", "mapcount.r"))])
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.splitlines()[-1] == "[]"


def test_a_closed_pipe_is_no_traceback() -> None:
    """`mapcount run ... | head -1` ends quietly."""
    command = f"{sys.executable} -m mapcount run {STORY} --step | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    assert done.stdout.startswith("prefork")


def test_output_in_a_pipe_has_no_escapes() -> None:
    """Plain text survives a pipe."""
    assert "\x1b" not in mapcount_process("run", str(STORY)).stdout
