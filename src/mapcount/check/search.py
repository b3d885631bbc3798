"""The search itself: shards, threads and layers. What is found is written down in a `Ledger`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from mapcount.check.expand import FAULTS, Rules, expand
from mapcount.check.exploration import CannotExplore
from mapcount.check.ledger import Ledger, clear
from mapcount.check.one_mm import OneMm
from mapcount.check.rows import COMING, FULL, Shard, bytes_per_row, find, mix, new_shard, shard_of, weights_of
from mapcount.check.settle import KINDS, NEW_STATES, STANDS_FOR, settle, take_back
from mapcount.check.slot_codes import SlotCodes
from mapcount.check.world import World
from mapcount.replay.rules import L

MOST_ROWS = (1 << 31) - 2
MOST_CODES = 1 << 24
POLL = 0.1
"""Seconds between looks at whether somebody interrupts."""


class MemoryUsedUp(RuntimeError):
    """A layer did not fit into the memory allowed. What was met of it is forgotten again."""


class Search:
    """A breadth-first search of a world, by layers. To be closed, or used by `with`.

    What grows takes no more than `memory` bytes. Raises CannotExplore for worlds too large to begin.
    """

    def __init__(self, world: World, *, threads: int, memory: int, reduced: bool) -> None:
        self.world = world
        self.one = OneMm.of(world, mirrored=reduced)
        self.rules = _rules(world, self.one, reduced, threads)
        self.codes = SlotCodes(world.mms, self.rules.most)
        if len(self.codes) > MOST_CODES:
            raise CannotExplore(f"two slots can say {len(self.codes):,} things of {world}: take fewer pages")
        self.decoded, self.masks = self.codes.decoded(), self.codes.masks()
        each = memory // bytes_per_row(self.codes.words) // threads
        rows = min(_truths(world, self.one, reduced), each, MOST_ROWS)
        self.shards = [new_shard(max(rows, 1), self.codes.words) for _ in range(threads)]
        self.ledger = Ledger()
        width = -(-len(self.codes) // L) * L
        self._held = [np.zeros((5, width), np.int32) for _ in range(threads)]
        self._faults = [_none(FAULTS, 5) for _ in range(threads)]
        self._found = [_none(KINDS, 3) for _ in range(threads)]
        self._sums = [np.zeros(2, np.int64) for _ in range(threads)]
        self._tried = [np.zeros(1, np.int64) for _ in range(threads)]
        self._stop = np.zeros(1, np.int64)
        self.cpu = [0.0] * threads
        """Seconds of CPU time that each thread took."""
        self._pool = ThreadPoolExecutor(threads)
        self._begin()

    def __enter__(self) -> Search:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the threads go."""
        self._pool.shutdown()

    def _begin(self) -> None:
        shard, hashed = self._home(0)
        row = find(shard, np.uint64(0), hashed, True)
        shard.visited[row, 0] = shard.coming[row, 0] = 1
        shard.queue[0] = row
        shard.counts[COMING] = 1

    def settle(self) -> int:
        """Judge and count the states of the layer that was met last. Returns how many there are.

        Raises KeyboardInterrupt, when that is done.
        """
        interrupted = False
        try:
            self._each(self._settle)
        except KeyboardInterrupt:
            interrupted = True
        layer = sum(int(sums[NEW_STATES]) for sums in self._sums)
        stands_for = sum(int(sums[STANDS_FOR]) for sums in self._sums) if self.rules.reduced else layer
        if layer:
            self.ledger.layer(layer, stands_for)
        self.ledger.judged(self._found)
        for sums in self._sums:
            sums[:] = 0
        if interrupted:
            raise KeyboardInterrupt
        return layer

    def expand(self) -> None:
        """Try every event in every state of the last layer.

        Raises MemoryUsedUp or KeyboardInterrupt; then the layer is as if it had never been begun.
        """
        self._stop[0] = 0
        self._actives = [int(shard.counts[COMING]) for shard in self.shards]
        for shard in self.shards:
            shard.counts[COMING] = 0
        try:
            self._each(self._expand)
        except KeyboardInterrupt:
            self._undo()
            raise
        if any(shard.counts[FULL] for shard in self.shards):
            self._undo()
            raise MemoryUsedUp
        self.ledger.tried(sum(int(tried[0]) for tried in self._tried))
        self.ledger.blamed(self._faults)
        for tried in self._tried:
            tried[0] = 0

    def _undo(self) -> None:
        for me, shard in enumerate(self.shards):
            take_back(shard)
            self._tried[me][0] = 0
            clear(self._faults[me])
        for shard, active in zip(self.shards, self._actives, strict=True):
            shard.counts[FULL] = 0
            shard.counts[COMING] = active

    def _settle(self, me: int) -> None:
        settle(
            self.shards[me], self.rules, self.one.table, self.decoded, self.masks, self._found[me],
            self._sums[me],
        )  # fmt: skip

    def _expand(self, me: int) -> None:
        for source, active in zip(self.shards, self._actives, strict=True):
            expand(
                source, 0, active, self.shards[me], me, self.rules, self.one.table, self.decoded,
                self._stop, self._held[me], self._faults[me], self._tried[me],
            )  # fmt: skip

    def _each(self, work: Callable[[int], None]) -> None:
        """Let each thread do its part. An interrupt stops them all first."""

        def timed(me: int) -> None:
            start = time.thread_time()
            work(me)
            self.cpu[me] += time.thread_time() - start

        parts = [self._pool.submit(timed, me) for me in range(len(self.shards))]
        try:
            while wait(parts, timeout=POLL).not_done:
                pass
        except KeyboardInterrupt:
            self._stop[0] = 1
            wait(parts)
            raise
        for part in parts:
            part.result()

    def _home(self, key: int) -> tuple[Shard, np.uint64]:
        """The shard of a key, and the key's hash."""
        word, rules = np.uint64(key), self.rules
        weights = np.uint64(weights_of(word, rules.mms, rules.bits))
        return self.shards[int(shard_of(weights, rules.shards))], np.uint64(mix(word))

    def row(self, key: int) -> NDArray[np.uint64] | None:
        """The states that were met with this truth, if any were."""
        shard, hashed = self._home(key)
        row = int(find(shard, np.uint64(key), hashed, False))
        return None if row < 0 else shard.visited[row]

    def frontier(self) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """(keys, rows of bits) of the last layer, copied, keys in ascending order."""
        keys, bits = [], []
        for shard in self.shards:
            rows = shard.active[: shard.counts[COMING]]
            keys.append(shard.keys[rows])
            bits.append(shard.frontier[rows])
        order = np.argsort(every := np.concatenate(keys))
        return every[order], np.concatenate(bits)[order]


def _rules(world: World, one: OneMm, reduced: bool, threads: int) -> Rules:
    kernel = world.kernel
    most = min(int(one.table.entries.max()), kernel.max_slot_mapcount) if kernel.owner_slots else 0
    bits = max(1, (len(one.mappings) - 1).bit_length())
    if bits * world.mms > 63:
        raise CannotExplore(
            f"there are more than 2^63 ways to map the folio: {world}; take fewer mms or pages"
        )
    return Rules(
        world.mms, world.pages, most, bits, world.pages if world.pmd else 0, -1 if kernel.owner_slots else 0,
        kernel.any_level, min(kernel.max_slot_mapcount, 2**31 - 1), kernel.pmd_order, reduced, threads,
    )  # fmt: skip


def _truths(world: World, one: OneMm, reduced: bool) -> int:
    """How many rows there can be."""
    n = len(one.mappings)
    return math.comb(n + world.mms - 1, world.mms) if reduced else n**world.mms


def _none(kinds: int, columns: int) -> NDArray[np.int64]:
    """Counts of nothing, with no first place."""
    found = np.zeros((kinds, columns), np.int64)
    clear(found)
    return found
