"""Two real kernels, booted once each. Only `make test-kernels` runs what is in this folder."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import pytest
from tests.kernels.guests import KERNELS, Answers, boot

from mapcount.conform.vng import NoKernel
from mapcount.live.snapshot import CannotHere

collect_ignore_glob = [] if KERNELS else ["test_*.py"]


@pytest.fixture(scope="session")
def answers_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Answers]:
    """What the kernel of a flavour answers; it is booted when it is first asked for."""

    @cache
    def ask(flavour: str) -> Answers | str:
        try:
            return boot(flavour, tmp_path_factory.mktemp(flavour))
        except (CannotHere, NoKernel, AssertionError) as error:
            return str(error)  # one boot that fails is enough

    def ask_or_fail(flavour: str) -> Answers:
        answers = ask(flavour)
        if isinstance(answers, str):
            pytest.fail(answers, pytrace=False)
        return answers

    return ask_or_fail
