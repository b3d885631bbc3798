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


def listed(words: Sequence[str]) -> str:
    """Words in a sentence: `A`, `A and B`, `A, B and C`."""
    *most, last = words
    return f"{', '.join(most)} and {last}" if most else last


def about(kib: int) -> str:
    """KiB in three digits: `0`, `640K`, `45.5M`, `1.21G`, `13T`."""
    amount, units = float(abs(kib)), iter("KMGTPE")
    unit = next(units)
    while amount >= 999.5 and (larger := next(units, None)):
        amount, unit = amount / 1024, larger
    digits = 0 if unit == "K" or amount >= 99.95 else 1 if amount >= 9.995 else 2
    number = f"{amount:.{digits}f}"
    number = number.rstrip("0").rstrip(".") if "." in number else number
    return f"{'-' * (kib < 0)}{number}{unit}" if kib else "0"


def signed_about(kib: int) -> str:
    """A difference in KiB in three digits, with its sign: `+45.5M`, `-640K`, `0`."""
    return f"{'+' * (kib > 0)}{about(kib)}"


def count(number: int) -> str:
    """How many, in at most six characters up to a trillion: `0`, `99,999`, `123k`, `4.56M`."""
    if abs(number) < 100_000:
        return f"{number:,}"
    amount, unit = abs(number) / 1000, "k"
    for larger in "MGT":
        if amount >= 999.5:
            amount, unit = amount / 1000, larger
    digits = 0 if amount >= 99.95 else 1 if amount >= 9.995 else 2
    return f"{'-' * (number < 0)}{amount:.{digits}f}{unit}"


def plural(number: int, one: str, many: str | None = None) -> str:
    """A number, exact whatever its size, and its noun: `1 process`, `123,456 processes`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def shortened(text: str, most: int) -> str:
    """A text of at most so many characters: the end of a longer one is left out, which three dots say."""
    return text if len(text) <= most else text[: most - 3] + "..."
