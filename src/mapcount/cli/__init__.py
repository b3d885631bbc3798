"""The command line. Each command is a module of its own; what one needs is imported when it is called."""

from __future__ import annotations

import atexit
import contextlib
import gc
import os
import sys
from importlib import import_module
from typing import Any

import click

COMMANDS = {
    "run": "Run scenarios on kernels side by side: estimate against truth, /proc, cost.",
    "audit": "Ask a machine: Pss, Uss and statistics now and under each kernel; mistakes.",
    "top": "Watch a machine full-screen: who changes, who is mistaken, folio by folio.",
    "capture": "Write down what audit needs to know of a machine.",
    "conform": "Act scenarios out with real processes; is the kernel as simulated?",
    "bench": "Measure what fork, munmap and copy-on-write cost on this kernel.",
    "check": "Prove it in small worlds: every reachable state, every invariant.",
    "replay": "Replay a trace of mapping events, billions if need be; or make one.",
    "compare": "Compare schemes on a trace: how often wrong, and at what cost?",
    "layout": "Draw struct folio before and after owner tracking.",
}
"""Every command and its line in `mapcount --help`."""

FINDING, USAGE, CANNOT = 1, 2, 3
"""Exit codes: 1 a finding, 2 wrong usage or input, 3 this machine cannot."""
INTERRUPTED, CLOSED_PIPE = 130, 141
"""Exit codes after Ctrl-C, and when nobody reads the output any more, as a shell has them."""


class Commands(click.Group):
    """Commands that are imported only when they are called, so that `--help` answers at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The commands, in the order of their importance."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        if cmd_name not in COMMANDS:
            return None
        command = getattr(import_module(f"mapcount.cli.{cmd_name}"), cmd_name)
        assert isinstance(command, click.Command)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command. Whatever becomes of standard output, and Ctrl-C, ends it without a traceback."""
        if sys.stdout is None:
            click.echo("standard output is closed: there is nowhere to write to", err=True)
            sys.exit(CANNOT)
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)
        except BrokenPipeError:
            _forget_output()
            sys.exit(CLOSED_PIPE)
        except OSError as error:
            _forget_output()
            click.echo(f"{error.filename or 'standard output'}: {error.strerror or error}", err=True)
            sys.exit(CANNOT)
        return result

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `--help`, without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="mapcount", message="%(prog)s %(version)s")
def mapcount() -> None:
    """Who maps each folio of memory, does the kernel know it, and what does it tell user space?

    Exit codes: 0 it holds, 1 a finding, 2 wrong usage or input, 3 this machine cannot.
    """


def _forget_output() -> None:
    """Nothing more is written to standard output, not even what is waiting there."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def main() -> None:
    """Entry point."""
    # All memory goes with the process; looking for garbage in it first is a third of a short command's time.
    atexit.register(gc.freeze)
    mapcount(prog_name="mapcount")
