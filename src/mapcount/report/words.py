"""Sizes and names as people read them."""

from __future__ import annotations

from collections.abc import Collection, Sequence


def size(kib: int) -> str:
    """KiB in the largest unit that loses nothing to the second decimal: `0`, `64K`, `1.5M`, `16G`."""
    for unit, factor in (("G", 1 << 20), ("M", 1 << 10)):
        if abs(kib) >= factor and kib * 4 % factor == 0:
            return f"{kib / factor:g}{unit}"
    return f"{kib}K" if kib else "0"


def signed(kib: int) -> str:
    """A difference in KiB, with its sign: `+64K`, `-1.5M`."""
    return f"{'+' if kib > 0 else '-' if kib < 0 else ''}{size(abs(kib))}"


def share(part: float) -> str:
    """A part of 1 in per cent, so that only nothing looks like nothing, and only all like all."""
    if part in (0, 1):
        return "100 %" if part else "0"
    percent = 100 * part
    return f"{percent:.2f} %" if 0.005 <= percent < 99.995 else ("<0.01 %" if part < 0.5 else ">99.99 %")


def flavours_word(names: Sequence[str], all_of: Collection[object]) -> str:
    """Flavours in few words: `both kernels`, `all 4 kernels`, or their names."""
    if len(names) == len(all_of) > 1:
        return "both kernels" if len(names) == 2 else f"all {len(names)} kernels"
    return ", ".join(names)
