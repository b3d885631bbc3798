"""Words of memory by which threads of compiled code see what the others have done.

Each function is of an array of int64 and an index. What a thread wrote before `store` is seen by one that
`load`s that value. (Numba has such operations for GPUs only. In plain Python, the GIL makes up for them.)
"""

from __future__ import annotations

import os
from typing import Any

from numba import types
from numba.extending import intrinsic, overload

ALIGNMENT = 8
SPINS = 200
"""How often a thread looks before it lets others run: longer than another core takes to answer."""


def load(words: Any, i: Any) -> Any:
    """The word."""
    return words[i]


def store(words: Any, i: Any, value: Any) -> None:
    """Write the word."""
    words[i] = value


def add(words: Any, i: Any, value: Any) -> Any:
    """Add to the word. Returns what it was before."""
    words[i] += value
    return words[i] - value


def let_others_run() -> None:
    """Give the core to another thread that waits for one, if there is any."""
    os.sched_yield()


def _pointer(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    words = context.make_array(signature.args[0])(context, builder, value=arguments[0])
    return builder.gep(words.data, [arguments[1]])


@intrinsic
def _load(_: Any, words: Any, i: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(_pointer(context, builder, signature, arguments), "acquire", ALIGNMENT)

    return types.int64(words, types.int64), generate


@intrinsic
def _store(_: Any, words: Any, i: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature, arguments)
        builder.store_atomic(arguments[2], pointer, "release", ALIGNMENT)
        return context.get_dummy_value()

    return types.void(words, types.int64, types.int64), generate


@intrinsic
def _add(_: Any, words: Any, i: Any, value: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw(
            "add", _pointer(context, builder, signature, arguments), arguments[2], "acq_rel"
        )

    return types.int64(words, types.int64, types.int64), generate


_sched_yield = types.ExternalFunction("sched_yield", types.int32())


overload(load)(lambda words, i: lambda words, i: _load(words, i))  # type: ignore[call-arg]
overload(store)(lambda words, i, value: lambda words, i, value: _store(words, i, value))  # type: ignore[call-arg]
overload(add)(lambda words, i, value: lambda words, i, value: _add(words, i, value))  # type: ignore[call-arg]
overload(let_others_run)(lambda: lambda: _sched_yield())
