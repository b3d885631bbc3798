"""Two real kernels, booted once each. Only `make test-kernels` runs what is in this folder."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.kernels.guests import KERNELS, Answers, boot

collect_ignore_glob = [] if KERNELS else ["test_*.py"]


@pytest.fixture(scope="session")
def answers_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Answers]:
    """What the kernel of a flavour answers; it is booted when it is first asked for."""
    known: dict[str, Answers] = {}

    def ask(flavour: str) -> Answers:
        if flavour not in known:
            known[flavour] = boot(flavour, tmp_path_factory.mktemp(flavour))
        return known[flavour]

    return ask
