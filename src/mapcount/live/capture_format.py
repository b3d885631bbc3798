"""What a capture is: one directory with the mappings of a machine at one moment.

`meta.json` says which kernel, what of it could be read, and lists the other files with their sizes and
SHA-256. The rest are tables in Parquet, cut into parts of `part_rows` rows so that neither who writes nor
who reads ever holds more: `runs-0000.parquet`, `runs-0001.parquet`, ...

| table | a row is | in the order of |
|---|---|---|
| processes | one address space: name, control group, how many regions and blocks follow | |
| regions | one VMA: place, VmFlags, what smaps says (one column each) | processes |
| blocks | a stretch of an address space: how many runs and large folios it has | processes |
| runs | consecutive pages of one region that map consecutive pages of one folio (`snapshot.Runs`) | blocks |
| folios | what the kernel counts about a large folio (`snapshot.Folios`) | blocks |
| cgroups | a control group's memory.stat and limit | |

Rows point at each other by order and counts alone, so there is nothing to dangle; `pid` stands in every
table of an address space for those who read the tables with other tools.
Folios and places are running numbers unless the capture is `raw`: frame numbers are a secret.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from mapcount.live.snapshot import Folios, MemoryStat, Region, Runs

FORMAT = "mapcount capture"
VERSION = 1
META = "meta.json"
PART_ROWS = 1 << 18
"""Rows of a part, unless `meta.json` says otherwise."""

INT8, INT32, INT64, UINT64 = pl.Int8(), pl.Int32(), pl.Int64(), pl.UInt64()
BOOL, TEXT = pl.Boolean(), pl.String()


class CaptureError(ValueError):
    """A capture that cannot be used; the message names the file and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of a capture."""

    name: str
    columns: Mapping[str, pl.DataType]
    nullable: frozenset[str] = frozenset()
    """Columns in which nothing means "not readable" or "without a limit"."""
    more: str | None = None
    """Further columns start with this: natural numbers, or nothing where the kernel prints none."""

    def part(self, number: int) -> str:
        """The name of a part's file."""
        return f"{self.name}-{number:04}.parquet"

    def frame(self, columns: Mapping[str, object]) -> pl.DataFrame:
        """Rows of this table, from columns."""
        return pl.DataFrame(columns, schema=dict(self.columns))


PROCESSES = Table(
    "processes",
    {
        "pid": INT32,
        "comm": TEXT,
        "cgroup": TEXT,
        "sharing": pl.List(INT32),
        "regions": INT64,
        "blocks": INT64,
    },
)
REGIONS = Table(
    "regions",
    {"pid": INT32, "start": INT64, "nr_pages": INT64, "perms": TEXT, "name": TEXT, "flags": TEXT},
    more="smaps.",
)
BLOCKS = Table("blocks", {"pid": INT32, "runs": INT64, "folios": INT64})
RUNS = Table(
    "runs",
    {
        "pid": INT32,
        "region": INT32,
        "page": INT64,
        "nr": INT32,
        "folio": UINT64,
        "first": INT32,
        "order": INT8,
        "kind": INT8,
        "pmd": INT8,
        "exclusive": BOOL,
        "mapcount": INT32,
    },
)
FOLIOS = Table(
    "folios",
    {
        "pid": INT32,
        "folio": UINT64,
        "order": INT8,
        "kind": INT8,
        "mapped_pages": INT32,
        "sum_mapcount": INT64,
        "cgroup": UINT64,
        "refcount": INT32,
        "large_mapcount": INT32,
        "entire_mapcount": INT32,
        "pincount": INT32,
        "shared": INT8,
        "mm_id_0": INT32,
        "mm_id_1": INT32,
        "mm_id_mapcount_0": INT64,
        "mm_id_mapcount_1": INT64,
        "anon_exclusive": INT32,
    },
)
CGROUPS = Table(
    "cgroups",
    {
        "path": TEXT,
        "inode": UINT64,
        "anon": INT64,
        "file_mapped": INT64,
        "shmem": INT64,
        "limit": INT64,
        "current": INT64,
    },
    nullable=frozenset({"anon", "file_mapped", "shmem", "limit", "current"}),
)
TABLES = {table.name: table for table in (PROCESSES, REGIONS, BLOCKS, RUNS, FOLIOS, CGROUPS)}
"""Every table by its name."""

PAIRS = ("mm_id", "mm_id_mapcount")
"""Columns of `Folios` with one value for each owner slot."""


def storable(text: str) -> str:
    """Text from outside as Parquet can hold it: bytes that are no UTF-8 are spelled out."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def regions_frame(pid: int, regions: Sequence[Region]) -> pl.DataFrame:
    """The regions of one process as rows."""
    fields = dict.fromkeys(name for region in regions for name in region.smaps)
    fixed = REGIONS.frame(
        {
            "pid": [pid] * len(regions),
            "start": [region.start for region in regions],
            "nr_pages": [region.nr_pages for region in regions],
            "perms": [region.perms for region in regions],
            "name": [storable(region.name) for region in regions],
            "flags": [" ".join(sorted(region.flags)) for region in regions],
        }
    )
    return fixed.with_columns(
        pl.Series(f"{REGIONS.more}{name}", [region.smaps.get(name) for region in regions], INT64)
        for name in fields
    )


def regions_of(frame: pl.DataFrame) -> tuple[Region, ...]:
    """Rows as regions."""
    smaps = {name: name.removeprefix("smaps.") for name in frame.columns if name not in REGIONS.columns}
    return tuple(
        Region(
            start=row["start"],
            nr_pages=row["nr_pages"],
            perms=row["perms"],
            name=row["name"],
            flags=frozenset(row["flags"].split()),
            smaps={field: row[name] for name, field in smaps.items() if row[name] is not None},
        )
        for row in frame.iter_rows(named=True)
    )


def runs_frame(pid: int, runs: Runs) -> pl.DataFrame:
    """The runs of one block as rows."""
    return RUNS.frame(_with_pid(pid, len(runs)) | {n: getattr(runs, n) for n in RUNS.columns if n != "pid"})


def runs_of(frame: pl.DataFrame) -> Runs:
    """Rows as the runs of one block."""
    return Runs(**{name: frame[name].to_numpy() for name in RUNS.columns if name != "pid"})


def folios_frame(pid: int, folios: Folios) -> pl.DataFrame:
    """The large folios of one block as rows."""
    single = {name: getattr(folios, name) for name in FOLIOS.columns if hasattr(folios, name)}
    pairs = {f"{name}_{slot}": getattr(folios, name)[:, slot] for name in PAIRS for slot in (0, 1)}
    return FOLIOS.frame(_with_pid(pid, len(folios)) | single | pairs)


def folios_of(frame: pl.DataFrame) -> Folios:
    """Rows as the large folios of one block."""
    pairs = {
        name: np.column_stack([frame[f"{name}_0"].to_numpy(), frame[f"{name}_1"].to_numpy()])
        for name in PAIRS
    }
    single = {
        name: frame[name].to_numpy()
        for name in FOLIOS.columns
        if name != "pid" and not name.startswith(PAIRS)
    }
    return Folios(**single, **pairs)


def cgroups_frame(stats: Sequence[MemoryStat]) -> pl.DataFrame:
    """Control groups as rows."""
    columns = {name: [getattr(stat, name) for stat in stats] for name in CGROUPS.columns}
    return CGROUPS.frame(columns | {"path": [storable(stat.path) for stat in stats]})


def cgroups_of(frame: pl.DataFrame) -> tuple[MemoryStat, ...]:
    """Rows as control groups."""
    return tuple(MemoryStat(**row) for row in frame.iter_rows(named=True))


def _with_pid(pid: int, rows: int) -> dict[str, object]:
    return {"pid": np.full(rows, pid, np.int32)}
