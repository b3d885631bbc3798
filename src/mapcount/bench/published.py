"""Figures that the authors of owner tracking published: how run times changed against the kernel before.

From the first version of the patch series: Intel Xeon 4210R, 1 GiB per benchmark, large folios mapped by
PTEs. They were measured on another machine and another kernel: they say what to expect, not what is here.
"""

from __future__ import annotations

from collections.abc import Mapping

from mapcount.bench.story import Form

SOURCE = "patch series v1, Xeon 4210R, 1 GiB"
_SIZES = (16, 32, 64, 128, 256, 512, 1024, 2048)

NO_PAGE_MAPCOUNT: Mapping[str, Mapping[int, int]] = {
    "munmap": dict(zip(_SIZES, (-8, -9, -16, -17, -23, -26, -29, -31), strict=True)),
    "fork": dict(zip(_SIZES, (-9, -12, -15, -15, -16, -16, -17, -21), strict=True)),
}
"""Story -> folio size in KiB -> percent, with CONFIG_NO_PAGE_MAPCOUNT."""

TRACKING_ALONE: Mapping[str, Mapping[int, int]] = {
    "munmap": dict(zip(_SIZES, (2, 3, 4, 3, 1, 1, 0, 0), strict=True)),
    "fork": dict(zip(_SIZES, (4, 1, 0, 0, 0, 0, 0, -1), strict=True)),
}
"""The same with owner tracking on top of the per-page counts."""

REUSE_AGAINST_COPY = (-66, -64)
"""Percent: writing again to memory whose other owner has exited, now that it is reused and not copied."""


def change(story: str, form: Form, figures: Mapping[str, Mapping[int, int]] = NO_PAGE_MAPCOUNT) -> int | None:
    """Percent by which a story's run time changed, where that was published."""
    return None if form.by_pmd else figures.get(story, {}).get(form.kib)
