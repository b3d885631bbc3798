"""One boot of a kernel, and what it answers in all stories."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from mapcount.conform.vng import GuestResult, run_in_guest
from mapcount.scenario.recording import Recording, load_recording

ROOT = Path(__file__).resolve().parents[2]
KERNELS = os.environ.get("MAPCOUNT_KERNELS")
"""The folder with the kernels that `tools/build_kernels.py` made."""
STORIES = {path.stem: path for path in sorted(ROOT.glob("scenarios/**/*.scn"))}
PATIENCE = 2 * 3600
"""Seconds for all stories in one kernel; emulated, some ten minutes on an idle machine."""


@dataclass(frozen=True)
class Answers:
    """What one kernel came to in all stories, by a story's name."""

    guest: GuestResult
    recordings: Mapping[str, Recording]
    skipped: Mapping[str, str]


def image(flavour: str) -> Path:
    """The kernel of that flavour."""
    return Path(KERNELS or "") / f"bzImage-{flavour}"


def boot(flavour: str, folder: Path) -> Answers:
    """Let the kernel of a flavour act out all stories; `folder` is for its answers."""
    program = [sys.executable, str(Path(__file__).with_name("answers.py")), str(folder)]
    guest = run_in_guest(
        image(flavour), [*program, *map(str, STORIES.values())], folder=folder, timeout=PATIENCE
    )
    assert 0 == guest.status, guest.stderr
    return Answers(
        guest,
        {path.stem: load_recording(str(path)) for path in folder.glob("*.jsonl")},
        {path.stem: path.read_text() for path in folder.glob("*.skipped")},
    )
