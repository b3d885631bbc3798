"""Core dumps of kernels for tests: an ELF file with some memory, and the note that makes it a kernel's."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from pathlib import Path

PT_LOAD, PT_NOTE, ET_CORE, EM_X86_64 = 1, 4, 4, 62
NO_ADDRESS = (1 << 64) - 1


def write_core(path: Path, segments: Iterable[tuple[int, bytes]], info: str, machine: int = EM_X86_64) -> str:
    """A dump with these (virtual address, bytes); `info` is its VMCOREINFO. Gives the path as text."""
    notes = _note(b"VMCOREINFO", info.encode()) if info else _note(b"CORE", b"")
    bodies = [(PT_NOTE, 0, notes), *((PT_LOAD, address, data) for address, data in segments)]
    at, headers = 64 + 56 * len(bodies), b""
    for kind, address, data in bodies:
        headers += struct.pack("<2I6Q", kind, 4, at, address, NO_ADDRESS, len(data), len(data), 0)
        at += len(data)
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    head = struct.pack("<2HI3QI6H", ET_CORE, machine, 1, 0, 64, 0, 0, 64, 56, len(bodies), 0, 0, 0)
    path.write_bytes(ident + head + headers + b"".join(data for _, _, data in bodies))
    return str(path)


def _note(name: bytes, text: bytes) -> bytes:
    padded = (part + bytes(-len(part) % 4) for part in (name + b"\0", text))
    return struct.pack("<3I", len(name) + 1, len(text), 0) + b"".join(padded)
