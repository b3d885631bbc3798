"""What a real kernel answered after each step of a scenario, read from JSON lines.

The format is described in `recordings/README.md`: one object per step, with the counters of the one folio
under test, control-group charges, events, and each process's smaps and pagemap.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mapcount.tracking.flavour import FLAVOURS, Flavour

Answer = Mapping[str, Any]
"""One step's object."""

NEEDED = ("scenario", "kind", "step", "label", "nr_pages", "folio", "charged_pages", "events", "actors")


class RecordingError(ValueError):
    """A recording that cannot be used; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Every scenario of one recording, by `scenario.kind`, and the flavour of the kernel that answered."""

    path: str
    flavour: Flavour
    answers: Mapping[str, tuple[Answer, ...]]

    def of(self, name: str) -> tuple[Answer, ...]:
        """The steps of the scenario called `name`. Raises RecordingError, naming those there are."""
        try:
            return self.answers[name]
        except KeyError:
            some = ", ".join(list(self.answers)[:5])
            more = f" and {len(self.answers) - 5} more" if len(self.answers) > 5 else ""
            raise RecordingError(
                f"{self.path}: holds no scenario {name!r} (it has {some}{more}); "
                "a scenario is matched by its file's name"
            ) from None


def load_recording(path: str) -> Recording:
    """Read a recording. Raises RecordingError for what is not one, with file and line."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise RecordingError(f"{path}: {reason}") from None
    answers: dict[str, list[Answer]] = {}
    pages_counted = False
    for number, line in enumerate(lines, 1):
        answer = _read(path, number, line)
        steps = answers.setdefault(f"{answer['scenario']}.{answer['kind']}", [])
        if answer["step"] != len(steps):
            raise RecordingError(
                f"{path}:{number}: step {answer['step']!r} where step {len(steps)} comes next"
            )
        steps.append(answer)
        pages_counted |= "nr_pages_mapped" in answer["folio"]
    if not answers:
        raise RecordingError(f"{path}: is empty; a recording has one JSON object per step")
    flavour = FLAVOURS["page-mapcount" if pages_counted else "no-page-mapcount"]
    return Recording(path, flavour, {name: tuple(steps) for name, steps in answers.items()})


def _read(path: str, number: int, line: str) -> Answer:
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        raise RecordingError(f"{path}:{number}: not a JSON object") from None
    if not isinstance(answer, dict):
        raise RecordingError(f"{path}:{number}: not a JSON object")
    missing = [name for name in NEEDED if name not in answer]
    if missing:
        raise RecordingError(f"{path}:{number}: has no {missing[0]!r}")
    well_formed = (
        all(isinstance(answer[name], dict) for name in ("folio", "charged_pages", "events"))
        and isinstance(answer["actors"], list)
        and all(_is_actor(actor) for actor in answer["actors"])
    )
    if not well_formed:
        raise RecordingError(f"{path}:{number}: folio, charged_pages, events or actors has the wrong shape")
    return answer


def _is_actor(actor: object) -> bool:
    return (
        isinstance(actor, dict)
        and isinstance(actor.get("name"), str)
        and isinstance(actor.get("smaps"), dict)
        and isinstance(actor.get("pm"), dict)
    )
