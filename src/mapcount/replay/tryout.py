"""A scheme is tried out before it is believed: on a few thousand events, compiled and not.

Compiled code does not notice an index outside the state, nor a number too large for 64 bits. The same
functions run by Python do. So a scheme of somebody else's is run both ways first, and both must agree.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.random import default_rng

from mapcount.replay.grouping import DOES, SUBTRACTS
from mapcount.replay.synthetic import WORKLOADS, blocks, orders_of
from mapcount.replay.trace import Op, one_entry
from mapcount.schemes.scheme import Scheme, SchemeError

EVENTS = 3_000
FOLIOS = 24


def try_out(scheme: Scheme, functions: tuple[Any, ...]) -> None:
    """Run a scheme on a small workload, by Python and as `functions`.

    Raises SchemeError if it fails, or if the two differ.
    """
    workload, rng = WORKLOADS["prefork"], default_rng(1)
    orders = orders_of(workload, FOLIOS, rng)
    sizes = [scheme.words(1 << int(order)) for order in orders]
    plain, fast = ([np.zeros(size, np.int64) for size in sizes] for _ in range(2))
    ours = (scheme.add, scheme.remove, scheme.maybe_shared)
    totals, done = [0] * FOLIOS, 0
    for _, rows in blocks(workload, orders, rng):
        for folio, mm, op, page, pages in rows.tolist():
            order = int(orders[folio])
            n = 1 if one_entry(op, order, False) else pages
            removes = bool(DOES[Op(op)] & SUBTRACTS)
            totals[folio] += -n if removes else n
            event = (mm, page, pages, n, totals[folio])
            answers = [
                _ask(scheme, which, states[folio], removes, event, 1 << order)
                for which, states in ((ours, plain), (functions, fast))
            ]
            if answers[0] != answers[1] or not np.array_equal(plain[folio], fast[folio]):
                raise SchemeError(f"{scheme.name}: compiled and not compiled, it differs after {op=} {event}")
        done += len(rows)
        if done >= EVENTS:
            return


def _ask(
    scheme: Scheme, functions: tuple[Any, ...], state: Any, removes: bool, event: Any, nr_pages: int
) -> tuple[int, bool]:
    """What one event changes, and the answer after it."""
    add, remove, maybe_shared = functions[:3]
    try:
        with np.errstate(over="raise"):
            change = int((remove if removes else add)(state, *event))
            return change, bool(maybe_shared(state, nr_pages, event[-1]))
    except Exception as error:
        raise SchemeError(f"{scheme.name}: {type(error).__name__}: {error}") from None
