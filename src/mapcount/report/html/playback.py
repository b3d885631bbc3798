"""A story on several kernels as data for the page that plays it back.

Everything that repeats is stored once, in `store`, and named by its place there: a step in which a folio
did not change costs a number.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mapcount.report.html.fates import Fate, skipped_pageout, write_faults
from mapcount.report.html.happenings import Happening, Narrator
from mapcount.report.html.page import render
from mapcount.report.html.scene import FolioPicture, Scene, Space
from mapcount.scenario.observation import FolioSeen, Observation
from mapcount.scenario.run import Run, SteppedTo, Watcher
from mapcount.scenario.run import run as run_on
from mapcount.scenario.syntax import Scenario, visible
from mapcount.tracking.flavour import Flavour

SCRIPTS = ("draw.js", "cards.js", "told.js", "proc.js", "numbers.js", "playback.js")
"""What a page needs that plays a story back."""
MOST_PLACES = 4
"""Places named of look-alike folios; of the others, how many there are."""
MOST_HAPPENINGS = 12
"""Told of one step on one kernel; of the others, how many there are."""

BITS = re.compile(r"bits: \d+")
"""A line of a title that says which machine the story is about."""


@dataclass(frozen=True, slots=True)
class Played:
    """A run and what was seen of its machine: a picture before each step and after the last."""

    run: Run
    scenes: Sequence[Scene]
    happenings: Sequence[Sequence[Happening]]


def play(scenario: Scenario, flavour: Flavour, beside: Watcher | None = None) -> Played:
    """Act the story out on one kernel; `beside` hears everything too, and has its say of each folio.

    Raises ScenarioError as `mapcount.scenario.run.run` does.
    """
    narrator = Narrator(beside)
    run = run_on(scenario, flavour, regions=True, watcher=narrator)
    narrator.finish()
    return Played(run, narrator.scenes[1:], narrator.happenings)


def playback_page(played: Sequence[Played]) -> bytes:
    """The page that plays a story back."""
    scenario = played[0].run.scenario
    title, _, introduction = scenario.title.partition("\n")
    return render(
        "playback.html",
        data=playback_data(played),
        styles=["playback.css"],
        scripts=SCRIPTS,
        title=visible(title) or visible(scenario.name),
        name=scenario.name,
        introduction=[
            visible(line) for line in introduction.split("\n") if line and not BITS.fullmatch(line)
        ],
        lines=source_lines(scenario),
        kernels=[str(one.run.flavour) for one in played],
    )


def source_lines(scenario: Scenario) -> list[tuple[int, str, int | None]]:
    """(number, text, step or None) of each line of the source, after the comment that is its title."""
    steps = {step.line: i for i, step in enumerate(scenario.steps)}
    lines = list(enumerate(scenario.source, 1))
    while lines and not lines[-1][1].strip():
        lines.pop()
    first = next((number for number, text in lines if not text.strip().startswith("#")), 1)
    return [(number, visible(text.expandtabs()), steps.get(number)) for number, text in lines[first - 1 :]]


class Store:
    """Values that are kept once each."""

    def __init__(self) -> None:
        self.values: list[Any] = []
        self._places: dict[Hashable, int] = {}

    def put(self, key: Hashable, value: Any) -> int:
        """Where `value`, which `key` tells from all others, is kept."""
        place = self._places.setdefault(key, len(self.values))
        if place == len(self.values):
            self.values.append(value)
        return place


def playback_data(played: Sequence[Played]) -> dict[str, Any]:
    """Everything the page shows. Sizes in KiB, statistics in pages, as `run --json` has them."""
    scenario = played[0].run.scenario
    store = Store()
    processes: dict[str, None] = {}
    kernels = []
    for one in played:
        for scene in one.scenes:
            processes |= dict.fromkeys(scene.spaces)
        kernels.append(_kernel(one, store))
    return {
        "scenario": visible(scenario.name),
        "processes": list(processes),
        "steps": [
            {
                "line": step.line,
                "text": visible(step.text.expandtabs()),
                "comment": visible(step.comment.expandtabs()),
            }
            for step in scenario.steps
        ],
        "kernels": kernels,
        "store": store.values,
    }


def _kernel(played: Played, store: Store) -> dict[str, Any]:
    run, flavour = played.run, played.run.flavour
    steps = []
    for i, step in enumerate(run.steps):
        before = (played.scenes[i - 1], run.steps[i - 1].seen) if i else (Scene(), step.seen)
        steps.append(_step(played, step, before, i, store))
    return {
        "name": str(flavour),
        "since": flavour.since,
        "slots": flavour.owner_slots,
        "page_mapcounts": flavour.page_mapcounts,
        "steps": steps,
    }


def _step(
    played: Played, step: SteppedTo, before: tuple[Scene, Observation], i: int, store: Store
) -> dict[str, Any]:
    scene, seen = played.scenes[i], step.seen
    rollup = {name: store.put(("roll", *roll.items()), dict(roll)) for name, roll in seen.rollup.items()}
    spaces = {name: store.put(space, _space(space)) for name, space in scene.spaces.items()}
    regions = [(r.process, r.region, _region(r)) for r in seen.regions]
    return {
        "folios": _folios(seen, scene, store),
        "spaces": spaces,
        "rollup": rollup,
        "regions": store.put(("regions", *((p, r, *v.items()) for p, r, v in regions)), regions),
        "system": store.put(("system", *seen.system.items()), dict(seen.system)),
        "cost": store.put(("cost", *seen.cost.items()), dict(seen.cost)),
        "wrong": seen.wrong_folios,
        "checked": step.checked,
        "failures": [{"demand": visible(f.demand), "found": visible(f.found)} for f in step.failures]
        + [{"demand": inv.sentence, "found": f"broken by {folio.place}"} for folio, inv in step.broken],
        "told": _told(played, step, before, i),
    }


def _region(region: Any) -> dict[str, int]:
    return {
        **{name: region.smaps[name] for name in ("rss", "pss", "uss", "swap")},
        "present": region.present,
        "exclusive": region.exclusive,
        "mapmax": region.mapmax,
    }


def _space(space: Space) -> dict[str, Any]:
    return {"mm_id": space.mm_id, "regions": space.regions}


def _folios(seen: Observation, scene: Scene, store: Store) -> list[tuple[int, int]]:
    """(record, whereabouts) of each group of folios that nothing tells apart."""
    groups: dict[Hashable, list[tuple[FolioSeen, FolioPicture]]] = {}
    for folio, picture in zip(seen.folios, scene.folios, strict=True):
        groups.setdefault(_key(folio, picture), []).append((folio, picture))
    return [(store.put(key, _record(*group[0])), _whereabouts(group, store)) for key, group in groups.items()]


def _whereabouts(group: Sequence[tuple[FolioSeen, FolioPicture]], store: Store) -> int:
    """Where folios are mapped, how many they are, and at which page frames, so that they are known again."""
    places, count = tuple(folio.place for folio, _ in group), sum(folio.count for folio, _ in group)
    frames: list[tuple[int, int]] = []
    for _, picture in group:
        if frames and sum(frames[-1]) == picture.pfn:
            frames[-1] = frames[-1][0], frames[-1][1] + picture.n
        else:
            frames.append((picture.pfn, picture.n))
    shown, more = places[:MOST_PLACES], max(0, len(places) - MOST_PLACES)
    value = {"shown": shown, "more": more, "count": count, "frames": frames}
    return store.put(("places", places, count, tuple(frames)), value)


def _key(folio: FolioSeen, picture: FolioPicture) -> Hashable:
    """Everything that is shown of a folio but its place and how many there are."""
    counters = tuple((name, tuple(v) if isinstance(v, list) else v) for name, v in folio.counters.items())
    owners = tuple(folio.owners.items())
    estimate = folio.truth, folio.maybe_shared, folio.partially_mapped, folio.average_mapcount
    schemes = tuple(folio.schemes.items())
    drawn = picture.lanes, picture.exclusive, picture.page_mapcounts
    return folio.kind, folio.order, estimate, owners, folio.slots, counters, schemes, drawn


def _record(folio: FolioSeen, picture: FolioPicture) -> dict[str, Any]:
    held = iter(folio.slots)
    ids = folio.counters.get("mm_id")
    slots = [next(held) if mm_id else None for mm_id in ids] if isinstance(ids, list) else None
    return {
        "kind": folio.kind,
        "order": folio.order,
        "truth": folio.truth,
        "maybe_shared": folio.maybe_shared,
        "wrong": folio.wrong,
        "partially_mapped": folio.partially_mapped,
        "average_mapcount": folio.average_mapcount,
        "owners": list(folio.owners.items()),
        "slots": slots,
        "counters": dict(folio.counters),
        "schemes": dict(folio.schemes),
        "lanes": picture.lanes,
        "exclusive": picture.exclusive,
        "kpagecount": picture.page_mapcounts,
    }


def _told(played: Played, step: SteppedTo, before: tuple[Scene, Observation], i: int) -> dict[str, Any]:
    """The rules that fired in this step: for copy-on-write first, then for each mapping event."""
    was, scene = before[0], played.scenes[i]
    place = _Places((was, before[1].folios), (scene, step.seen.folios))
    fates = [
        {"place": place.of(pfn), "pages": n, "fate": fate, "why": why}
        for pfn, n, fate, why in _fates(played, step, before, scene)
    ]
    told = played.happenings[i]
    events = [
        {key: value for key, value in asdict(one).items() if key != "pfn" and value}
        | {"place": place.of(one.pfn)}
        for one in told[:MOST_HAPPENINGS]
    ]
    found = {"fates": fates[:MOST_HAPPENINGS], "events": events}
    more = max(0, len(told) - MOST_HAPPENINGS) + max(0, len(fates) - MOST_HAPPENINGS)
    return {key: value for key, value in (*found.items(), ("more", more)) if value}


def _fates(
    played: Played, step: SteppedTo, before: tuple[Scene, Observation], scene: Scene
) -> Iterator[Fate]:
    """What became of pages that the step's only action writes to or pages out."""
    acting = [action for action in step.step.actions if action.verb != "expect"]
    if len(acting) != 1 or acting[0].target is None:
        return
    (action,) = acting
    if action.verb == "write":
        yield from write_faults(played.run.flavour, action.actor, *before, scene)
    elif (action.verb, action.word) == ("madvise", "pageout"):
        assert action.target is not None
        yield from skipped_pageout(action.target, action.actor, *before, scene)


class _Places:
    """Where folios are mapped: as it was before the step, else as it is after."""

    def __init__(self, *seen: tuple[Scene, Sequence[FolioSeen]]) -> None:
        self._seen = seen

    def of(self, pfn: int) -> str:
        """The place of the folio with this page frame."""
        for scene, folios in self._seen:
            at = scene.folio_at(pfn)
            if at is not None and folios[at].place != "not mapped":
                return folios[at].place
        return "a folio no longer there"
