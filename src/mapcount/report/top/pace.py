"""How often something may be read, so that reading takes no more than a share of one core."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

WINDOW = 60.0
"""Seconds over which the share of a core that is shown is measured."""


@dataclass(slots=True)
class Pace:
    """Something done again and again: every `interval` seconds, and less often if it costs much.

    All times are seconds of one clock that only goes forward.
    """

    interval: float
    share: float
    """The most CPU time it may take, in seconds for each second."""
    due: float = 0.0

    def done(self, began: float, cost: float) -> None:
        """It was begun at `began` and took `cost` seconds of CPU time."""
        self.due = began + max(self.interval, cost / self.share)

    def wait(self, now: float) -> float:
        """Seconds until it may be done again; 0: now."""
        return max(0.0, self.due - now)


class Meter:
    """What share of one core this program takes, of late."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, float]] = deque()

    def note(self, now: float, cpu: float) -> None:
        """At `now`, the program has taken `cpu` seconds of CPU time in all."""
        self._seen.append((now, cpu))
        while len(self._seen) > 2 and self._seen[1][0] <= now - WINDOW:
            self._seen.popleft()

    def share(self) -> float | None:
        """Of one core, where 1 is all of it; None until enough was noted."""
        if len(self._seen) < 2:
            return None
        (begin, before), (end, after) = self._seen[0], self._seen[-1]
        return (after - before) / (end - begin) if end > begin else None
