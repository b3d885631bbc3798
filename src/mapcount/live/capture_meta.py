"""`meta.json`: which kernel a capture is of, what could not be read, and which files belong to it."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from mapcount.live.capture_check import check_machine, check_pid
from mapcount.live.capture_format import FORMAT, META, TABLES, VERSION, CaptureError, storable
from mapcount.live.capture_tables import MOST_BYTES, NOT_REGULAR, Part, read_checked, write_durably
from mapcount.live.snapshot import Machine, Unreadable
from mapcount.tracking.flavour import FLAVOURS, Flavour

MOST_META_BYTES = 1 << 23
"""With 160 bytes for each file: some 50,000 of them, or 10^10 runs."""
MOST_PART_ROWS = 1 << 20

PART_NAME = re.compile(rf"({'|'.join(TABLES)})-([0-9]{{4,9}})\.parquet")

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Meta:
    """What `meta.json` says."""

    when: str
    """Date and time (ISO 8601, UTC) at which the capture was finished."""
    everything: bool
    """Was every process asked for? If not, those left out still share what is seen here."""
    raw: bool
    """Are folios named by their frame and regions by their address?"""
    anonymised: bool
    machine: Machine
    unreadable: tuple[Unreadable, ...]
    own_pid: int | None
    """The process that made the capture, which may be in it; None if that is not known."""
    part_rows: int
    parts: Mapping[str, tuple[Part, ...]]
    """The files of each table."""


def write_meta(folder: Path, meta: Meta) -> int:
    """Write it; its size in bytes. Raises OSError."""
    machine = meta.machine
    said = {
        "format": FORMAT,
        "version": VERSION,
        "when": meta.when,
        "everything": meta.everything,
        "raw": meta.raw,
        "anonymised": meta.anonymised,
        "machine": {
            "release": machine.release,
            "flavour": machine.flavour.name,
            "bits": machine.flavour.bits,
            "page_size": machine.page_size,
            "pmd_order": machine.pmd_order,
            "frames": machine.frames,
            "levels": machine.levels,
            "folios": machine.folios,
            "limits": list(machine.limits),
            "meminfo": dict(machine.meminfo),
            "thp": dict(machine.thp),
        },
        "unreadable": [
            {"pid": who.pid, "comm": storable(who.comm), "reason": storable(who.reason)}
            for who in meta.unreadable
        ],
        "own_pid": meta.own_pid,
        "part_rows": meta.part_rows,
        "files": {
            TABLES[name].part(number): asdict(part)
            for name, parts in meta.parts.items()
            for number, part in enumerate(parts)
        },
    }
    content = (json.dumps(said, indent=1) + "\n").encode()
    write_durably(folder / META, content)
    return len(content)


def is_capture_file(name: str) -> bool:
    """May a capture have a file of this name?"""
    return name == META or PART_NAME.fullmatch(name) is not None


def is_capture(path: Path) -> bool:
    """Is this a directory with the files of a capture (of any version), and no others?"""
    if path.is_symlink() or not path.is_dir():
        return False
    if not all(map(is_capture_file, os.listdir(path))):
        return False
    try:
        _load(path / META)
    except CaptureError:
        return False
    return True


def read_meta(folder: Path) -> Meta:
    """Read and check it, and that all its files are there and no others. Raises CaptureError."""
    where = folder / META
    if not folder.is_dir():
        raise CaptureError(f"{folder}: is no directory; a capture is one, with a {META} in it")
    if not os.path.lexists(where):
        raise CaptureError(f"{folder}: is no capture: it has no {META}")
    said = _load(where)
    version = _get(where, said, "version", int)
    if version > VERSION:
        raise CaptureError(
            f"{where}: has version {version}, newer than {VERSION}: update mapcount to read it"
        )
    if version < 1:
        raise CaptureError(f"{where}: version is {version}, the first was 1")
    part_rows = _get(where, said, "part_rows", int)
    if not 1 <= part_rows <= MOST_PART_ROWS:
        raise CaptureError(f"{where}: part_rows is {part_rows}, it should be from 1 to {MOST_PART_ROWS}")
    return Meta(
        when=_get(where, said, "when", str),
        everything=_get(where, said, "everything", bool),
        raw=_get(where, said, "raw", bool),
        anonymised=_get(where, said, "anonymised", bool),
        machine=_machine(where, _get(where, said, "machine", dict)),
        unreadable=tuple(_unreadable(where, who) for who in _get(where, said, "unreadable", list)),
        own_pid=_own_pid(where, said),
        part_rows=part_rows,
        parts=_parts(folder, _get(where, said, "files", dict), part_rows),
    )


def _load(where: Path) -> dict[str, object]:
    try:
        said = json.loads(read_checked(where, MOST_META_BYTES))
    except (ValueError, RecursionError) as error:
        if isinstance(error, CaptureError):
            raise
        raise CaptureError(f"{where}: is no JSON that can be read") from None
    if not isinstance(said, dict) or said.get("format") != FORMAT:
        raise CaptureError(f"{where}: is not that of a capture: it has no format {FORMAT!r}")
    return said


def _get(where: object, said: Mapping[str, object], name: str, kind: type[T]) -> T:
    """A value that must be there and of this type exactly (true is no number)."""
    if name not in said:
        raise CaptureError(f"{where}: has no {name!r}")
    value = said[name]
    if type(value) is not kind:
        raise CaptureError(f"{where}: {name} is a {type(value).__name__}, it should be a {kind.__name__}")
    return value


def _machine(where: Path, said: Mapping[str, object]) -> Machine:
    machine = Machine(
        release=_get(where, said, "release", str),
        flavour=_flavour(where, _get(where, said, "flavour", str), _get(where, said, "bits", int)),
        page_size=_get(where, said, "page_size", int),
        pmd_order=_get(where, said, "pmd_order", int),
        meminfo=_all(where, _get(where, said, "meminfo", dict), int),
        thp=_all(where, _get(where, said, "thp", dict), str),
        frames=_get(where, said, "frames", bool),
        levels=_get(where, said, "levels", bool),
        folios=_get(where, said, "folios", bool),
        limits=tuple(
            _all(where, dict(enumerate(_get(where, said, "limits", list), 1)), str).values()  # type: ignore[arg-type]
        ),
    )
    check_machine(str(where), machine)
    return machine


def _flavour(where: Path, name: str, bits: int) -> Flavour:
    if name not in FLAVOURS or bits not in (32, 64):
        known = ", ".join(FLAVOURS)
        raise CaptureError(
            f"{where}: the kernel is {name!r} of {bits} bits; known are {known} of 32 or 64 bits"
        )
    return FLAVOURS[name].on(bits)


def _all(where: Path, said: Mapping[str, object], kind: type[T]) -> dict[str, T]:
    return {name: _get(where, said, name, kind) for name in said}


def _unreadable(where: Path, said: object) -> Unreadable:
    if not isinstance(said, dict):
        raise CaptureError(f"{where}: a process that could not be read has no pid, comm and reason")
    pid = _get(where, said, "pid", int)
    check_pid(str(where), pid)
    return Unreadable(pid, _get(where, said, "comm", str), _get(where, said, "reason", str))


def _own_pid(where: Path, said: Mapping[str, object]) -> int | None:
    """Nothing in captures made before it was written down."""
    if said.get("own_pid") is None:
        return None
    pid = _get(where, said, "own_pid", int)
    check_pid(str(where), pid)
    return pid


def _parts(folder: Path, files: Mapping[str, object], part_rows: int) -> dict[str, tuple[Part, ...]]:
    """The parts of every table: numbered without gaps, all full but the last, each there."""
    found: dict[str, dict[int, Part]] = {name: {} for name in TABLES}
    for file, said in files.items():
        name = PART_NAME.fullmatch(file)
        if name is None or not isinstance(said, dict):
            raise CaptureError(f"{folder / META}: {file!r} is no file of a capture")
        where = f"{folder / META}: {file}"
        part = Part(
            _get(where, said, "rows", int), _get(where, said, "bytes", int), _get(where, said, "sha256", str)
        )
        if not (1 <= part.rows <= part_rows and 0 < part.bytes <= MOST_BYTES):
            raise CaptureError(f"{where}: has {part.rows} rows and {part.bytes} bytes, which no part has")
        _check_there(folder / file, part)
        found[name[1]][int(name[2])] = part
    for file in os.listdir(folder):
        if file.endswith(".parquet") and file not in files:
            raise CaptureError(f"{folder / file}: is not in {META}, so it is not of this capture")
    for table, parts in found.items():
        full = [parts[number].rows == part_rows for number in sorted(parts)]
        if sorted(parts) != list(range(len(parts))) or not all(full[:-1]):
            raise CaptureError(f"{folder / META}: the parts of {table} have gaps")
    return {table: tuple(parts[number] for number in sorted(parts)) for table, parts in found.items()}


def _check_there(path: Path, part: Part) -> None:
    try:
        found = path.lstat()
    except OSError as error:
        raise CaptureError(f"{path}: {error.strerror}; {META} says it is there") from None
    if not stat.S_ISREG(found.st_mode):
        raise CaptureError(f"{path}: {NOT_REGULAR}")
    if found.st_size != part.bytes:
        raise CaptureError(f"{path}: has {found.st_size} bytes, {META} says {part.bytes}")
