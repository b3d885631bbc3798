"""How loops over states are compiled: as those of `replay`, whose rules are compiled into them."""

from __future__ import annotations

from pathlib import Path

from mapcount.replay import jit as replay_jit
from mapcount.replay.jit import forget_stale, jit

__all__ = ["jit"]

forget_stale(Path(__file__).parent, Path(replay_jit.__file__).parent)
