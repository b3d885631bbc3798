"""A scenario's line, its words, and how each kind of word is read.

The kinds are those of `verbs.Kind`; `READERS` has one function for each, from a word to the value it spells.
Every function here raises `ScenarioError` at the exact part of the word that is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches

from mapcount.scenario.printing import UNITS, show_size
from mapcount.scenario.syntax import KERNEL, MAX_LINE, Location, ScenarioError, Target, Value
from mapcount.scenario.verbs import CHOICES, Kind
from mapcount.tracking.flavour import PAGE_SIZE, PUD_ORDER

MAX_PAGES = (64 << 40) // PAGE_SIZE
"""The largest size or place: 64T."""

MAX_FOLIO = 1 << PUD_ORDER
"""The largest folio `thp=` may name, in pages: 1G."""

_WORD = re.compile(r"[^ \t;]+|;")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,31}")
_SIZE = re.compile(r"([0-9]+)([KMGTp]?)")
_ALMOST_SIZE = re.compile(r"([0-9]+)([kmgtp])(i?b)?", re.IGNORECASE)
_FORBIDDEN = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, and those that make a line look other than it is."""


@dataclass(frozen=True, slots=True)
class Word:
    """A word, or a part of one, and where it stands in its line."""

    text: str
    column: int

    @property
    def end(self) -> int:
        """The column after it."""
        return self.column + len(self.text)

    @property
    def quoted(self) -> str:
        """For messages: in quotes, and not too long."""
        return f'"{self.text}"' if len(self.text) <= 40 else f'"{self.text[:36]}..."'

    def part(self, start: int, stop: int | None = None) -> Word:
        """The characters from `start` up to `stop`."""
        return Word(self.text[start:stop], self.column + start)

    def split(self, separator: str) -> Iterator[Word]:
        """The parts between separators, empty ones too."""
        start = 0
        for text in self.text.split(separator):
            yield self.part(start, start + len(text))
            start += len(text) + 1


@dataclass(frozen=True, slots=True)
class Line:
    """One source line, which knows its place and how to complain."""

    path: str
    number: int
    source: str

    def at(self, word: Word) -> Location:
        """Where `word` stands."""
        return Location(self.number, word.column, max(1, len(word.text)))

    def error(self, word: Word, message: str, hint: str = "") -> ScenarioError:
        """A mistake at `word`, to be raised."""
        loc = self.at(word)
        return ScenarioError(message, self.path, loc.line, loc.column, loc.length, self.source, hint)

    def read(self) -> tuple[list[Word], str | None]:
        """The line's words, `;` among them, and its comment without `#`, if it has one."""
        if len(self.source) > MAX_LINE:
            raise self.error(Word("", MAX_LINE + 1), f"a line longer than {MAX_LINE} characters")
        if bad := _FORBIDDEN.search(self.source):
            hint = "save the file as UTF-8 text" if bad.group() == "\0" else "remove it"
            message = f"control character U+{ord(bad.group()):04X}"
            raise self.error(Word(bad.group(), bad.start() + 1), message, hint)
        words: list[Word] = []
        for match in _WORD.finditer(self.source):
            if match.group().startswith("#"):
                return words, self.source[match.start() + 1 :].strip()
            words.append(Word(match.group(), match.start() + 1))
        return words, None


def nearest(word: str, valid: Iterable[str], otherwise: str = "") -> str:
    """A hint: the valid word most like `word`; when none is like it `otherwise`, or else all of them."""
    by_lower = {name.lower(): name for name in valid}
    close = get_close_matches(word[:64].lower(), by_lower, n=1)
    if close:
        return f'did you mean "{by_lower[close[0]]}"?'
    return otherwise or f"valid: {some(by_lower.values())}"


def some(names: Iterable[str]) -> str:
    """The names in a row, the first twenty if there are many."""
    few = list(names)
    return ", ".join(few[:20]) + (", ..." if len(few) > 20 else "")


# How each kind of word is read.


def read_name(line: Line, word: Word) -> str:
    """The name of an actor, a region or a file."""
    if not word.text:
        raise line.error(word, "a name is missing")
    if word.text == KERNEL:
        raise line.error(word, '"kernel" is the kernel itself, nothing else can be called so')
    if not _NAME.fullmatch(word.text):
        hint = 'a name is a letter, then up to 31 letters, digits, "_" or "-"'
        raise line.error(word, f"{word.quoted} is not a name", hint)
    return word.text


def _read_offset(line: Line, word: Word) -> int:
    """Whole pages, possibly 0."""
    match = _SIZE.fullmatch(word.text)
    if not match:
        hint = "a size is a whole number with K, M, G or T, such as 64K or 2M, or of pages, such as 16p"
        if almost := _ALMOST_SIZE.fullmatch(word.text):
            unit = almost[2].upper().replace("P", "p")
            hint = f'did you mean "{almost[1]}{unit}"?'
        raise line.error(word, f"{word.quoted} is not a size" if word.text else "a size is missing", hint)
    size = int(match[1]) * (PAGE_SIZE if match[2] == "p" else UNITS.get(match[2], 1))
    if size > MAX_PAGES * PAGE_SIZE:
        raise line.error(word, f"{word.quoted} is more than 64T")
    pages, rest = divmod(size, PAGE_SIZE)
    if rest:
        hint = f"write {show_size(pages)} or {show_size(pages + 1)}"
        if not pages:
            hint = (
                "the smallest size is 4K, one page" if match[2] else f'did you mean "{size}p", {size} pages?'
            )
        raise line.error(word, f"{word.quoted} is not a multiple of 4K, the size of a page", hint)
    return pages


def _read_size(line: Line, word: Word) -> int:
    pages = _read_offset(line, word)
    if not pages:
        raise line.error(word, "a size of 0", "the smallest size is 4K, one page")
    return pages


def _read_folios(line: Line, word: Word) -> tuple[int, ...]:
    sizes: list[int] = []
    for part in word.split(","):
        nr_pages = _read_size(line, part)
        if nr_pages & (nr_pages - 1) or not 1 < nr_pages <= MAX_FOLIO:
            hint = "write a power of two from 8K to 1G, such as 64K or 2M"
            raise line.error(part, f"there are no large folios of {part.text}", hint)
        if nr_pages in sizes:
            raise line.error(part, f"{show_size(nr_pages)} is named twice")
        sizes.append(nr_pages)
    return tuple(sizes)


def _read_huge(line: Line, word: Word) -> int:
    nr_pages = _read_size(line, word)
    if show_size(nr_pages) not in CHOICES[Kind.HUGE]:
        raise line.error(word, f"there are no hugetlb pages of {word.text}", "write 2M or 1G")
    return nr_pages


def _read_choice(line: Line, word: Word, kind: Kind) -> str:
    if word.text not in CHOICES[kind]:
        what = {Kind.PROT: "a protection", Kind.ADVICE: "advice", Kind.FLAVOURS: "a flavour"}[kind]
        raise line.error(word, f"{word.quoted} is not {what}", nearest(word.text, CHOICES[kind]))
    return word.text


def _read_flavours(line: Line, word: Word) -> tuple[str, ...]:
    names: list[str] = []
    for part in word.split(","):
        if _read_choice(line, part, Kind.FLAVOURS) in names:
            raise line.error(part, f"{part.text} is named twice")
        names.append(part.text)
    return tuple(names)


def _read_target(line: Line, word: Word) -> Target:
    head, bracket, tail = word.text.partition("[")
    *owner, region = word.part(0, len(head)).split(".")
    if len(owner) > 1:
        raise line.error(word.part(0, len(head)), "more than one dot", "write REGION or PROCESS.REGION")
    process = read_name(line, owner[0]) if owner else None
    name = read_name(line, region)
    if not bracket:
        return Target(name, process=process, loc=line.at(word))
    inside, closing, after = tail.partition("]")
    if not closing:
        raise line.error(word, f'{word.quoted} lacks its "]"', f"write {head}[A:B] without blanks")
    if after:
        follows = word.part(len(word.text) - len(after))
        raise line.error(follows, 'nothing may follow "]"', f"write {head}[{inside}]")
    start, stop, step = _read_bounds(line, word, list(word.part(len(head) + 1, -1).split(":")))
    return Target(name, start, stop, step, process, line.at(word))


def _read_bounds(line: Line, word: Word, bounds: list[Word]) -> tuple[int, int | None, int | None]:
    """What stands between the brackets of the target `word`: start, stop and step."""
    if len(bounds) == 1:
        page = _read_lone_page(line, word, bounds[0])
        return page, page + 1, None
    if len(bounds) > 3:
        raise line.error(word, f"{word.quoted} has too many colons", "a stride is [START:STOP:STEP]")
    start = _read_offset(line, bounds[0]) if bounds[0].text else 0
    stop = _read_offset(line, bounds[1]) if bounds[1].text else None
    if stop is not None and stop <= start:
        hint = f"did you mean [{bounds[1].text}:{bounds[0].text}]?" if stop < start else ""
        raise line.error(word, f"{word.quoted} is an empty range", hint)
    step = _read_size(line, bounds[2]) if len(bounds) == 3 else None
    return start, stop, step


def _read_lone_page(line: Line, word: Word, bound: Word) -> int:
    """The page of `heap[3p]`. A lone place in bytes is refused: it could mean a page or a range."""
    page = _read_offset(line, bound)
    if not bound.text.endswith("p"):
        head = word.text.partition("[")[0]
        range_ = f"{bound.text}:{show_size(2 * page)}" if page else "0:2M"
        hint = f"write {head}[{page}p] for one page or {head}[{range_}] for a range"
        raise line.error(word, f"{word.quoted} is a place in bytes, not a page or a range", hint)
    return page


READERS: dict[Kind, Callable[[Line, Word], Value]] = {
    Kind.TARGET: _read_target,
    Kind.SIZE: _read_size,
    Kind.OFFSET: _read_offset,
    Kind.FOLIOS: _read_folios,
    Kind.HUGE: _read_huge,
    Kind.NAME: read_name,
    Kind.PROT: lambda line, word: _read_choice(line, word, Kind.PROT),
    Kind.ADVICE: lambda line, word: _read_choice(line, word, Kind.ADVICE),
    Kind.FLAVOURS: _read_flavours,
}
