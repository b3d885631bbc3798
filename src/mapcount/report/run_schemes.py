"""Schemes beside the kernels of a run, for people: what each says of a folio, and how often it was wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from mapcount.report.words import flavours_word
from mapcount.scenario.observation import FolioSeen
from mapcount.scenario.run import Run
from mapcount.scenario.syntax import visible


def scheme_answers(group: Sequence[tuple[str, FolioSeen]]) -> Iterator[tuple[str, str, bool]]:
    """Each scheme's name, its answer about a folio in words, and whether that is wrong.

    `group`: the folio as each flavour has it; a scheme hears of different events on some.
    """
    for name in next(iter(group))[1].schemes:
        by_answer: dict[str, list[str]] = {}
        for flavour, folio in group:
            by_answer.setdefault(_answer(folio, name), []).append(flavour)
        words = [
            answer + (f" on {flavours_word(on, group)}" if len(by_answer) > 1 else "")
            for answer, on in by_answer.items()
        ]
        yield visible(name), "; ".join(words), any(name in folio.wrong_schemes for _, folio in group)


def _answer(folio: FolioSeen, name: str) -> str:
    verdict = "shared" if folio.schemes[name] else "exclusive"
    return verdict + (" <- WRONG" if name in folio.wrong_schemes else "")


def scheme_rows(runs: Sequence[Run], names: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """Rows of the summary: steps in which each scheme was wrong, the longest time, and in the unsafe way."""
    for name in names:
        wrong = [[_wrong(step.seen.folios, name) for step in run.acted] for run in runs]
        unsafe = [sum(_unsafe(step.seen.folios, name) for step in run.acted) for run in runs]
        yield f"{visible(name)}: steps wrong", [str(sum(map(bool, steps))) for steps in wrong]
        yield "  longest, steps", [str(_longest(steps)) for steps in wrong]
        if any(unsafe):
            yield "  falsely exclusive", [str(steps) for steps in unsafe]


def _wrong(folios: Sequence[FolioSeen], name: str) -> int:
    return sum(folio.count for folio in folios if name in folio.wrong_schemes)


def _unsafe(folios: Sequence[FolioSeen], name: str) -> bool:
    """Is a shared folio called exclusive?"""
    return any(name in folio.wrong_schemes and folio.truth == "shared" for folio in folios)


def _longest(wrong: Sequence[int]) -> int:
    return max((len(list(group)) for is_wrong, group in groupby(wrong, bool) if is_wrong), default=0)
