"""`mapcount layout`: where each field of struct folio lies, before beside after."""

from __future__ import annotations

import json

import click

from mapcount.cli.html_file import check_html, write_html
from mapcount.tracking.flavour import FLAVOURS, PAGE_MAPCOUNT, TOTAL_MAPPED_PAGES, V6_14
from mapcount.tracking.layout import layout_of, problems

WIDEST = 100
"""The drawing is never wider than this."""


@click.command(
    epilog="\b\nExamples:\n"
    "  mapcount layout\n"
    "  mapcount layout --flavour no-page-mapcount --bits 32\n"
    "  mapcount layout --flavour page-mapcount --flavour total-mapped-pages\n"
    "  mapcount layout --json | jq '.changes[] | select(.kind == \"moved\")'"
)
@click.option(
    "--flavour",
    "names",
    metavar="NAME",
    type=click.Choice(list(FLAVOURS)),
    multiple=True,
    help="Draw this flavour beside v6.14; v6.14 alone is drawn by itself. "
    f"Twice: the first beside the second. One of {', '.join(FLAVOURS)}.  [default: {PAGE_MAPCOUNT}]",
)
@click.option(
    "--bits",
    type=click.Choice(["64", "32"]),
    default="64",
    show_default=True,
    help="Width of a machine word.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the layouts, changes and problems as JSON.")
@click.option(
    "--html",
    "html",
    metavar="FILE",
    help="Write a page to look at instead: every flavour, 64 and 32 bits, complete in one file.",
)
@click.option("--force", is_flag=True, help="Replace what is at FILE.")
@click.pass_context
def layout(
    ctx: click.Context, names: tuple[str, ...], bits: str, as_json: bool, html: str | None, force: bool
) -> None:
    """Draw struct folio, before beside after: how room was made for the owner slots.

    One line is one machine word of the struct pages that a folio is laid over. Nothing is read from
    this machine: the offsets are the declared ones that mapcount decodes memory with, and each says
    how it is known.

    Exits with 1 if a layout cannot work: if fields of one folio overlap, if one lies on a word that
    a tail page needs itself, or if an order-1 folio needs one beyond its two pages.
    """
    flavours = [FLAVOURS[name] for name in names] or [PAGE_MAPCOUNT]
    if len(flavours) == 1 and flavours[0] is not V6_14:
        flavours.insert(0, V6_14)
    if len(flavours) > 2 or len(set(flavours)) < len(flavours):
        raise click.UsageError("--flavour takes one flavour, or two different ones: before and after.")
    layouts = [layout_of(flavour.on(int(bits))) for flavour in flavours]

    from mapcount.report.layout import draw_layouts, layouts_as_data

    check_html(html, force=force)
    if html is not None:
        from mapcount.report.html.layout_page import layout_page

        shown = layouts if names else [*layouts, layout_of(TOTAL_MAPPED_PAGES.on(int(bits)))]
        write_html(html, layout_page(shown), force=force)
    if as_json:
        click.echo(json.dumps(layouts_as_data(layouts), indent=2))
    elif html is None:
        from rich.console import Console

        console = Console(highlight=False)
        console.print(draw_layouts(layouts, min(console.width, WIDEST)), soft_wrap=True)
    if any(problems(one) for one in layouts):
        ctx.exit(1)
