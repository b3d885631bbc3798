"""The shape of the package: imports point down only, and modules stay short enough to read."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "mapcount"
LAYERS = ["tracking", "schemes", "sim", "scenario"]
LAYERS += ["live", "audit", "conform", "bench", "replay", "check", "report", "cli"]
"""Lowest first: each may import from itself and from those before it."""
THIRD_PARTY = {
    "replay": {"numpy", "numba", "polars", "dask", "distributed"},
    "live": {"numpy", "polars", "drgn"},
    "audit": {"numpy", "polars"},
    "conform": {"numpy"},
    "bench": {"numpy"},
    "check": {"numpy", "numba"},
    "report": {"rich", "polars", "jinja2", "markupsafe", "textual"},
    "cli": {"rich", "click"},
}
"""What else a layer may import, besides the standard library."""
LONGEST = 400
"""Lines of the longest module."""

MODULES = sorted(PACKAGE.rglob("*.py"))


def _name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def _imports(text: str) -> Iterator[str]:
    """Every module imported anywhere in a source text, also inside functions and for types only."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _forbidden(layer: str, imported: str) -> bool:
    top, *inside = imported.split(".")
    if top == "mapcount":
        return bool(inside) and inside[0] not in LAYERS[: LAYERS.index(layer) + 1]
    return top not in sys.stdlib_module_names and top not in THIRD_PARTY.get(layer, set())


def test_every_package_is_a_layer() -> None:
    """A new package needs a place in the order of layers."""
    packages = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert set(LAYERS) == packages


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_down(layer: str) -> None:
    """A layer imports from itself, from those below it, and the few packages that it is allowed."""
    found = [
        f"{_name(path)} imports {imported}"
        for path in sorted((PACKAGE / layer).rglob("*.py"))
        for imported in _imports(path.read_text(encoding="utf-8"))
        if _forbidden(layer, imported)
    ]
    assert [] == found


def test_an_import_that_points_up_is_noticed() -> None:
    """The rule above sees imports from a higher layer, inside functions too, and foreign packages."""
    text = "def f():\n    from mapcount.sim.mm import Mm\nimport rich\nimport heapq\n"
    assert {"mapcount.sim.mm.Mm", "rich"} == {n for n in _imports(text) if _forbidden("tracking", n)}


def test_counters_never_look_at_the_truth() -> None:
    """In the core, nothing but the invariants imports the truth about who maps a folio."""
    importing = {
        path.name
        for path in (PACKAGE / "tracking").glob("*.py")
        if any(
            name.startswith("mapcount.tracking.truth") for name in _imports(path.read_text(encoding="utf-8"))
        )
    }
    assert {"invariants.py"} == importing - {"__init__.py"}


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_modules_are_short(path: Path) -> None:
    """A module that does not fit on a few screens is cut in two."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST


def test_help_imports_nothing_heavy() -> None:
    """`mapcount --help` answers at once: what a command needs is imported when it is called."""
    heavy = {"rich", "numpy", "numba", "polars", "drgn", "dask"}
    code = "import sys, mapcount.cli; print(*{n.partition('.')[0] for n in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set() == heavy & set(done.stdout.split())
