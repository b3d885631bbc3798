"""The schemes by name: those that come with mapcount, and yours, from a Python file."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path

from mapcount.schemes import exact, pages, slots
from mapcount.schemes.scheme import Scheme, SchemeError, Size, scheme_of

MOST_SLOTS = 64
MOST_EVENTS = 1 << 31


def _constant(value: int) -> Size:
    return lambda nr_pages: value


def n_slots(k: int, name: str | None = None, story: str | None = None) -> Scheme:
    """Owner tracking with `k` slots."""
    return Scheme(
        name or f"n-slots:{k}",
        story or f"{k} owner slots and a flag",
        _constant(1 + 2 * k),
        _constant(8 * k),
        slots.add,
        slots.remove,
        slots.maybe_shared,
    )


def two_slots_reset(every: int) -> Scheme:
    """The kernel's two slots, set right by an rmap walk after every so many events of a folio."""
    story = f"two slots, set right by a walk over the page tables every {every} events of the folio"
    return Scheme(
        f"two-slots+reset:{every}",
        story,
        _constant(5),
        _constant(16),
        slots.add,
        slots.remove,
        slots.maybe_shared,
        reset_every=every,
        walked=slots.walked,
    )


def _pages(name: str, story: str, maybe_shared: Callable[..., bool]) -> Scheme:
    return Scheme(
        name, story, pages.words, pages.state_bytes, pages.add, pages.remove, maybe_shared, locked=False
    )


SCHEMES = {
    scheme.name: scheme
    for scheme in (
        n_slots(2, "two-slots", "the kernel's: two owner slots and a flag"),
        n_slots(1, "one-slot", "one owner slot and a flag"),
        _pages("first-page", "before 6.15: guessed from the first page", pages.first_page_maybe_shared),
        _pages("per-page", "shared once any page is mapped twice", pages.any_page_maybe_shared),
        Scheme(
            "exact", "two sums over the mappings' MM ids: never wrong", _constant(2), _constant(16),
            exact.add, exact.remove, exact.maybe_shared,
        ),
    )
}  # fmt: skip
"""The schemes without a number in their name."""

NAMES = (*SCHEMES, "n-slots:K", "two-slots+reset:R", "FILE.py:CLASS")
"""What `--scheme` takes."""


def find(word: str) -> Scheme:
    """The scheme called `word`. Raises SchemeError, naming those there are."""
    if word in SCHEMES:
        return SCHEMES[word]
    if match := re.fullmatch(r"n-slots:([0-9]{1,9})", word):
        if 1 <= int(match[1]) <= MOST_SLOTS:
            return n_slots(int(match[1]))
        raise SchemeError(f"{word}: from 1 to {MOST_SLOTS} slots")
    if match := re.fullmatch(r"two-slots\+reset(?::([0-9]{1,12}))?", word):
        every = int(match[1] or 16)
        if 1 <= every <= MOST_EVENTS:
            return two_slots_reset(every)
        raise SchemeError(f"{word}: a walk after every 1 to {MOST_EVENTS} events")
    path, colon, name = word.rpartition(":")
    if colon and path.endswith(".py"):
        return _from_file(path, name)
    raise SchemeError(f"no scheme {word!r}; there are {', '.join(NAMES)}")


def _from_file(path: str, name: str) -> Scheme:
    """A scheme from a Python file, which is run for it."""
    if not Path(path).is_file():
        raise SchemeError(f"{path}: no such file")
    spec = importlib.util.spec_from_file_location(f"mapcount_scheme_{Path(path).stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SchemeError(f"{path}: {type(error).__name__}: {error}") from None
    try:
        return scheme_of(getattr(module, name), name)
    except AttributeError:
        classes = ", ".join(n for n, value in vars(module).items() if isinstance(value, type)) or "none"
        raise SchemeError(f"{path}: has no class {name!r} (it has {classes})") from None
    except SchemeError as error:
        raise SchemeError(f"{path}: {error}") from None
