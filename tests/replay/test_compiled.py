"""Compiled code on disk is safe to share: one kind of arguments for each loop, and nothing stale."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from mapcount.replay import engine, grouping, groups, lanes, pages, rules, verdicts, waves
from mapcount.tracking.flavour import FLAVOURS

from .reference import Event, replayed, window_of

LOOPS = [
    (module.__name__, name)
    for module in (grouping, groups, lanes, pages, rules, verdicts, waves)
    for name, loop in vars(module).items()
    if hasattr(loop, "signatures") and loop.__module__ == module.__name__
]


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="nothing is compiled")
def test_each_loop_is_compiled_for_one_kind_of_arguments() -> None:
    """However events come, writable or not, in parts or not, no loop is compiled twice."""
    events: list[Event] = [(k % 3, 1, 2, 0, 1) for k in range(20)]
    for flavour in FLAVOURS.values():
        replayed(flavour, [(2, False), (9, False), (1, True)], events[:2], every=True, threads=2)
        replayed(flavour, [(2, False)] * (grouping.FEW_FOLIOS + 1), events[:2], every=True, threads=2)
    assert len(window_of(events)) == 20
    loops = {name: getattr(sys.modules[module], name).signatures for module, name in LOOPS}
    assert "replay_groups" in loops
    assert {} == {name: found for name, found in loops.items() if len(found) > 1}


def test_changed_code_is_compiled_anew(tmp_path: Path) -> None:
    """When a module is touched, compiled code of all is forgotten; otherwise it is kept."""
    package = tmp_path / "replay"
    package.mkdir()
    source = Path(engine.__file__).with_name("jit.py").read_text(encoding="utf-8")
    (package / "jit.py").write_text(source, encoding="utf-8")
    (package / "other.py").write_text("", encoding="utf-8")

    def load() -> bool:
        """Does compiled code outlive an import?"""
        compiled = package / "__pycache__" / "x.nbc"
        compiled.parent.mkdir(exist_ok=True)
        compiled.write_bytes(b"")
        subprocess.run([sys.executable, str(package / "jit.py")], check=True)
        return compiled.exists()

    assert [False, True] == [load(), load()]
    os.utime(package / "other.py", (1, 1))
    assert [False, True] == [load(), load()]


def test_read_only_columns_are_fine() -> None:
    """Columns from a file cannot be written to, and need not be."""
    window = window_of([(0, 1, 2, 0, 1)])
    for column in window.columns:
        column.flags.writeable = False
    folios = engine.Folios(1)
    folios.set_shapes(0, np.array([4], np.uint8), np.zeros(1, np.uint8))
    with engine.Engine(folios, FLAVOURS["no-page-mapcount"], threads=1) as one:
        one.replay(window)
    assert [1] == folios.large_mapcount.tolist()
