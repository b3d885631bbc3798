"""An audit as a page: whose numbers are others on another kernel, and where this one is mistaken."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.text import Text

from mapcount.audit.overview import Overview, Row
from mapcount.audit.statistics import PREDICTED
from mapcount.report.audit_data import audit_as_data
from mapcount.report.audit_reservations import draw_reservations
from mapcount.report.audit_summary import draw_head, draw_reasons
from mapcount.report.html.page import render
from mapcount.scenario.syntax import visible


def audit_page(overview: Overview, rows: Sequence[Row]) -> bytes:
    """The page. `rows`: the processes to list."""
    return render(
        "audit.html",
        data=audit_page_data(overview, rows),
        styles=["table.css", "audit.css"],
        scripts=["table.js", "audit.js"],
        title=f"What {overview.then.name} would change",
        head=_lines(draw_head(overview)),
        reasons=_lines(draw_reasons(overview)) if overview.predicted else [],
        reservations=_lines(draw_reservations(overview)),
        unread=[
            f"{unread.comm or 'a process'} ({unread.pid}): {unread.reason}"
            for audit in overview.audits
            for unread in audit.unreadable
        ],
    )


def audit_page_data(overview: Overview, rows: Sequence[Row]) -> dict[str, Any]:
    """As `audit --json`, control characters spelled out, and the kernels that there are answers for."""
    data = _shown(audit_as_data(overview, rows))
    assert isinstance(data, dict)
    return data | {"kernels": [flavour.name for flavour in PREDICTED], "predicted": overview.predicted}


def _shown(value: Any) -> Any:
    """The same with every string made visible."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {_shown(key): _shown(of) for key, of in value.items()}
    return [_shown(each) for each in value] if isinstance(value, list) else value


def _lines(drawn: Any) -> list[str]:
    """The text of a report's lines, without their style."""
    return [line.plain.strip() for line in drawn if isinstance(line, Text) and line.plain.strip()]
