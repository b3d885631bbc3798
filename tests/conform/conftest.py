"""The running kernel for live tests, or the reason why there is none."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from mapcount.conform.check import RunningKernel, running_kernel
from mapcount.live.snapshot import CannotHere


@pytest.fixture(scope="module")
def kernel() -> Iterator[RunningKernel]:
    """The running kernel, its folio sizes as they are set."""
    if os.geteuid():
        pytest.skip("page frames are shown to root only")
    try:
        with running_kernel() as (found, _):
            yield found
    except CannotHere as error:
        pytest.skip(str(error))
