"""Kernel memory by drgn, an optional package: /proc/kcore, or the core dump of a kernel that died."""

from __future__ import annotations

import contextlib
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from mapcount.live.kernel_memory import check_size
from mapcount.live.snapshot import U64, Bool, CannotHere


class DrgnMemory:
    """The memory of the running kernel by /proc/kcore, or that of a dead one by its core dump."""

    def __init__(self, core: str | None = None) -> None:
        """Open a core dump, or /proc/kcore unless said. Raises CannotHere."""
        what = core or "/proc/kcore"
        try:
            import drgn
        except ImportError:
            raise CannotHere("drgn is not installed; pip install 'mapcount[drgn]' adds it") from None
        self._fault: type[Exception] = drgn.FaultError
        self._program = drgn.Program()
        try:
            if core is None:
                self._program.set_kernel()
            else:
                self._program.set_core_dump(core)
        except (OSError, ValueError, drgn.FaultError) as error:
            reason = (isinstance(error, OSError) and error.strerror) or str(error)
            raise CannotHere(f"{what}: {reason}") from None
        wanted = drgn.PlatformFlags.IS_64_BIT | drgn.PlatformFlags.IS_LITTLE_ENDIAN
        if not self._program.flags & drgn.ProgramFlags.IS_LINUX_KERNEL:
            raise CannotHere(f"{what}: is no core dump of a Linux kernel")
        if self._program.platform is None or self._program.platform.flags & wanted != wanted:
            raise CannotHere(f"{what}: is not of a 64-bit little-endian machine")
        self.live = core is None
        self.release = self._text("UTS_RELEASE")

    def read(self, addresses: U64, size: int) -> tuple[NDArray[np.uint8], Bool]:
        """See KernelMemory.read."""
        check_size(size)
        found = np.zeros((len(addresses), size), np.uint8)
        ok = np.zeros(len(addresses), np.bool_)
        for i, address in enumerate(addresses.tolist()):
            with contextlib.suppress(self._fault):
                found[i] = np.frombuffer(self._program.read(address, size), np.uint8)
                ok[i] = True
        return found, ok

    def current_task(self) -> None:
        """See KernelMemory.current_task: a dump has no thread of ours."""

    def vmcoreinfo(self) -> str:
        """See KernelMemory.vmcoreinfo."""
        return self._text("VMCOREINFO")

    def _text(self, name: str) -> str:
        """One of the texts that every dump of a kernel has."""
        return bytes(self._program[name].string_()).decode("utf-8", "backslashreplace")

    def __enter__(self) -> DrgnMemory:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing to do: drgn closes the file when the last reference goes."""
