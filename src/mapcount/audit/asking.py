"""Asking machines about the processes that were chosen: one audit for each, seen together."""

from __future__ import annotations

from collections.abc import Sequence

from mapcount.audit.machine import Progress
from mapcount.audit.machine import audit as audit_machine
from mapcount.audit.overview import Overview
from mapcount.live.selection import NothingSelected, Selection, select
from mapcount.live.snapshot import Source


def ask(sources: Sequence[Source], selection: Selection, on_progress: Progress | None = None) -> Overview:
    """The audits of these sources, as they are now. Raises NothingSelected if no process fits."""
    for source in sources:
        source.pids()  # begins a new moment: what the machine says of itself is read again
    chosen = [(source, select(source, selection)) for source in sources]
    if not any(selected.pids for _, selected in chosen):
        refused = [who for _, selected in chosen for who in selected.unreadable]
        unknown = f"; {len(refused)} would not say who they are: {refused[0]}" if refused else ""
        raise NothingSelected(f"no process fits what was asked for{unknown}")
    return Overview(
        [
            audit_machine(
                source,
                selected.pids,
                refused=selected.unreadable,
                itself=selected.itself,
                whole=selection == Selection() and getattr(source, "everything", True),
                on_progress=on_progress,
            )
            for source, selected in chosen
        ]
    )


def ask_again(
    sources: Sequence[Source], selection: Selection, on_progress: Progress | None = None
) -> Overview | None:
    """The same a while later; None if everybody who was asked for has exited since."""
    if selection.pids and all(source.absent(pid) for source in sources for pid in selection.pids):
        return None
    try:
        return ask(sources, selection, on_progress)
    except NothingSelected:
        return None
