"""Text into a `Scenario`, or a `ScenarioError` at the first mistake.

    ACTOR VERB ARGUMENTS [; ACTOR VERB ARGUMENTS ...]      # comment

Words are separated by blanks, actions by `;`, and a word that begins with `#` begins a comment.
A line's words are read in `words`, one action's in `actions`; here they become steps, and it is checked what
needs no simulation: who is alive, line by line. Whether a region exists, how large it is and what the kernel
makes of it shows only when the scenario runs.
"""

from __future__ import annotations

import os
from pathlib import PurePath

from mapcount.scenario.actions import read_action, split_actions
from mapcount.scenario.syntax import Action, Scenario, ScenarioError, Step
from mapcount.scenario.verbs import VERBS
from mapcount.scenario.words import Line, Word, nearest, some

MAX_BYTES = 1 << 20
"""The largest file that is read."""

MAX_STEPS = 10_000
"""The longest scenario, in steps."""


def load(path: str | os.PathLike[str]) -> Scenario:
    """The scenario in a file. Raises ScenarioError, whatever is wrong with the file."""
    name = os.fspath(path)
    try:
        with open(name, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise ScenarioError("no such file", name) from None
    except IsADirectoryError:
        raise ScenarioError("is a directory, not a scenario file", name) from None
    except OSError as error:
        raise ScenarioError(f"cannot be read: {error.strerror or error}", name) from None
    except ValueError:
        raise ScenarioError("no file can have this name", name) from None
    if len(data) > MAX_BYTES:
        raise ScenarioError("larger than 1 MiB, the most a scenario may be", name)
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        raise _not_utf8(name, data, error.start) from None
    return parse(text, name)


def _not_utf8(path: str, data: bytes, offset: int) -> ScenarioError:
    start = data.rfind(b"\n", 0, offset) + 1
    stop = data.find(b"\n", offset)
    source_line = data[start : len(data) if stop < 0 else stop].decode(errors="backslashreplace")
    line, column = data.count(b"\n", 0, offset) + 1, len(data[start:offset].decode()) + 1
    message = f"not UTF-8 text: byte 0x{data[offset]:02x} at offset {offset}, in line {line}"
    return ScenarioError(message, path, line, column, len(r"\xff"), source_line, "save the file as UTF-8")


def parse(text: str, path: str = "<string>") -> Scenario:
    """The scenario that `text` spells; `path` is only for messages. Raises ScenarioError."""
    source = tuple(line.removesuffix("\r") for line in text.removeprefix("\ufeff").split("\n"))
    title: list[str] = []
    steps: list[Step] = []
    title_over = False
    alive = Alive()
    for number, source_line in enumerate(source, 1):
        line = Line(path, number, source_line)
        words, comment = line.read()
        title_over |= bool(words) or (bool(title) and comment is None)
        if comment is not None and not title_over:
            title.append(comment)
        if not words:
            continue
        if len(steps) == MAX_STEPS:
            raise line.error(words[0], f"more than {MAX_STEPS} steps, the most a scenario may have")
        actions = []
        for action_words in split_actions(line, words):
            actions.append(read_action(line, action_words))
            alive.follow(line, action_words, actions[-1])
        written = source_line[words[0].column - 1 : words[-1].end - 1]
        steps.append(Step(tuple(actions), number, written, comment or ""))
    if not steps:
        raise ScenarioError("no steps", path, hint='write one step per line, such as "P mmap heap 4M"')
    return Scenario(PurePath(path).stem, path, "\n".join(title).strip(), tuple(steps), source)


class Alive:
    """The processes alive, as far as the text tells: the first one named, and those that forks begin."""

    def __init__(self) -> None:
        self._since: dict[str, int] = {}
        self._exited: dict[str, int] = {}

    def follow(self, line: Line, words: list[Word], action: Action) -> None:
        """Do `action`. Raises ScenarioError if a process it needs is not there, or one it begins is."""
        for name in action.acting:
            if not self._since and not self._exited:
                self._since[name] = line.number
            if name not in self._since:
                raise self._absent(line, _naming(name, words))
        verb = VERBS[action.verb]
        if verb.begins and action.word:
            if action.word in self._since:
                message = f"{action.word} is already alive, since line {self._since[action.word]}"
                hint = "a name is free again after its process has exited"
                raise line.error(_naming(action.word, words[2:]), message, hint)
            self._since[action.word] = line.number
        if verb.ends:
            del self._since[action.actor]
            self._exited[action.actor] = line.number

    def _absent(self, line: Line, word: Word) -> ScenarioError:
        name = word.text
        alive = f"alive: {some(self._since)}" if self._since else "every process has exited"
        if name in self._exited:
            return line.error(word, f"{name} exited at line {self._exited[name]}", alive)
        parent = next(iter(self._since), None)
        hint = nearest(name, self._since, f'begin it with "{parent} fork {name}"') if parent else ""
        return line.error(word, f"there is no process {name}; {alive}", hint)


def _naming(name: str, words: list[Word]) -> Word:
    """Where `words` first name the process: as it is, or before a dot (`W1.heap`)."""
    return next(word for word in words if word.text.partition(".")[0] == name).part(0, len(name))
