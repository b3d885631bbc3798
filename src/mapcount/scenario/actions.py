"""One action: an actor, a verb, and the words that the verb's row in `verbs.VERBS` allows.

There is no code for any single verb here; what a verb takes, demands and forbids is declared in its row.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from mapcount.scenario.printing import show_size, show_target
from mapcount.scenario.syntax import (
    KERNEL,
    OPERATORS,
    Action,
    Comparison,
    Location,
    ScenarioError,
    Target,
    Value,
)
from mapcount.scenario.verbs import PROCESS_FIELDS, SYSTEM_FIELDS, VERBS, Argument, Kind, Option, Verb
from mapcount.scenario.words import READERS, Line, Word, nearest, read_name, some

_COMPARISON = re.compile(r"([^=!<>]*)([=!<>]+)(.*)")
_VALUE = re.compile(r"[A-Za-z0-9_.,+-]+")


def split_actions(line: Line, words: list[Word]) -> Iterator[list[Word]]:
    """The words of each action of a line, between the `;`."""
    action: list[Word] = []
    for word in words:
        if word.text != ";":
            action.append(word)
            continue
        if not action:
            raise line.error(word, 'no action before ";"')
        yield action
        action = []
    if not action:
        raise line.error(words[-1], 'no action after ";"', "a step ends with its line")
    yield action


def read_action(line: Line, words: list[Word]) -> Action:
    """The action that `words` spell."""
    actor = _read_actor(line, words)
    reading = _Reading(line, actor, _read_verb(line, words, actor), Word("", words[-1].end))
    for word in words[2:]:
        reading.take(word)
    return reading.finish(Location(line.number, words[0].column, words[-1].end - words[0].column))


def _read_actor(line: Line, words: list[Word]) -> str:
    first = words[0]
    if first.text in VERBS and not (len(words) > 1 and words[1].text in VERBS):
        hint = f'as in "{VERBS[first.text].example}"'
        raise line.error(first, f'"{first.text}" is a verb, and the actor comes first', hint)
    return KERNEL if first.text == KERNEL else read_name(line, first)


def _read_verb(line: Line, words: list[Word], actor: str) -> Verb:
    if len(words) == 1:
        raise line.error(Word("", words[0].end), f"a verb is missing after {actor}", f"valid: {some(VERBS)}")
    name = words[1]
    verb = VERBS.get(name.text)
    if verb is None:
        raise line.error(name, f"unknown verb {name.quoted}", nearest(name.text, VERBS))
    if verb.who not in ("any", _role(actor)):
        who = "the kernel" if verb.who == "kernel" else "a process"
        raise line.error(name, f"only {who} can {verb.name}", f'as in "{verb.example}"')
    return verb


def _role(actor: str) -> Literal["process", "kernel"]:
    return "kernel" if actor == KERNEL else "process"


@dataclass(slots=True)
class _Reading:
    """One action, read word by word as its verb's row says; `end` is where it ends."""

    line: Line
    actor: str
    verb: Verb
    end: Word
    arguments: list[tuple[Word, Value]] = field(default_factory=list)
    options: dict[str, tuple[Word, Option, Value]] = field(default_factory=dict)
    expects: list[Comparison] = field(default_factory=list)

    @property
    def waiting(self) -> Argument | None:
        """The argument whose turn it is, if the actor may still give one."""
        mine = [argument for argument in self.verb.arguments if argument.who in ("any", _role(self.actor))]
        return mine[len(self.arguments)] if len(self.arguments) < len(mine) else None

    @property
    def usage(self) -> str:
        """A hint that shows how the verb is written."""
        return f"usage: {self.actor} {self.verb.usage}"

    def take(self, word: Word) -> None:
        """Read one word: an option, a comparison, or the argument whose turn it is."""
        keyword, equals, _ = word.text.partition("=")
        option, waiting = self.verb.option(keyword), self.waiting
        if option and equals:
            self.take_option(option, word)
        elif self.verb.compares and _COMPARISON.match(word.text):
            self.take_comparison(word)
        elif waiting and not (equals and self.verb.options) and (waiting.required or waiting.fits(word.text)):
            self.take_argument(waiting, word)
        elif option:
            self.take_option(option, word)
        else:
            raise self.excess(word, keyword)

    def take_argument(self, argument: Argument, word: Word) -> None:
        """Read the argument whose turn it is."""
        value = READERS[argument.kind](self.line, word)
        if isinstance(value, Target) and value.process and self.actor != KERNEL and not self.verb.compares:
            hint = f'write "{value.process} {self.verb.name} {word.text.partition(".")[2]}"'
            raise self.line.error(word, f"a process can {self.verb.name} only regions of its own", hint)
        self.arguments.append((word, value))

    def take_option(self, option: Option, word: Word) -> None:
        """Read `keyword` or `keyword=value`."""
        keyword, equals, text = word.text.partition("=")
        if keyword in self.options:
            raise self.line.error(word, f"{keyword} is given twice")
        if equals and option.kind is Kind.FLAG:
            raise self.line.error(word, f"{keyword} takes no value", f'write "{keyword}"')
        value = option.bare if not equals else READERS[option.kind](self.line, word.part(len(keyword) + 1))
        if value is None:
            raise self.line.error(word, f"{keyword} needs a value", f"write {keyword}={option.kind.value}")
        if isinstance(value, Target) and value.process:
            hint = f"write {keyword}={text.partition('.')[2]}"
            raise self.line.error(word, f"a process can {self.verb.name} only regions of its own", hint)
        self.options[keyword] = word, option, value

    def take_comparison(self, word: Word) -> None:
        """Read `FIELD=VALUE`, where the field is the actor's to ask about."""
        match = _COMPARISON.fullmatch(word.text)
        if not match or not match[1] or not match[3]:
            raise self.line.error(
                word, f"{word.quoted} is not a comparison", "write FIELD=VALUE without blanks"
            )
        name, op, value = (word.part(*match.span(group)) for group in (1, 2, 3))
        mine, others = PROCESS_FIELDS, SYSTEM_FIELDS
        if self.actor == KERNEL:
            mine, others = others, mine
        if name.text not in mine and name.text in others:
            owner, asker = ("the kernel", KERNEL) if others is SYSTEM_FIELDS else ("a process or region", "P")
            hint = f'write "{asker} expect {word.text}"'
            raise self.line.error(name, f"{name.text} is a field of {owner}", hint)
        if name.text not in mine:
            valid = [*mine, *(option.keyword for option in self.verb.options)]
            raise self.line.error(name, f"unknown field {name.quoted}", nearest(name.text, valid))
        if op.text not in OPERATORS:
            raise self.line.error(op, f"{op.quoted} compares nothing", f"valid: {' '.join(OPERATORS)}")
        if not _VALUE.fullmatch(value.text):
            raise self.line.error(value, f"{value.quoted} is not a value", "a value is a word or a number")
        self.expects.append(Comparison(name.text, op.text, value.text, self.line.at(word)))

    def excess(self, word: Word, keyword: str) -> ScenarioError:
        """What is wrong with a word that the verb has no place for."""
        keywords = [option.keyword for option in self.verb.options]
        barred = [a for a in self.verb.arguments if a.who not in ("any", _role(self.actor))]
        if barred:
            message = f"{self.actor} {self.verb.name} takes no {barred[0].kind.value}"
            return self.line.error(word, message, f'as in "{self.verb.example}"')
        if self.verb.compares:
            return self.line.error(
                word, f"{word.quoted} is not a comparison", "write FIELD=VALUE without blanks"
            )
        if not keywords:
            return self.line.error(word, f"too many arguments for {self.verb.name}", self.usage)
        what = "has no option" if keyword != word.text else "does not take"
        message = f"{self.verb.name} {what} {word.part(0, len(keyword)).quoted}"
        return self.line.error(word, message, nearest(keyword, keywords, self.usage))

    def finish(self, loc: Location) -> Action:
        """The action, once all its words are read."""
        self.check_missing()
        self.check_options()
        target = size = word = None
        for given, value in self.arguments:
            match value:
                case Target():
                    target = value
                case int():
                    size = value
                    self.check_size(given, size, target)
                case str():
                    word = value
        options: dict[str, Value] = {}
        flavours: tuple[str, ...] = ()
        for keyword, (_, option, value) in self.options.items():
            if option.kind is Kind.FLAVOURS and isinstance(value, tuple):
                flavours = tuple(str(name) for name in value)
            else:
                options[keyword] = value
        return Action(
            self.actor, self.verb.name, target, size, word, options, tuple(self.expects), flavours, loc
        )

    def check_missing(self) -> None:
        """Raise ScenarioError if the verb needs a word that is not there."""
        if self.waiting and self.waiting.required:
            raise self.line.error(self.end, f"{self.verb.name} needs a {self.waiting.kind.value}", self.usage)
        if self.verb.compares and not self.expects:
            such = "anon_pages=0" if self.actor == KERNEL else "truth=exclusive"
            raise self.line.error(
                self.end, f"nothing to {self.verb.name}", f"write FIELD=VALUE, such as {such}"
            )
        for option in self.verb.options:
            if option.required and option.keyword not in self.options:
                raise self.line.error(self.end, f"{self.verb.name} needs {option.usage}", self.usage)

    def check_options(self) -> None:
        """Raise ScenarioError if two options contradict each other, or one lacks another that it needs."""
        for keyword, (word, option, _) in self.options.items():
            for other in option.excludes:
                if other in self.options:
                    later = max(word, self.options[other][0], key=lambda w: w.column)
                    raise self.line.error(later, f"{keyword} and {other} contradict each other", "choose one")
            if option.needs and not any(need in self.options for need in option.needs):
                needs = " or ".join(f"{need}=" for need in option.needs)
                raise self.line.error(word, f"{keyword} means nothing without {needs}")

    def check_size(self, word: Word, size: int, target: Target | None) -> None:
        """Raise ScenarioError if the size contradicts the target's range or the huge pages asked for."""
        if target and not target.whole:
            raise self.line.error(word, f"{show_target(target)} already says how much", f"remove {word.text}")
        for _, option, huge in self.options.values():
            if option.kind is Kind.HUGE and isinstance(huge, int) and size % huge:
                message = f"{word.quoted} is not a multiple of {show_size(huge)}, the size of its pages"
                raise self.line.error(word, message, f"write {show_size(size + huge - size % huge)}")
