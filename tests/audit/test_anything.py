"""Whatever a source gives, an audit of it ends in a report, in JSON and in tables: never in a traceback."""

from __future__ import annotations

import io
import json

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console
from tests.live.fakes import MemorySource
from tests.live.strategies import sources

from mapcount.audit.machine import audit
from mapcount.audit.overview import SORT_KEYS, Overview
from mapcount.report.audit import draw_audit
from mapcount.report.audit_data import audit_as_data
from mapcount.report.audit_files import TABLES


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(sources(), min_size=1, max_size=2), st.sampled_from(sorted(SORT_KEYS)), st.integers(40, 130))
def test_anything_is_reported(found: list[MemorySource], sort: str, width: int) -> None:
    """Counts that contradict each other lead to numbers that mean little, and to nothing worse."""
    overview = Overview([audit(source, source.pids(), whole=True) for source in found])
    rows = overview.chosen(sort)
    assert len(rows) == len(overview.rows)
    out = io.StringIO()
    Console(file=out, width=width).print(*draw_audit(overview, rows, width=width), sep="\n")
    assert all(char.isprintable() or char == "\n" for char in out.getvalue())
    assert json.loads(json.dumps(audit_as_data(overview, rows)))["machines"]
    for table in TABLES.values():
        assert all(len(table(overview, rows).names) == len(row) for row in table(overview, rows).rows)


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(sources())
def test_every_folio_is_counted_once(source: MemorySource) -> None:
    """Large folios that are read are all in the table, each once, and never judged in two ways."""
    found = audit(source, source.pids(), whole=True)
    assert found.machine == source.machine
    for row in found.folios:
        assert row.folios >= row.exclusive + row.shared
        assert row.exclusive >= row.mistaken_for_shared
        assert row.shared >= row.mistaken_for_exclusive
        assert row.folios >= row.by_pte + row.by_pmd + row.by_both
