"""`mapcount capture`: what audit needs to know of a machine, on disk."""

from __future__ import annotations

import json
from pathlib import Path

import click

from mapcount.cli import CANNOT, INTERRUPTED, USAGE
from mapcount.cli.ending import end, show_progress
from mapcount.cli.selecting import selection_of, selection_options


@click.command(epilog="Example: mapcount capture --cgroup /system.slice/postgresql.service -o db.capture")
@selection_options
@click.option(
    "-o", "target", required=True, metavar="DIR", help="The directory to write; it must not exist yet."
)
@click.option("--force", is_flag=True, help="Replace a capture at DIR, in one step and only when done.")
@click.option(
    "--raw",
    is_flag=True,
    help="Keep frame numbers and addresses. They help to attack the machine: unless said, running numbers "
    "stand in their place.",
)
@click.option(
    "--anonymise",
    is_flag=True,
    help="Replace the names of processes, files and control groups by process-1, file-1, cgroup-1.",
)
@click.option("--json", "as_json", is_flag=True, help="What was written, as JSON.")
def capture(
    pids: tuple[int, ...],
    cgroups: tuple[str, ...],
    comms: tuple[str, ...],
    everything: bool,
    target: str,
    force: bool,
    raw: bool,
    anonymise: bool,
    as_json: bool,
) -> None:
    """Write down what audit needs to know of a machine.

    Reads what each process asked for maps, and what the kernel counts about it, into a directory DIR of
    Parquet files: `mapcount audit --from DIR` gives the answers of this moment, on any machine. Only reads
    (/proc, /sys, the kernel's struct folio where it can be read) and stops no process. Root sees everything;
    what could not be read is named. Exit 3: nothing could be read, or the disk is full; nothing was written.
    """
    from mapcount.audit.reading import Reading
    from mapcount.live.capture_write import Hiding, write_capture
    from mapcount.live.live_source import open_live_source
    from mapcount.live.selection import NothingSelected
    from mapcount.live.snapshot import CannotHere
    from mapcount.report.capture import draw_written, written_as_data
    from mapcount.scenario.syntax import visible

    selection = selection_of(pids, cgroups, comms, everything=everything)
    hiding = Hiding(places=not raw, names=anonymise)
    try:
        with open_live_source() as source:
            written = write_capture(
                source,
                selection,
                Path(target),
                hiding=hiding,
                force=force,
                reading=Reading,
                progress=lambda done, of: show_progress(done, of, "processes"),
            )
    except (FileExistsError, NotADirectoryError, NothingSelected) as error:
        end(visible(str(error)), USAGE)
    except CannotHere as error:
        end(visible(str(error)), CANNOT)
    except OSError as error:
        end(visible(f"{error.filename or target}: {error.strerror}: nothing was written"), CANNOT)
    except KeyboardInterrupt:
        end("interrupted: nothing was written", INTERRUPTED)
    if as_json:
        click.echo(json.dumps(written_as_data(written, hiding), indent=1))
    else:
        click.echo("\n".join(draw_written(written, hiding)))
