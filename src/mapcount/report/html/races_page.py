"""Races explored, as a page: what is claimed, the interleaving that breaks it, the catalogue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mapcount.report.check_data import BROKEN, HOLDS, NOT_EXHAUSTED
from mapcount.report.check_races import change, cost, first_shown, large, verdict
from mapcount.report.check_races_data import MODEL_WORDS
from mapcount.report.html.page import render
from mapcount.report.words import plural

PROPERTY_WORDS = {True: "holds", False: "BROKEN", None: "so far"}
MOST_INTERLEAVINGS = 40
"""Races whose interleaving is on the page, the shortest; JSON has all."""


def races_page(check: Mapping[str, Any]) -> bytes:
    """The page of what `races_as_data` says."""
    return render(
        "races.html",
        data=races_page_data(check),
        styles=["table.css", "chart.css", "check.css", "races.css"],
        scripts=["table.js", "races.js"],
        title=_title(check),
        check=check,
        cost=cost(check),
        result=_result(check),
        unfinished=_unfinished(check),
        properties=[(PROPERTY_WORDS[one["holds"]], one) for one in check["properties"]],
    )


def races_page_data(check: Mapping[str, Any]) -> dict[str, Any]:
    """The catalogue, a row for each race; and those races of which a breaking interleaving is shown."""
    first = first_shown(check)
    shown = [race for race in check["races"] if race["interleaving"]]
    shown.sort(key=lambda race: (race is not first, len(race["interleaving"])))
    return {
        "races": [_row(race) for race in check["races"]],
        "shown": [_interleaving(race) for race in shown[:MOST_INTERLEAVINGS]],
        "alone": _about(check["races"][0]) if len(check["races"]) == 1 else None,
    }


def _row(race: Mapping[str, Any]) -> dict[str, Any]:
    counted = race["result"] != NOT_EXHAUSTED
    return {
        "group": race["group"],
        "name": race["name"],
        "story": race["story"],
        "threads": " | ".join(f"{thread['name']} {thread['does']}" for thread in race["threads"]),
        "states": race["states"],
        "steps": race["steps"],
        "depth": race["depth"],
        "interleavings": race["interleavings"] if counted else None,
        "interleavings_words": large(race["interleavings"]) if counted else "-",
        "result": race["result"],
        "verdict": verdict([race]),
    }


def _about(race: Mapping[str, Any]) -> dict[str, Any]:
    return {key: race[key] for key in ("name", "story", "start", "threads")}


def _interleaving(race: Mapping[str, Any]) -> dict[str, Any]:
    """A race, its steps, and the memory that they change: each cell's value at the start."""
    start: dict[str, str] = {}
    for step in race["interleaving"]:
        for one in step["changes"]:
            start.setdefault(one["cell"], one["before"])
    (message,) = (one["message"] for one in race["broken"] if one["property"] == race["shown"])
    return _about(race) | {
        "property": race["shown"],
        "message": message,
        "cells": list(start.items()),
        "steps": [
            {
                "thread": step["thread"],
                "step": step["step"],
                "read": step["read"],
                "buffered": step["buffered"],
                "after": {one["cell"]: one["after"] for one in step["changes"]},
                "words": [change(one) for one in step["changes"]],
            }
            for step in race["interleaving"]
        ],
    }


def _title(check: Mapping[str, Any]) -> str:
    races = check["races"]
    what = f"Race {races[0]['name']}" if len(races) == 1 else plural(len(races), "race")
    return f"{what} under {MODEL_WORDS[check['memory_model']]}"


def _result(check: Mapping[str, Any]) -> str | None:
    races = check["races"]
    broken = sum(1 for race in races if race["result"] == BROKEN)
    if broken:
        return f"BROKEN in {broken} of {plural(len(races), 'race')}"
    return "holds: in every interleaving every property holds" if check["result"] == HOLDS else None


def _unfinished(check: Mapping[str, Any]) -> list[str]:
    """What was not explored, of which nothing is said."""
    left = [race["name"] for race in check["races"] if race["result"] not in (BROKEN, HOLDS)]
    lines = (
        [f"not exhausted: too many states in {', '.join(left)}; --most-states allows more"] if left else []
    )
    if check["interrupted_of"] is not None:
        lines.append(f"interrupted: {len(check['races'])} of {plural(check['interrupted_of'], 'race')}")
    return lines
