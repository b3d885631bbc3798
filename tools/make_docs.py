"""Writes the parts of the documentation that are generated, so that they cannot drift from the code.

    python tools/make_docs.py            # rewrite what is stale
    python tools/make_docs.py --check    # exit 1, naming what is stale

Whole files are made by gallery.py: docs/gallery. Two things are generated in README.md and docs/*.md:

- what stands between `<!-- generated: NAME -->` and `<!-- end -->`, by the function of that name in one of
  `PART_MODULES`;
- the output shown in fenced blocks marked `console`: each `$ command` is run, and its real output follows.
  A block that leaves lines out, with a line `...`, is not rewritten; tests/docs checks its lines instead.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COLUMNS = "100"
PART_MODULES = ("doc_parts", "exactness_parts", "race_parts", "tutorial_parts")
"""Modules beside this one that make generated parts: each has them in `PARTS`, by name."""
ELLIPSIS = "..."

PART = re.compile(r"(<!-- generated: ([a-z0-9-]+) -->\n).*?(\n?<!-- end -->)", re.DOTALL)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def documents() -> list[Path]:
    """Every document that may have generated parts."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@dataclass(frozen=True, slots=True)
class Shown:
    """One command of a console block, as typed (maybe over several lines), and the output shown."""

    command: str
    output: tuple[str, ...]

    @property
    def elided(self) -> bool:
        """Are lines left out?"""
        return ELLIPSIS in self.output


def commands_of(block: str) -> list[Shown]:
    """The commands of a console block: `$ ` begins one, `> ` continues it, the rest is its output."""
    found: list[tuple[list[str], list[str]]] = []
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(([line[2:]], []))
        elif not found:
            raise ValueError(f"a console block begins with a command, not with {line!r}")
        elif line.startswith("> ") and not found[-1][1]:
            found[-1][0].append(line[2:])
        else:
            found[-1][1].append(line)
    return [Shown("\n".join(typed), tuple(output)) for typed, output in found]


@cache
def outputs(commands: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """What each command prints, run one after the other in a directory with the repository's examples."""
    with tempfile.TemporaryDirectory() as place:
        for name in ("scenarios", "recordings", "captures", "examples"):
            (Path(place) / name).symlink_to(ROOT / name)
        return tuple(_output(command, place) for command in commands)


def _output(command: str, place: str) -> tuple[str, ...]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    env = {"PATH": path, "COLUMNS": COLUMNS, "LANG": "C.UTF-8", "HOME": place}
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=place,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        encoding="utf-8",
        timeout=120,
    )
    return tuple(line.rstrip() for line in done.stdout.rstrip().splitlines())


def console(*commands: str) -> str:
    """A console block of these commands with their real output."""
    shown = zip(commands, outputs(commands), strict=True)
    return _fence([line for command, output in shown for line in (*_typed(command), *output)])


def _typed(command: str) -> Iterator[str]:
    first, *more = command.split("\n")
    yield f"$ {first}"
    yield from (f"> {line}" for line in more)


def _fence(lines: list[str]) -> str:
    return "\n".join(["```console", *lines, "```"])


def refreshed(text: str) -> str:
    """`text` with every generated part and every console block as they are to be today."""
    parts = {name: make for module in PART_MODULES for name, make in import_module(module).PARTS.items()}

    def part(match: re.Match[str]) -> str:
        return f"{match[1]}{parts[match[2]]()}\n{match[3].lstrip()}"

    def block(match: re.Match[str]) -> str:
        shown = commands_of(match[1])
        if any(one.elided for one in shown):
            return match[0]
        return console(*(one.command for one in shown))

    return CONSOLE.sub(block, PART.sub(part, text))


def whole_files() -> dict[Path, str]:
    """Files that are generated as a whole."""
    return {ROOT / "docs" / "gallery" / name: text for name, text in import_module("gallery").files().items()}


def _stale_files() -> Iterator[tuple[Path, str | None]]:
    """Files that are not as they are to be, and as what they are to be: None, not at all."""
    files = whole_files()
    for path, text in files.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            yield path, text
    for folder in {path.parent for path in files}:
        yield from ((path, None) for path in sorted(folder.glob("*")) if path not in files)


def main(arguments: list[str]) -> int:
    """Rewrite stale documents, or with `--check` only name them; 1 if there are any."""
    if arguments not in ([], ["--check"]):
        print("usage: python tools/make_docs.py [--check]", file=sys.stderr)
        return 2
    stale = 0
    for path in documents():
        text = path.read_text(encoding="utf-8")
        fresh = refreshed(text)
        if fresh == text:
            continue
        stale += 1
        name = path.relative_to(ROOT)
        if arguments:
            print(f"{name} is stale at line {_first_difference(text, fresh)}: run python tools/make_docs.py")
        else:
            path.write_text(fresh, encoding="utf-8")
            print(f"wrote {name}")
    for path, whole in _stale_files():
        stale += 1
        name = path.relative_to(ROOT)
        if arguments:
            print(f"{name} is {'stale' if whole is not None else 'of no use'}: run python tools/make_docs.py")
        elif whole is None:
            path.unlink()
            print(f"removed {name}")
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(whole, encoding="utf-8")
            print(f"wrote {name}")
    return 1 if stale and arguments else 0


def _first_difference(old: str, new: str) -> int:
    pairs = enumerate(zip(old.splitlines(), new.splitlines(), strict=False), 1)
    return next((number for number, (a, b) in pairs if a != b), len(old.splitlines()))


sys.path.insert(0, str(Path(__file__).parent))
# Parts use `console`: they must find this very module, whatever it was started as.
sys.modules.setdefault("make_docs", sys.modules[__name__])

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
