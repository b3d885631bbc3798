"""smaps as a table of regions."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapcount.live.smaps import Fields, SmapsParser

OWN = b"".join(Path("/proc/self/smaps").read_bytes().splitlines(True)[:500])
OLD = b"""\
00400000-00452000 r-xp 00000000 08:02 173521      /usr/bin/a program
Size:                328 kB
Rss:                 300 kB
Pss:                 150 kB
VmFlags: rd ex mr mw me dw sd
ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
Size:                  4 kB
Rss:                   0 kB
Pss:                   0 kB
VmFlags: ex
"""
"""Of a kernel with fewer fields."""


def naive(text: str) -> list[tuple[int, int, str, str, set[str], dict[str, int]]]:
    """The same by plain loops over lines."""
    regions: list[tuple[int, int, str, str, set[str], dict[str, int]]] = []
    for line in text.splitlines():
        words = line.split(None, 5)
        if words[0].endswith(":"):
            if words[-1] == "kB":
                regions[-1][5][words[0][:-1]] = int(words[1])
            elif words[0] == "VmFlags:":
                regions[-1][4].update(line.split()[1:])
        else:
            start, stop = (int(word, 16) // 4096 for word in words[0].split("-"))
            name = words[5] if len(words) > 5 else ""
            regions.append((start, stop - start, words[1], name, set(), {}))
    return regions


@pytest.mark.parametrize("raw", [OWN, OLD, b""], ids=["own", "old", "empty"])
@given(size=st.integers(1, 5000))
@settings(max_examples=25)
def test_regions_are_what_plain_loops_find(raw: bytes, size: int) -> None:
    """Every region, field and flag is found, in whatever pieces the file comes."""
    chunks = (raw[at : at + size] for at in range(0, len(raw), size))
    found = [
        (r.start, r.nr_pages, r.perms, r.name, set(r.flags), dict(r.smaps))
        for r in SmapsParser(4096).parse(chunks)
    ]
    assert naive(raw.decode()) == found


def test_a_region_is_counted_in_the_pages_of_the_machine() -> None:
    """Starts and sizes are in pages, whatever size these have."""
    (first, _) = SmapsParser(8192).parse([OLD])
    assert (0x200, 0x29) == (first.start, first.nr_pages)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda raw: raw[30:], "not a line of smaps"),
        (lambda raw: b"garbage\n" + raw, "not a line of smaps: b'garbage'"),
        (lambda raw: raw.replace(b" kB", b" MB"), "a VMA without fields"),
        (lambda raw: raw.replace(b"300 kB", b"3e2 kB"), "invalid literal"),
        (lambda raw: raw[:-20], "not a line of smaps"),
    ],
    ids=["cut", "garbage", "units", "number", "end"],
)
def test_what_is_no_smaps_is_refused(damage: object, message: str) -> None:
    """A file that is not smaps is a ValueError that shows the place."""
    with pytest.raises(ValueError, match=message):
        list(SmapsParser(4096).parse([damage(OLD)]))  # type: ignore[operator]


def test_fields_are_a_mapping() -> None:
    """A region's numbers read like any mapping's, and equal one with the same content."""
    fields = Fields({"Rss": 0, "Pss": 1}, (8, 4))
    assert (8, 0) == (fields["Rss"], fields.get("Swap", 0))
    assert {"Rss": 8, "Pss": 4} == fields
    with pytest.raises(KeyError):
        fields["Swap"]
