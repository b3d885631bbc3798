"""Searches that stopped and are taken up again; what is read is checked."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mapcount.check.exploration import CannotExplore, Exploration, Stopped
from mapcount.check.explore import explore
from mapcount.check.saved import SavedError
from mapcount.check.world import World
from mapcount.tracking.flavour import NO_PAGE_MAPCOUNT, TOTAL_MAPPED_PAGES

WORLD = World(NO_PAGE_MAPCOUNT, 3, 2)
MEMORY = 1 << 26


def begun(directory: Path) -> Exploration:
    """A search that stopped after a few layers."""
    found = explore(WORLD, threads=1, memory=MEMORY, most_states=50, resume=directory)
    assert (Stopped.MOST_STATES, directory) == (found.stopped, found.saved)
    return found


def changed(directory: Path, name: str, change: Any) -> None:
    """Change an array of a saved search, as somebody would who knows of the checksums."""
    path, meta_path = directory / f"{name}.npy", directory / "meta.json"
    array = np.load(path)
    np.save(path, change(array))
    meta = json.loads(meta_path.read_text(encoding="utf-8"))
    meta["sha256"][name] = hashlib.sha256(path.read_bytes()).hexdigest()
    meta_path.write_text(json.dumps(meta), encoding="utf-8")


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("reduced", [True, False])
def test_in_parts(tmp_path: Path, threads: int, reduced: bool) -> None:
    """A search that is taken up until it ends finds what one without a pause does, with any threads."""
    whole = explore(WORLD, threads=1, memory=MEMORY, reduce=reduced)
    pauses, most = 0, 1
    while True:
        part = explore(
            WORLD, threads=threads, memory=MEMORY, reduce=reduced, most_states=most, resume=tmp_path / "part"
        )
        if part.exhausted:
            break
        pauses, most = pauses + 1, part.states + 60
    assert pauses >= 3
    assert replace(whole, seconds=0.0) == replace(part, seconds=0.0)
    assert [tmp_path / "part"] == list(tmp_path.iterdir())


def test_memory_then_more(tmp_path: Path) -> None:
    """A search that ran out of memory goes on with more of it, and says so when it does not fit again."""
    some = explore(WORLD, threads=1, memory=1_500, resume=tmp_path / "part")
    assert Stopped.MEMORY == some.stopped
    with pytest.raises(CannotExplore, match="allow more"):
        explore(WORLD, threads=1, memory=100, resume=tmp_path / "part")
    whole = explore(WORLD, threads=1, memory=MEMORY, resume=tmp_path / "part")
    assert explore(WORLD, threads=1, memory=MEMORY).states == whole.states


def test_another_world(tmp_path: Path) -> None:
    """A search of another world is refused, naming where they differ."""
    begun(tmp_path / "part")
    for world, reduced, what in (
        (World(NO_PAGE_MAPCOUNT, 3, 4), True, "pages is 2"),
        (World(TOTAL_MAPPED_PAGES, 3, 2), True, "flavour is"),
        (WORLD, False, "reduced is true"),
    ):
        with pytest.raises(SavedError, match=what):
            explore(world, memory=MEMORY, reduce=reduced, resume=tmp_path / "part")


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("keys", lambda a: a[::-1], "keys out of order"),
        ("keys", lambda a: np.append(a[:-1], np.uint64(1) << np.uint64(63)), "keys of no mappings"),
        ("keys", lambda a: a[:-1], "keys, but bits of"),
        ("keys", lambda a: a.astype(np.int64), "not an array of 64-bit words"),
        ("visited", lambda a: a ^ np.uint64(1 << 62), "a frontier|number of states|no state"),
        ("frontier", lambda a: ~a, "a frontier of states that were not met"),
        ("frontier", lambda a: a * np.uint64(0), "another number of states"),
        ("visited", lambda a: np.array([["x"]], object), "Python objects"),
    ],
)
def test_hostile_arrays(tmp_path: Path, name: str, change: Any, what: str) -> None:
    """Arrays that no search could have left are refused, though their checksums are right."""
    begun(tmp_path / "part")
    changed(tmp_path / "part", name, change)
    with pytest.raises(SavedError, match=what):
        explore(WORLD, memory=MEMORY, resume=tmp_path / "part")


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda m: m["found"].update(layers=[]), "is not what a search writes"),
        (lambda m: m["found"].update(layers=[1, "7"]), "is not what a search writes"),
        (lambda m: m["found"].update(layers=[1, 1 << 70]), "is not what a search writes"),
        (lambda m: m["found"].update(times={"x": 1}), "is not what a search writes"),
        (lambda m: m.pop("found"), "is not what a search writes"),
        (lambda m: m.update(sha256=[]), "damaged"),
        (lambda m: m.update(format="x"), "holds no saved search"),
        (lambda m: m.update(rules="x"), "rules is"),
        (
            lambda m: m["found"].update(times={"total-true": 1}, first={"total-true": [0, 1 << 40, 0, 0, 0]}),
            "first places that are none",
        ),
        (
            lambda m: m["found"].update(times={"total-true": 1}, first={"total-true": [0, 1, 0, -1, -1]}),
            "first places|tells of what cannot be",
        ),
    ],
)
def test_hostile_meta(tmp_path: Path, change: Any, what: str) -> None:
    """A meta.json that no search wrote is refused."""
    begun(tmp_path / "part")
    path = tmp_path / "part" / "meta.json"
    meta = json.loads(path.read_text(encoding="utf-8"))
    change(meta)
    path.write_text(json.dumps(meta), encoding="utf-8")
    with pytest.raises(SavedError, match=what):
        explore(WORLD, memory=MEMORY, resume=tmp_path / "part")


def test_damage(tmp_path: Path) -> None:
    """A byte that changed on disk is noticed; so is a directory of something else, which stays as it is."""
    begun(tmp_path / "part")
    path = tmp_path / "part" / "visited.npy"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    with pytest.raises(SavedError, match="damaged"):
        explore(WORLD, memory=MEMORY, resume=tmp_path / "part")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(FileNotFoundError):
        explore(WORLD, memory=MEMORY, resume=tmp_path / "other")
    assert ["mine.txt"] == [path.name for path in (tmp_path / "other").iterdir()]
