"""A search that stopped, on disk: a directory from which it can be taken up again.

    meta.json      the world, what was found, and a SHA-256 of each of the files beside it
    keys.npy       u64 [row]: every truth that was met, in ascending order
    visited.npy    u64 [row, word]: bits of the states that were met with it
    frontier.npy   u64 [row, word]: those of them that were first met in the last layer

It is there whole or not at all, and is checked when it is read: that it is of the same world and the same
rules, undamaged, and possible. It is believed that the states in it can be reached.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mapcount.check import expand
from mapcount.check.exploration import CannotExplore
from mapcount.check.ledger import Ledger, Place, known
from mapcount.check.rows import bits_of, fill
from mapcount.check.search import Search
from mapcount.check.world import World
from mapcount.replay import rules

FORMAT, VERSION = "mapcount search", 1
ARRAYS = ("keys", "visited", "frontier")
CODE = (rules, expand)
"""The modules that decide what an event does and what a code means."""
MOST_META = 1 << 20
"""Bytes of a meta.json that are read at most."""


class SavedError(ValueError):
    """A saved search that cannot be taken up; the message names the file and what is wrong with it."""


def save(search: Search, directory: Path) -> None:
    """Leave a search, which stands between two layers, in a directory. Raises OSError."""
    new, old = (directory.with_name(f".{directory.name}.{os.getpid()}.{word}") for word in ("new", "old"))
    keys = np.concatenate([shard.keys[: shard.counts[0]] for shard in search.shards])
    order = np.argsort(keys)
    visited = np.concatenate([shard.visited[: shard.counts[0]] for shard in search.shards])[order]
    frontier = np.zeros_like(visited)
    at, rows = search.frontier()
    frontier[np.searchsorted(keys[order], at)] = rows
    try:
        new.mkdir()
        sums = {}
        for name, array in zip(ARRAYS, (keys[order], visited, frontier), strict=True):
            with (new / f"{name}.npy").open("xb") as file:
                np.save(file, array, allow_pickle=False)
                file.flush()
                os.fsync(file.fileno())
            sums[name] = _sha256(new / f"{name}.npy")
        meta = {**_of(search.world, search.rules.reduced), "found": asdict(search.ledger), "sha256": sums}
        (new / "meta.json").write_text(json.dumps(meta, indent=1) + "\n", encoding="utf-8")
        if directory.exists():
            directory.rename(old)
        new.rename(directory)
    finally:
        for rest in (new, old):
            shutil.rmtree(rest, ignore_errors=True)


def take_up(search: Search, directory: Path) -> None:
    """Bring a search that has not begun to where a saved one stopped.

    Raises SavedError, OSError if it cannot be read, CannotExplore if it does not fit into the memory allowed.
    """
    meta = _meta(directory / "meta.json")
    for name, value in _of(search.world, search.rules.reduced).items():
        if meta.get(name) != value:
            said = json.dumps(meta.get(name))[:200]
            raise SavedError(f"{directory / 'meta.json'}: {name} is {said}, here it is {json.dumps(value)}")
    keys, visited, frontier = (_array(directory, name, meta) for name in ARRAYS)
    ledger = _load(meta.get("found"), directory / "meta.json")
    words = search.codes.words
    if keys.ndim != 1 or not visited.shape == frontier.shape == (len(keys), words):
        raise SavedError(f"{directory}: {len(keys)} keys, but bits of {visited.shape} and {frontier.shape}")
    _possible(search, directory, keys, visited, frontier, ledger)
    for shard in search.shards:
        shard.counts[:] = 0
        shard.slots[:] = 0
        shard.visited[:1] = shard.coming[:1] = 0
    rules = search.rules
    whose = (rules.shards, rules.mms, rules.bits)
    if not all(fill(shard, me, *whose, keys, visited, frontier) for me, shard in enumerate(search.shards)):
        raise CannotExplore(f"{directory}: {len(keys):,} rows do not fit into the memory allowed; allow more")
    search.ledger = ledger


def _of(world: World, reduced: bool) -> dict[str, Any]:
    """What a saved search must be of to be the same search."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "rules": hashlib.sha256(b"".join(Path(str(one.__file__)).read_bytes() for one in CODE)).hexdigest(),
        "flavour": world.flavour.name,
        "bits": world.flavour.bits,
        "max_slot_mapcount": world.flavour.max_slot_mapcount,
        "mms": world.mms,
        "pages": world.pages,
        "max_maps": world.max_maps,
        "pmd": world.pmd,
        "reduced": reduced,
    }


def _meta(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        text = file.read(MOST_META + 1)
    try:
        meta = json.loads(text) if len(text) <= MOST_META else None
    except (ValueError, RecursionError):
        meta = None
    if not isinstance(meta, dict) or meta.get("format") != FORMAT:
        raise SavedError(f'{path}: no "format": "{FORMAT}" in it; the directory holds no saved search')
    return meta


def _array(directory: Path, name: str, meta: dict[str, Any]) -> NDArray[np.uint64]:
    path, sums = directory / f"{name}.npy", meta.get("sha256")
    if not isinstance(sums, dict) or sums.get(name) != _sha256(path):
        raise SavedError(f"{path}: damaged, its SHA-256 is not the one in meta.json")
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError) as error:
        raise SavedError(f"{path}: {error}") from None
    if not isinstance(array, np.ndarray) or array.dtype != np.uint64:
        raise SavedError(f"{path}: not an array of 64-bit words")
    return np.ascontiguousarray(array)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _load(data: Any, path: Path) -> Ledger:
    """The ledger of a meta.json. Raises SavedError."""
    try:
        layers, times, first = data["layers"], data["times"], data["first"]
        stands_for, transitions = data["stands_for"], data["transitions"]
        places = {str(what): Place(*place) for what, place in first.items()}
        fine = (
            isinstance(layers, list) and bool(layers)
            and _numbers([*layers, stands_for, transitions, *times.values()])
            and all(_numbers(place) and place.depth < len(layers) for place in places.values())
            and {*times} == {*places} <= known()
        )  # fmt: skip
    except (KeyError, TypeError, AttributeError):
        fine = False
    if not fine:
        raise SavedError(f'{path}: "found" is not what a search writes')
    return Ledger(layers, stands_for, transitions, dict(times), places)


def _numbers(values: Iterable[Any]) -> bool:
    return all(type(n) is int and -1 <= n < 1 << 63 for n in values)


def _possible(
    search: Search, directory: Path, keys: NDArray[np.uint64], visited: NDArray[np.uint64],
    frontier: NDArray[np.uint64], ledger: Ledger,
) -> None:  # fmt: skip
    """Raises SavedError for what no search of this world could have left."""
    rules, most = search.rules, len(search.one.mappings)
    numbers = np.stack([keys >> np.uint64(i * rules.bits) for i in range(rules.mms + 1)])
    over, numbers = numbers[-1], numbers[:-1] & np.uint64((1 << rules.bits) - 1)
    allowed = search.codes.row(np.ones(len(search.codes), np.bool_))
    counts = [bits_of(rows) for rows in (visited, frontier)]
    wrong = {
        "keys out of order": bool((keys[1:] <= keys[:-1]).any()),
        "keys of no mappings": bool((numbers >= most).any() or over.any()),
        "mms out of order": rules.reduced and bool((numbers[1:] < numbers[:-1]).any()),
        "bits of no state": bool((visited & ~allowed).any()),
        "a frontier of states that were not met": bool((frontier & ~visited).any()),
        "another number of states than it says": counts != [sum(ledger.layers), ledger.layers[-1]],
        "first places that are none": not all(
            _place(search, place, keys, visited) for place in ledger.first.values()
        ),
    }
    found = [what for what, is_so in wrong.items() if is_so]
    if found:
        raise SavedError(f"{directory}: {', '.join(found)}")


def _place(search: Search, place: Place, keys: NDArray[np.uint64], visited: NDArray[np.uint64]) -> bool:
    """Is it a state that was met, or an event there is?"""
    at = int(np.searchsorted(keys, np.uint64(max(place.key, 0))))
    if at == len(keys) or int(keys[at]) != place.key or not 0 <= place.code < len(search.codes):
        return False
    if place.event >= 0 and not (place.event < len(search.one.events) and 0 <= place.mm < search.world.mms):
        return False
    return bool(int(visited[at, place.code >> 6]) >> (place.code & 63) & 1)
