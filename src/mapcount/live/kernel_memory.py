"""Reading a kernel's memory: many small pieces at once, none of them ever written.

Two ways behind one interface: `bpf_memory` asks the running kernel through a tiny BPF program; `drgn_memory`
reads /proc/kcore or a core dump. An address that nothing is mapped at is no error: the piece comes back
marked as not ok.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mapcount.live.snapshot import U64, Bool

MOST_BYTES = 4096
"""The largest piece."""


class KernelMemory(Protocol):
    """Who can read kernel memory. A context manager."""

    def read(self, addresses: U64, size: int) -> tuple[NDArray[np.uint8], Bool]:
        """The `size` bytes at each address, shape (n, size), and which of them were readable.

        What was not readable is zeros. Raises ValueError for a size beyond MOST_BYTES.
        """

    @property
    def release(self) -> str:
        """Of the kernel whose memory it is, as `uname -r` says."""

    @property
    def live(self) -> bool:
        """Is it the kernel that runs us?"""

    def current_task(self) -> int | None:
        """Where this thread's task_struct is; None if there is no way to tell."""

    def vmcoreinfo(self) -> str | None:
        """What the kernel leaves for crash tools, lines of KEY=VALUE; None if there is no way to tell."""

    def __enter__(self) -> KernelMemory: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


def check_size(size: int) -> None:
    """Raises ValueError for a size that no piece can have."""
    if not 0 <= size <= MOST_BYTES:
        raise ValueError(f"a piece has 0 to {MOST_BYTES} bytes, not {size}")
