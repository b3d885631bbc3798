"""How loops over states are compiled: as those of `replay`, whose rules are compiled into them."""

from __future__ import annotations

from pathlib import Path

from mapcount.replay import jit as replay_jit
from mapcount.replay.jit import forget_stale, jit

__all__ = ["jit"]

_HERE, _REPLAY = Path(__file__).parent, Path(replay_jit.__file__).parent
_LOOPS = ("rows", "expand", "settle", "scheme_states")
"""The modules here that have compiled loops."""

forget_stale(_HERE, *(_HERE / f"{name}.py" for name in _LOOPS), *_REPLAY.glob("*.py"))
