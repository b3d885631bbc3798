"""Writes settings for somebody else, and puts back what was there when that process ends in whatever way.

Runs as a process of its own, `python -I -S thp_guard.py`, so that settings are put back even if who wanted
them gets SIGKILL. Standard library only, so that starting it is quick. It reads lines: each is a JSON object
of path to value to write, and is answered by a line: `null`, or what went wrong, in JSON. End of input, or an
empty line, means: put back, and end.
"""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

STOPPING = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
"""What usually ends a process early; SIGKILL aside, which nobody can hold up."""


def chosen(path: Path) -> str:
    """The value of a setting: the one in brackets (`always [madvise] never`), or the only word there is.

    Raises OSError where it cannot be read, ValueError where nothing is chosen.
    """
    text = path.read_text()
    found = re.search(r"\[(\w+)\]", text) or re.fullmatch(r"\s*(\w+)\s*", text)
    if found is None:
        raise ValueError(f"no value in brackets in {text!r}")
    return found[1]


def put_back(before: Mapping[Path, str]) -> None:
    """Write the settings that are not what they were, the last one written first.

    Raises OSError for those that could not be written, after having tried all.
    """
    failed: list[str] = []
    for path, value in reversed([*before.items()]):
        try:
            if chosen(path) != value:
                path.write_text(value)
        except (OSError, ValueError) as error:
            failed.append(f"could not put back {value!r} in {path}: {reason(error)}")
    if failed:
        raise OSError("; ".join(failed))


def write(wanted: Mapping[str, str], before: dict[Path, str]) -> str | None:
    """Write settings; note in `before` what was there first. Return what went wrong."""
    for name, value in wanted.items():
        path = Path(name)
        try:
            before.setdefault(path, chosen(path))
            path.write_text(value)
        except (OSError, ValueError) as error:
            return f"{path}: {reason(error)}"
    return None


def reason(error: OSError | ValueError) -> str:
    """Why, without the path."""
    return str(error.strerror) if isinstance(error, OSError) else str(error)


def main() -> None:
    """Be the guard."""
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)
    before: dict[Path, str] = {}
    try:
        while line := sys.stdin.readline().strip():
            answer = write(json.loads(line), before)
            print(json.dumps(answer), flush=True)
    except BrokenPipeError:
        pass  # nobody is left to be answered
    finally:
        try:
            put_back(before)
        except OSError as error:
            sys.exit(f"mapcount: {error}")


if __name__ == "__main__":
    main()
