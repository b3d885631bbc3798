"""Every interleaving of a machine's threads, each state once, the shortest way to whatever is broken.

How many steps led to a state can be read off the state: each thread's place says how many accesses it made,
and its buffer how many of its stores are still on their way. So all ways to a state are equally long; the
search goes layer by layer, the first broken state it meets is one of the nearest, and the number of
interleavings is known without walking them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from mapcount.check.races.machine import Machine, Move, State, Values

MOST_STATES = 1_500_000
"""States of one race, unless said: about 1 GiB."""

Judge = Callable[[Values], dict[str, str]]
"""What is broken in these values: by property, in words."""


@dataclass(frozen=True, slots=True)
class Broken:
    """A property that does not hold, where, and the steps that lead there."""

    property: str
    message: str
    moves: tuple[Move, ...]


@dataclass(frozen=True, slots=True)
class Explored:
    """What a search saw."""

    states: int
    steps: int
    """Steps from each state to the next, all together."""
    depth: int
    """Steps of the longest interleaving."""
    interleavings: int
    """Ways from the start to an end."""
    broken: tuple[Broken, ...]
    """The nearest case of each property that is broken, nearest first."""
    exhausted: bool
    """False where the search stopped early: then nothing is proved."""


class Arrival:
    """How a state was first come to, and in how many ways."""

    __slots__ = ("came_from", "move", "ways")

    def __init__(self, came_from: State | None, move: Move | None, ways: int) -> None:
        self.came_from = came_from
        self.move = move
        self.ways = ways


Layer = dict[State, Arrival]


def explore(
    machine: Machine,
    always: Judge,
    at_rest: Judge,
    *,
    most_states: int = MOST_STATES,
    stop_at: Iterable[str] | None = None,
) -> Explored:
    """Every reachable state.

    `always` judges what is in memory in every state, `at_rest` where all programs have ended. A thread that
    waits for ever breaks the property `lock`. With `stop_at`, the search ends when one of these is broken.
    """
    layers: list[Layer] = [{machine.start: Arrival(None, None, 1)}]
    judged: dict[Values, dict[str, str]] = {}
    found: dict[str, Broken] = {}
    wanted = set(stop_at or ())
    states = steps = interleavings = 0
    while layers[-1] and states + len(layers[-1]) <= most_states and not wanted & found.keys():
        following: Layer = {}
        states += len(layers[-1])
        for state, arrival in layers[-1].items():
            broken = judged.get(state.memory)
            if broken is None:
                broken = judged[state.memory] = always(state.memory)
            moves = list(machine.moves(state))
            steps += len(moves)
            for move, after in moves:
                known = following.get(after)
                if known is None:
                    following[after] = Arrival(state, move, arrival.ways)
                else:
                    known.ways += arrival.ways
            if not moves:
                interleavings += arrival.ways
                ended = machine.finished(state)
                broken = broken | (at_rest(state.memory) if ended else _stuck(machine, state))
            for name in broken.keys() - found.keys():
                found[name] = Broken(name, broken[name], _way(layers, state))
        layers.append(following)
    return Explored(states, steps, len(layers) - 2, interleavings, tuple(found.values()), not layers[-1])


def _stuck(machine: Machine, state: State) -> dict[str, str]:
    waiting = [
        f"{name} waits for ever to {getattr(place.access, 'label', '')}"
        for name, place in zip(machine.names, state.places, strict=True)
        if place.access is not None
    ]
    return {"lock": "; ".join(waiting)}


def _way(layers: list[Layer], state: State) -> tuple[Move, ...]:
    """The moves from the start to a state of the last layer."""
    moves: list[Move] = []
    at: State | None = state
    for layer in reversed(layers):
        assert at is not None
        arrival = layer[at]
        at = arrival.came_from
        if arrival.move is not None:
            moves.append(arrival.move)
    return tuple(reversed(moves))
