"""The generated parts of docs/tutorial.md: the scheme that it builds, as it stands in examples/tutorial."""

from __future__ import annotations

from collections.abc import Callable

from make_docs import ROOT

PARTS: dict[str, Callable[[], str]] = {}


def _part(make: Callable[[], str]) -> Callable[[], str]:
    PARTS[make.__name__.replace("_", "-")] = make
    return make


def _shown(name: str) -> str:
    text = (ROOT / "examples" / "tutorial" / f"{name}.py").read_text(encoding="utf-8")
    return f"```python\n{text.rstrip()}\n```"


@_part
def id_sum() -> str:
    """The first try."""
    return _shown("id_sum")


@_part
def id_sums() -> str:
    """The scheme mended."""
    return _shown("id_sums")
