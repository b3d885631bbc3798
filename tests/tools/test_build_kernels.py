"""Building kernels, as far as it goes without building one."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
ACCEPTS_ALL = "allnoconfig:\n\t@grep -v =n $(KCONFIG_ALLCONFIG) > $(O)/.config\n"
"""What of a kernel's Makefile configures it; `n` is to be left out."""


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("build_kernels", ROOT / "tools" / "build_kernels.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def all_tools(tool: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is missing."""
    monkeypatch.setattr(tool, "PACKAGES", {})


def tree(folder: Path, makefile: str) -> Path:
    """A source tree of which nothing but the head of its Makefile is there."""
    (folder / "Makefile").write_text(makefile)
    return folder


def test_missing_programs_are_named_by_package(
    tool: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A machine without compilers exits 3, and the message says which packages to install."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert 3 == tool.main([str(tmp_path)])
    said = capsys.readouterr().err
    assert {"flex", "dwarves", "qemu-system-x86"} <= set(said.split())
    assert "--install" in said


@pytest.mark.usefixtures("all_tools")
@pytest.mark.parametrize(
    ("makefile", "reason"),
    [
        (None, "No such file or directory"),
        ("all:\n", "names no version"),
        ("VERSION = 6\nPATCHLEVEL = 14\n", r"Linux 6.14 has no owner slots"),
    ],
)
def test_a_source_that_will_not_do_is_refused(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], makefile: str | None, reason: str
) -> None:
    """What is no kernel tree, or one from before 6.15, exits 2 before anything is built."""
    source = tmp_path / "linux"
    source.mkdir()
    if makefile is not None:
        tree(source, makefile)
    assert 2 == tool.main([str(tmp_path / "out"), "--source", str(source)])
    said = capsys.readouterr().err
    assert str(source) in said
    assert reason in said


@pytest.mark.usefixtures("all_tools")
@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_a_setting_that_the_source_does_not_accept_is_named(
    tool: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A tree without CONFIG_NO_PAGE_MAPCOUNT is not built with something else in its place."""
    accepts = "grep -v NO_PAGE_MAPCOUNT $(KCONFIG_ALLCONFIG) > $(O)/.config"
    source = tree(tmp_path, f"VERSION = 7\nPATCHLEVEL = 3\nallnoconfig:\n\t@{accepts}\n")
    with pytest.raises(tool.CannotBuild, match="CONFIG_NO_PAGE_MAPCOUNT=y"):
        tool.configure(source, tmp_path / "objects", "CONFIG_NO_PAGE_MAPCOUNT=y")
    assert "" == capsys.readouterr().out


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_a_configuration_is_made_once(tool: ModuleType, tmp_path: Path) -> None:
    """The same settings again change nothing; others do."""
    source = tree(tmp_path, ACCEPTS_ALL)
    made = [tool.configure(source, tmp_path / "o", f"CONFIG_NO_PAGE_MAPCOUNT={value}") for value in "yyy"]
    assert [True, False, False] == made
    assert tool.configure(source, tmp_path / "o", "CONFIG_SLUB=y")


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_the_second_kernel_begins_with_the_objects_of_the_first(tool: ModuleType, tmp_path: Path) -> None:
    """What was compiled for one kernel is there for the other; its configuration is the other's own."""
    source = tree(tmp_path, ACCEPTS_ALL)
    tool.configure(source, tmp_path / "objects" / "one", "CONFIG_SLUB=y")
    (tmp_path / "objects" / "one" / "fork.o").write_bytes(b"compiled")
    tool.configure(source, tmp_path / "objects" / "two", "CONFIG_SMP=y")
    assert b"compiled" == (tmp_path / "objects" / "two" / "fork.o").read_bytes()
    assert "CONFIG_SLUB" not in (tmp_path / "objects" / "two" / ".config").read_text()


@pytest.mark.parametrize(
    ("setting", "holds"),
    [
        ("CONFIG_SWAP=y", True),
        ("CONFIG_SWAP=n", False),
        ("CONFIG_NUMA=n", True),
        ("CONFIG_NUMA=y", False),
        ("CONFIG_HZ=100", True),
    ],
)
def test_what_a_configuration_holds(tool: ModuleType, setting: str, holds: bool) -> None:
    """`n` means that there is no line of that name."""
    config = {"CONFIG_SWAP=y", "# CONFIG_NUMA is not set", "CONFIG_HZ=100"}
    assert holds == tool._holds(setting, config)


def test_fragments_say_everything_once() -> None:
    """No setting is in two fragments, or twice in one: which of them counts would be left to order."""
    names = [
        line.partition("=")[0]
        for path in (ROOT / "tools" / "kernel-config").glob("*.config")
        for line in path.read_text().splitlines()
        if line.startswith("CONFIG_")
    ]
    assert sorted(set(names)) == sorted(names)
