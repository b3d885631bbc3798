"""Being asked to end: an exception, so that what is unfinished is put away by whoever began it."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

ENDING = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""Signals that ask a program to end."""


@contextmanager
def signals_raise() -> Iterator[None]:
    """Signals that ask to end raise, once, so that what is unfinished can be removed in peace.

    Those that somebody ignores or handles already (nohup) are left to them.
    """
    defaults = (signal.SIG_DFL, signal.default_int_handler)
    in_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in ENDING if in_main}
    ours = {number: handler for number, handler in before.items() if handler in defaults}

    def end(number: int, _frame: FrameType | None) -> None:
        for each in ours:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    try:
        for number in ours:
            signal.signal(number, end)
        yield
    finally:
        for number, handler in ours.items():
            signal.signal(number, handler)
