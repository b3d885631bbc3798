"""The gallery: docs/gallery, a page with pictures for each story of scenarios/, made by running it.

`make_docs.py` writes it and checks that it is current. Which group a story belongs to is said here; all else
on the pages, the moments that are shown included, is found by the program. The pages: `gallery_page.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from gallery_page import Story, page, picture_in_page, step_text, svg, told
from mapcount.report.run import largest_difference
from mapcount.report.turns import Turn
from mapcount.scenario.parse import load
from mapcount.tracking.flavour import FLAVOURS

SCENARIOS = Path(__file__).resolve().parent.parent / "scenarios"

GROUPS: Mapping[str, tuple[str, Turn, str]] = {
    "One, two": (
        "Two slots are enough for a parent and a child, whoever leaves first.",
        Turn.TREATED,
        "fork-exec snapshot-database zygote mprotect-half pinned-fork mlock-after-fork mm-id-reuse",
    ),
    "Or many: the one tiny gap": (
        "A third process finds no slot. If it is the one that stays, the kernel is mistaken.",
        Turn.WRONG,
        "third-process prefork double-fork third-process-pmd late-slot slot-overflow-32",
    ),
    "What the mistake costs": (
        "Memory is copied that could be reused, and requests are skipped without a word.",
        Turn.TREATED,
        "madvise-pageout madvise-free",
    ),
    "The kernel knows again": (
        "What sets the counts right, and what does not.",
        Turn.KNOWN,
        "third-process-recovers collapse migration swap-out",
    ),
    "Fuzzier statistics": (
        "Without per-page counts, /proc answers for the whole folio.",
        Turn.SYSTEM,
        "partial-unmap partial-unmap-unseen mremap-half shared-library tmpfs-huge double-mapping"
        " alternating-pages",
    ),
    "What stays exact": (
        "Folios of which only one count exists.",
        Turn.SHARED,
        "small-and-hugetlb ksm",
    ),
    "Before and after": (
        "The guess that was made before 6.15, and the step that is proposed.",
        Turn.WRONG,
        "wrongly-exclusive giant-folio",
    ),
}
"""The stories in the order in which they tell the article: group, what it is about, the kind of moment that
stands for it, stories."""


@cache
def files() -> Mapping[str, str]:
    """Every file of the gallery: its name, its text."""
    names = [name for _, _, some in GROUPS.values() for name in some.split()]
    stories = [told(load(SCENARIOS / f"{name}.scn")) for name in names]
    made = {"README.md": index(stories)}
    for i, story in enumerate(stories):
        around = (stories[i - 1] if i else None), (stories[i + 1] if i + 1 < len(stories) else None)
        made[f"{story.scenario.name}.md"] = page(story, *around)
        for number, moment in enumerate(story.moments, 1):
            made[f"{story.scenario.name}-{number}.svg"] = svg(story, moment)
    return made


def index(stories: Sequence[Story]) -> str:
    """The list of all stories, group by group, with how wrong each kernel gets."""
    by_name = {story.scenario.name: story for story in stories}
    lines = [
        "<!-- Made by tools/gallery.py from scenarios/: change it there, then run make docs. -->",
        "# Gallery",
        "",
        "Every story of `scenarios/`, acted out on four kernels, in the order in which they explain how",
        "Linux tracks who maps a large folio. Each page has the moments that matter, the rules that decided,",
        "and what /proc said.",
        "",
        "*Wrong* is the number of steps after which the kernel's estimate is wrong about some folio, of all",
        "steps in which something happens. *Uss* and *Pss*: by how much a process's is changed at most by",
        "dropping the per-page counts, mistakes and averages together.",
    ]
    for group, (about, turn, names) in GROUPS.items():
        some = [by_name[name] for name in names.split()]
        story, moment = next((s, m) for s in some for m in s.moments if m.turn is turn)
        lines += ["", f"## {group}", "", about, "", *picture_in_page(story, moment), ""]
        lines += [
            f"*After `{step_text(story, moment)}` in [{story.scenario.name}]({story.scenario.name}.md).*",
            "",
        ]
        lines += ["| story | wrong: " + " | ".join(FLAVOURS) + " | Uss | Pss |"]
        lines += ["|---|" + "---|" * (len(FLAVOURS) + 2)]
        lines += [f"| {_row(one)} |" for one in some]
    return "\n".join([*lines, ""])


def _row(story: Story) -> str:
    acted = len(story.played[0].run.acted)
    wrong = [sum(step.seen.wrong_folios > 0 for step in one.run.acted) for one in story.played]
    by_page, by_folio = (
        next(one.run for one in story.played if one.run.flavour.name == name)
        for name in ("page-mapcount", "no-page-mapcount")
    )
    off = [largest_difference(by_folio, by_page, field) for field in ("uss", "pss")]
    cells = [f"**{n}** of {acted}" if n else "0" for n in wrong]
    return " | ".join([f"[{story.title}]({story.scenario.name}.md)", *cells, *off])
