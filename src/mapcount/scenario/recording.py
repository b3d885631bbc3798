"""What a real kernel answered after each step of a scenario, read from and written as JSON lines.

The formats are described in `recordings/README.md`: one object per step. Format 1 watches the one folio under
test, with control-group charges and events; format 2 every region of every process.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mapcount.scenario.syntax import Scenario, Step
from mapcount.tracking.flavour import FLAVOURS, Flavour

Answer = Mapping[str, Any]
"""One step's object."""

NEEDED = {
    1: ("scenario", "kind", "step", "label", "nr_pages", "folio", "charged_pages", "events", "actors"),
    2: ("scenario", "kernel", "flavour", "step", "text", "read", "errors", "processes"),
}
"""What each object of a format must have."""


class RecordingError(ValueError):
    """A recording that cannot be used; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Every scenario of one recording by its name, and the flavour of the kernel that answered."""

    path: str
    flavour: Flavour
    answers: Mapping[str, tuple[Answer, ...]]
    format: int = 1
    kernel: str = field(default="", compare=False)
    """As `uname -r` says; nothing in format 1."""

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

    def lines(self) -> str:
        """As the text of a file."""
        return "".join(f"{json.dumps(answer)}\n" for steps in self.answers.values() for answer in steps)


def recorded_steps(scenario: Scenario, version: int) -> Sequence[Step]:
    """The steps that a recording of that format has an object for: in format 2, where something happens."""
    if version == 1:
        return scenario.steps
    return [step for step in scenario.steps if any(action.verb != "expect" for action in step.actions)]


def load_recording(path: str) -> Recording:
    """Read a recording. Raises RecordingError for what is not one, with file and line."""
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise RecordingError(f"{path}: {reason}") from None
    answers: dict[str, list[Answer]] = {}
    first: Answer | None = None
    for number, line in enumerate(lines, 1):
        place = f"{path}:{number}"
        answer = _read(place, line)
        first = first or answer
        if any(answer.get(key) != first.get(key) for key in ("format", "flavour", "kernel")):
            raise RecordingError(
                f"{place}: another format or kernel than in line 1; one file is of one kernel"
            )
        steps = answers.setdefault(_name(answer), [])
        if answer["step"] != len(steps):
            raise RecordingError(f"{place}: step {answer['step']!r} where step {len(steps)} comes next")
        steps.append(answer)
    if first is None:
        raise RecordingError(f"{path}: is empty; a recording has one JSON object per step")
    named = {name: tuple(steps) for name, steps in answers.items()}
    return Recording(
        path, _flavour(named, first), named, first.get("format", 1), str(first.get("kernel", ""))
    )


def _name(answer: Answer) -> str:
    return str(answer["scenario"]) if answer.get("format") == 2 else f"{answer['scenario']}.{answer['kind']}"


def _flavour(answers: Mapping[str, Sequence[Answer]], first: Answer) -> Flavour:
    """Format 2 says it; in format 1 it shows in what is counted."""
    if first.get("format") == 2:
        return FLAVOURS[first["flavour"]]
    counted = any("nr_pages_mapped" in answer["folio"] for steps in answers.values() for answer in steps)
    return FLAVOURS["page-mapcount" if counted else "no-page-mapcount"]


def _read(place: str, line: str) -> Answer:
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        raise RecordingError(f"{place}: not a JSON object") from None
    if not isinstance(answer, dict):
        raise RecordingError(f"{place}: not a JSON object")
    version = answer.get("format", 1)
    if version not in (1, 2):
        raise RecordingError(f"{place}: format {version!r}; this program reads formats 1 and 2")
    missing = [name for name in NEEDED[version] if name not in answer]
    if missing:
        raise RecordingError(f"{place}: has no {missing[0]!r}")
    if version == 1 and not _is_one_folio(answer):
        raise RecordingError(f"{place}: folio, charged_pages, events or actors has the wrong shape")
    if version == 2 and not _is_all_regions(answer):
        raise RecordingError(f"{place}: flavour, read, errors or processes has the wrong shape")
    return answer


def _is_one_folio(answer: Answer) -> bool:
    return (
        all(isinstance(answer[name], dict) for name in ("folio", "charged_pages", "events"))
        and isinstance(answer["actors"], list)
        and all(_is_named(actor, smaps=dict, pm=dict) for actor in answer["actors"])
    )


def _is_all_regions(answer: Answer) -> bool:
    return (
        isinstance(answer["scenario"], str)
        and isinstance(answer["flavour"], str)
        and answer["flavour"] in FLAVOURS
        and isinstance(answer["read"], list)
        and isinstance(answer["errors"], list)
        and isinstance(answer["processes"], list)
        and all(
            _is_named(process, regions=list)
            and all(
                _is_named(region, smaps=dict, folios=list)
                and all(isinstance(folio, dict) for folio in region["folios"])
                for region in process["regions"]
            )
            for process in answer["processes"]
        )
    )


def _is_named(thing: object, **parts: type) -> bool:
    return (
        isinstance(thing, dict)
        and isinstance(thing.get("name"), str)
        and all(isinstance(thing.get(part), shape) for part, shape in parts.items())
    )
