"""One step of the search: every event in every state of the last layer, by the engine's own rules.

All states of a row have the same truth, so the same events can happen in them and lead to the same truth:
`L` at a time, they are put into the lanes of `replay.rules.step`. What comes out is compared with the
truth, then becomes a code and a bit in the row it leads to.

Up to symmetry, MM ids mean nothing: the rules only ask whether two are equal. So a row lists its mms' numbers
in ascending order, and MM ids are places in that list. After an event, the mms find their new places and
slots are renamed with them. Mms with equal numbers are told apart by their slots alone, so among them the
owner of slot 0 comes first, then the owner of slot 1.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import numpy as np

from mapcount.check.jit import jit
from mapcount.check.rows import COMING, find, lowest, mix, shard_of, weight, weights_of
from mapcount.replay.grouping import IS_NEW
from mapcount.replay.rules import (
    BY_PTES,
    COUNT0,
    COUNT1,
    DOES,
    ENTIRE,
    LANES_32,
    LANES_EVENT,
    MM,
    NR,
    NR_PAGES,
    OWNER0,
    OWNER1,
    PAGE,
    PAGES,
    SHARED,
    SLOTTED,
    TOTAL,
    WHOLE_NR,
    WRONG,
    L,
    arbitrary,
    step,
)

REFUSED, TOTAL_FALSE, ENTIRE_FALSE, PAGES_FALSE, FREE_SLOT, SAME_SLOT, TOO_LARGE, UNTRUE = range(8)
"""What may be wrong with the outcome of an event, one by one: rows of `faults`."""
FAULTS: Final = 8
TIMES, KEY, CODE, PLACE, ROW = range(5)
"""Columns of `faults`: how often, and of the first the key, the code, the mm's place, and the event's row."""

i32 = np.int32


class Rules(NamedTuple):
    """A world, as far as loops need to know it."""

    mms: int
    pages: int
    most: int
    """The largest count of a code."""
    bits: int
    """Of a key, for each mm."""
    whole_nr: int
    """Pages that a PMD maps; 0: there are none."""
    slotted: int
    any_level: bool
    most_in_slot: int
    pmd_order: int
    reduced: bool
    shards: int


@jit
def locals_of(key: Any, rules: Any, numbers: Any) -> None:
    """The numbers of all mms, from a key."""
    mask = np.uint64((1 << rules.bits) - 1)
    for i in range(rules.mms):
        numbers[i] = i32((key >> np.uint64(i * rules.bits)) & mask)


@jit
def gather(row: Any, decoded: Any, held: Any) -> Any:
    """The slots of all states in a row of bits: columns of `held`. Returns how many.

    The last one's are repeated to the end of its lanes.
    """
    n = 0
    for w in range(len(row)):
        word = row[w]
        while word:
            code = w * 64 + lowest(word)
            word &= word - np.uint64(1)
            held[0, n] = decoded.owner0[code]
            held[1, n] = decoded.count0[code]
            held[2, n] = decoded.owner1[code]
            held[3, n] = decoded.count1[code]
            held[4, n] = decoded.shared[code]
            n += 1
    for k in range(n, -(-n // L) * L):
        for column in range(5):
            held[column, k] = held[column, n - 1]
    return n


@jit
def place(numbers: Any, i: int, to: Any, rules: Any, moved: Any, base: Any) -> Any:
    """The key after mm `i`'s number became `to`, with mms in ascending order of their numbers again.

    `base[o]`: where the codes of what was MM id `o` now begin.
    """
    mms, j = rules.mms, i
    for k in range(mms):
        moved[k] = numbers[k]
        base[k + 1] = k
    while j + 1 < mms and moved[j + 1] < to:
        moved[j] = moved[j + 1]
        base[j + 2] = j
        j += 1
    while j > 0 and moved[j - 1] > to:
        moved[j] = moved[j - 1]
        base[j] = j
        j -= 1
    moved[j] = to
    base[i + 1] = j
    key = np.uint64(0)
    for k in range(mms):
        key |= np.uint64(moved[k]) << np.uint64(k * rules.bits)
        first = base[k + 1]
        while first > 0 and moved[first - 1] == moved[first]:
            first -= 1
        base[k + 1] = first * rules.most
    return key


@jit
def describe(lanes: Any, rules: Any) -> None:
    """Put the folio's shape into all lanes."""
    lanes[NR_PAGES : NR_PAGES + L] = rules.pages
    lanes[WHOLE_NR : WHOLE_NR + L] = rules.whole_nr
    lanes[BY_PTES : BY_PTES + L] = 1
    lanes[SLOTTED : SLOTTED + L] = rules.slotted


@jit
def announce(event: Any, mm: Any, does: Any, page: Any, nr: Any) -> None:
    """Put an event of an mm into all lanes."""
    event[MM : MM + L] = mm
    event[DOES : DOES + L] = does
    event[PAGE : PAGE + L] = page
    event[NR : NR + L] = nr


@jit
def apply(
    event: Any, lanes: Any, held: Any, q: int, total: Any, entire: Any, mapped: Any, rules: Any
) -> None:
    """Let the event happen to `L` states, from the `q`th on: the lanes hold what comes of it."""
    for k in range(L):
        lanes[OWNER0 + k] = held[0, q + k]
        lanes[COUNT0 + k] = held[1, q + k]
        lanes[OWNER1 + k] = held[2, q + k]
        lanes[COUNT1 + k] = held[3, q + k]
        lanes[SHARED + k] = held[4, q + k]
        lanes[TOTAL + k] = total
        lanes[ENTIRE + k] = entire
        lanes[PAGES + k] = mapped
    step(event, lanes, rules.most_in_slot)
    if rules.any_level:
        arbitrary(event, lanes, rules.pmd_order)


@jit
def outcomes(
    held: Any,
    n: int,
    mm: int,
    does: int,
    page: int,
    nr: int,
    total: int,
    entire: int,
    mapped: int,
    rules: Any,
) -> None:
    """Let one event happen to `n` states, whose slots are replaced by what comes of it."""
    lanes, event = np.zeros(LANES_32, np.int32), np.zeros(LANES_EVENT, np.int32)
    describe(lanes, rules)
    announce(event, mm, does, page, nr)
    for q in range(0, n, L):
        apply(event, lanes, held, q, total, entire, mapped, rules)
        for k in range(L):
            held[0, q + k] = lanes[OWNER0 + k]
            held[1, q + k] = lanes[COUNT0 + k]
            held[2, q + k] = lanes[OWNER1 + k]
            held[3, q + k] = lanes[COUNT1 + k]
            held[4, q + k] = lanes[SHARED + k]


@jit
def expand(
    source: Any, begin: int, end: int, target: Any, me: int, rules: Any, one: Any, decoded: Any,
    stop: Any, held: Any, faults: Any, tally: Any,
) -> None:  # fmt: skip
    """Try every event in the states of rows [begin, end) of a layer; add what leads to this shard to it."""
    lanes, event = np.zeros(LANES_32, np.int32), np.zeros(LANES_EVENT, np.int32)
    numbers, moved = np.zeros(rules.mms, np.int32), np.zeros(rules.mms, np.int32)
    base, codes = np.zeros(rules.mms + 1, np.int32), np.zeros(L, np.int64)
    describe(lanes, rules)
    for i in range(rules.mms):
        base[i + 1] = i * rules.most
    for at in range(begin, end):
        if stop[0]:
            return
        row = source.active[at]
        key = source.keys[row]
        locals_of(key, rules, numbers)
        all_weights = weights_of(key, rules.mms, rules.bits)
        total, entire, mapped = i32(0), i32(0), i32(0)
        for i in range(rules.mms):
            total += one.entries[numbers[i]]
            entire += one.pmds[numbers[i]]
            mapped += one.mapped_pages[numbers[i]]
        n = -1
        for i in range(rules.mms):
            mine = numbers[i]
            # Of mms with equal numbers, two may own slots and come first. Any others are as good as a third.
            if rules.reduced and i > 2 and numbers[i - 3] == mine:
                continue
            weights = all_weights - weight(mine)
            for e in range(one.first[mine], one.first[mine + 1]):
                if one.does[e] & IS_NEW and total:
                    continue
                to = one.to[e]
                if shard_of(weights + weight(to), rules.shards) != np.uint64(me):
                    continue
                if n < 0:
                    n = gather(source.frontier[row], decoded, held)
                leads = key ^ (np.uint64(mine ^ to) << np.uint64(i * rules.bits))
                if rules.reduced:
                    leads = place(numbers, i, to, rules, moved, base)
                there = find(target, leads, mix(leads), True)
                if there < 0:
                    stop[0] = 1
                    return
                tally[0] += n
                total_then = i32(total + one.entries[to] - one.entries[mine])
                whole_then = i32(mapped + one.mapped_pages[to] - one.mapped_pages[mine])
                if not rules.any_level:
                    whole_then = i32(entire + one.pmds[to] - one.pmds[mine])
                announce(event, i + 1, one.does[e], one.page[e], one.nr[e])
                for q in range(0, n, L):
                    apply(event, lanes, held, q, total, entire, mapped, rules)
                    many = min(L, n - q)
                    if encode(lanes, rules, total_then, whole_then, base, many, codes):
                        note(lanes, rules, total_then, whole_then, many, held, q, key, i, e, codes, faults)
                    add(target, there, codes, many)


@jit
def encode(lanes: Any, rules: Any, total: Any, whole: Any, base: Any, n: int, codes: Any) -> Any:
    """The codes of `n` lanes after their event, -1 for what has none. Returns whether there are such."""
    per_slot, most, mms = np.int64(1 + rules.mms * rules.most), i32(rules.most), i32(rules.mms)
    at = PAGES if rules.any_level else ENTIRE
    odd = False
    for k in range(L):
        owner0, owner1 = lanes[OWNER0 + k], lanes[OWNER1 + k]
        count0, count1 = lanes[COUNT0 + k], lanes[COUNT1 + k]
        wrong = (lanes[WRONG + k] != 0) | (lanes[TOTAL + k] != total) | (lanes[at + k] != whole)
        wrong |= (owner0 < 0) | (owner0 > mms) | (owner1 < 0) | (owner1 > mms)
        wrong |= ((owner0 == 0) != (count0 == 0)) | ((owner1 == 0) != (count1 == 0))
        wrong |= (count0 < 0) | (count1 < 0) | (count0 > most) | (count1 > most)
        wrong |= (owner0 == owner1) & (owner0 != 0)
        codes[k] = -1 if wrong else 0
        odd |= wrong & (k < n)
    for k in range(n):
        if odd and codes[k] < 0:
            continue
        owner0, owner1 = lanes[OWNER0 + k], lanes[OWNER1 + k]
        base0, base1 = base[owner0], base[owner1]
        # Owners that are mms of equal numbers: the owner of slot 1 is the second of them.
        second = most if (base0 == base1) & (owner0 != 0) & (owner1 != 0) else i32(0)
        said0, said1 = i32(base0 + lanes[COUNT0 + k]), i32(base1 + lanes[COUNT1 + k] + second)
        codes[k] = 2 * (said0 * per_slot + said1) + lanes[SHARED + k]
    return odd


@jit
def add(target: Any, row: int, codes: Any, n: int) -> None:
    """Add the states of these codes to a row."""
    visited, coming = target.visited[row], target.coming[row]
    fresh = False
    for k in range(n):
        if codes[k] < 0:
            continue
        w, bit = np.uint64(codes[k]) >> np.uint64(6), np.uint64(1) << (np.uint64(codes[k]) & np.uint64(63))
        if not visited[w] & bit:
            if not fresh and not has_any(coming):
                target.queue[target.counts[COMING]] = row
                target.counts[COMING] += 1
            fresh = True
            visited[w] |= bit
            coming[w] |= bit


@jit
def has_any(row: Any) -> Any:
    """Is any bit set?"""
    found = np.uint64(0)
    for word in row:
        found |= word
    return found != 0


@jit
def note(
    lanes: Any, rules: Any, total: Any, whole: Any, n: int, held: Any, q: int, key: Any, i: int, e: int,
    codes: Any, faults: Any,
) -> None:  # fmt: skip
    """Count what was wrong with outcomes, and keep where it was the first time by key, code, and event."""
    most, mms = rules.most, rules.mms
    at = PAGES if rules.any_level else ENTIRE
    for k in range(n):
        if codes[k] >= 0:
            continue
        owner0, owner1 = lanes[OWNER0 + k], lanes[OWNER1 + k]
        count0, count1 = lanes[COUNT0 + k], lanes[COUNT1 + k]
        strange = owner0 < 0 or owner0 > mms or owner1 < 0 or owner1 > mms or count0 < 0 or count1 < 0
        kinds = (
            (REFUSED, lanes[WRONG + k] != 0),
            (TOTAL_FALSE, lanes[TOTAL + k] != total),
            (ENTIRE_FALSE, not rules.any_level and lanes[at + k] != whole),
            (PAGES_FALSE, rules.any_level and lanes[at + k] != whole),
            (FREE_SLOT, strange or (owner0 == 0) != (count0 == 0) or (owner1 == 0) != (count1 == 0)),
            (SAME_SLOT, owner0 == owner1 and owner0 != 0),
            (TOO_LARGE, count0 > rules.most_in_slot or count1 > rules.most_in_slot),
            (UNTRUE, count0 > most or count1 > most),
        )
        code = code_of(held, q + k, rules)
        for fault, broken in kinds:
            if broken:
                faults[fault, TIMES] += 1
                keep(faults[fault], np.int64(key), code, i, e)


@jit
def code_of(held: Any, k: int, rules: Any) -> Any:
    """The code of a state that was gathered."""
    said0 = (held[0, k] - 1) * rules.most + held[1, k] if held[0, k] else 0
    said1 = (held[2, k] - 1) * rules.most + held[3, k] if held[2, k] else 0
    return np.int64(2 * (said0 * (1 + rules.mms * rules.most) + said1) + held[4, k])


@jit
def keep(fault: Any, key: Any, code: Any, i: int, e: int) -> None:
    """Keep this place if none was kept or this one comes first."""
    if fault[KEY] > key or fault[KEY] < 0 or (fault[KEY] == key and fault[CODE] > code):
        fault[KEY], fault[CODE], fault[PLACE], fault[ROW] = key, code, i, e
    elif fault[KEY] == key and fault[CODE] == code and (fault[PLACE], fault[ROW]) > (i, e):
        fault[PLACE], fault[ROW] = i, e
