"""The documentation is true: what it shows is what happens, and nothing is left undocumented."""

import importlib.util
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import click
import pytest

from mapcount.cli import COMMANDS, mapcount
from mapcount.scenario.compare import KNOWN_DEVIATIONS
from mapcount.scenario.verbs import PROCESS_FIELDS, SYSTEM_FIELDS, VERBS
from mapcount.tracking.flavour import FLAVOURS
from mapcount.tracking.invariants import INVARIANTS

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
DOCUMENTS += [ROOT / "CHANGELOG.md", ROOT / "recordings" / "README.md"]
RUNNABLE = {"mapcount", "cat", "printf"}
"""What commands of console blocks may begin with."""


def _load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, ROOT / "tools" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


make_docs = sys.modules.get("make_docs") or _load("make_docs")


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _doc(name: str) -> str:
    return _text(ROOT / "docs" / f"{name}.md")


def _blocks() -> list[object]:
    return [
        pytest.param(match[1], id=f"{path.stem}:{_text(path)[: match.start()].count(chr(10)) + 1}")
        for path in DOCUMENTS
        for match in make_docs.CONSOLE.finditer(_text(path))
    ]


def _appear_in_order(shown: tuple[str, ...], real: tuple[str, ...]) -> bool:
    """Do the lines shown appear in the real output, those between two `...` one right after the other?"""
    at, free = 0, False
    for line in shown:
        if line == make_docs.ELLIPSIS:
            free = True
            continue
        while free and at < len(real) and real[at] != line:
            at += 1
        if at == len(real) or real[at] != line:
            return False
        at, free = at + 1, False
    return free or at == len(real)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_generated_parts_are_current(path: Path) -> None:
    """What make_docs would write is what stands there."""
    assert make_docs.refreshed(_text(path)) == _text(path), "run: python tools/make_docs.py"


def test_check_names_what_is_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`make_docs.py --check` exits 1 at a stale document and changes nothing; without it, it is mended."""
    stale = "# Title\n\n<!-- generated: flavours -->\nold\n<!-- end -->\n"
    (tmp_path / "README.md").write_text(stale, encoding="utf-8")
    monkeypatch.setattr(make_docs, "documents", lambda: [tmp_path / "README.md"])
    monkeypatch.setattr(make_docs, "ROOT", tmp_path)
    monkeypatch.setattr(make_docs, "whole_files", dict)
    assert 1 == make_docs.main(["--check"])
    assert "README.md is stale at line 4" in capsys.readouterr().out
    assert stale == _text(tmp_path / "README.md")
    assert 0 == make_docs.main([])
    assert "no-page-mapcount" in _text(tmp_path / "README.md")
    assert 0 == make_docs.main(["--check"])


def test_check_names_whole_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of files that are generated as a whole, a missing one is written and one of no use removed."""
    wanted, stray = tmp_path / "docs" / "gallery" / "wanted.md", tmp_path / "docs" / "gallery" / "stray.md"
    stray.parent.mkdir(parents=True)
    stray.write_text("once made", encoding="utf-8")
    monkeypatch.setattr(make_docs, "documents", list)
    monkeypatch.setattr(make_docs, "ROOT", tmp_path)
    monkeypatch.setattr(make_docs, "whole_files", lambda: {wanted: "made\n"})
    assert 1 == make_docs.main(["--check"])
    said = capsys.readouterr().out
    assert "docs/gallery/wanted.md is stale" in said
    assert "docs/gallery/stray.md is of no use" in said
    assert (False, True) == (wanted.exists(), stray.exists())
    assert 0 == make_docs.main([])
    assert ("made\n", False) == (_text(wanted), stray.exists())
    assert 0 == make_docs.main(["--check"])


@pytest.mark.parametrize("block", _blocks())
def test_commands_print_what_is_shown(block: str) -> None:
    """Every command of a console block is run, and every line shown is in its real output."""
    shown = make_docs.commands_of(block)
    assert {one.command.split()[0] for one in shown} <= RUNNABLE
    real = make_docs.outputs(tuple(one.command for one in shown))
    for one, output in zip(shown, real, strict=True):
        assert _appear_in_order(one.output, output), one.command


def test_a_changed_line_is_noticed() -> None:
    """Neither a wrong line, nor a missing one, nor lines in the wrong order pass for the real output."""
    real = ("a", "b", "c", "d")
    assert _appear_in_order(("a", "...", "c", "d"), real)
    assert _appear_in_order(("a", "..."), real)
    assert not _appear_in_order(("a", "...", "x", "d"), real)
    assert not _appear_in_order(("a", "b"), real)
    assert not _appear_in_order(("a", "c", "d"), real)
    assert not _appear_in_order(("...", "c", "b", "..."), real)


def test_the_readme_has_two_commands() -> None:
    """The README's shell block has `make run` and `make test`, nothing else, and the Makefile has both."""
    (block,) = re.findall(r"^```sh\n(.*?)^```$", _text(ROOT / "README.md"), re.DOTALL | re.MULTILINE)
    assert ["make run", "make test"] == [line.split("#")[0].strip() for line in block.splitlines()]
    makefile = _text(ROOT / "Makefile")
    assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in ("run", "test"))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_is_documented(name: str) -> None:
    """docs/cli.md has a section for each command, with each of its options."""
    text = _doc("cli")
    assert f"## mapcount {name}\n" in text
    section = text.split(f"## mapcount {name}\n")[1].split("\n## ")[0]
    command = mapcount.get_command(click.Context(mapcount), name)
    assert command is not None
    options = [o for param in command.params if isinstance(param, click.Option) for o in param.opts]
    assert [] == [option for option in (*options, "--help") if option not in section]


def test_every_word_of_the_language_is_documented() -> None:
    """docs/scenarios.md has each verb, each option of a verb, and each field of an expectation."""
    text = _doc("scenarios")
    usages = [f"`{verb.usage}`" for verb in VERBS.values()]
    usages += [f"`{option.usage}`" for verb in VERBS.values() for option in verb.options]
    fields = [f"| `{field}` |" for field in (*PROCESS_FIELDS, *SYSTEM_FIELDS)]
    assert [] == [word for word in (*usages, *fields) if word not in text]


def test_every_known_deviation_has_its_evidence() -> None:
    """The id of each known deviation is an anchor and a heading of docs/kernel-deviations.md."""
    text = _doc("kernel-deviations")
    for id_ in KNOWN_DEVIATIONS:
        assert f'<a id="{id_}"></a>' in text
        assert f"\n## {id_}\n" in text


def test_the_mechanism_has_every_flavour_and_invariant() -> None:
    """docs/mechanism.md names each flavour and each invariant."""
    text = _doc("mechanism")
    assert [] == [name for name in (*FLAVOURS, *INVARIANTS) if f"`{name}`" not in text]


def test_sections_that_the_code_cites_exist() -> None:
    """`mechanism, section 4` in a comment is the heading `## 4.` of docs/mechanism.md."""
    cited = {
        int(number)
        for path in (ROOT / "src").rglob("*.py")
        for place in re.findall(r"\bsections? (\d+(?: and \d+)?)", _text(path))
        for number in place.split(" and ")
    }
    headings = {int(number) for number in re.findall(r"^## (\d+)\. ", _doc("mechanism"), re.MULTILINE)}
    assert set() == cited - headings
    assert cited


def test_every_dependency_has_a_reason() -> None:
    """docs/dependencies.md has a row for each dependency of pyproject.toml, and none for any other."""
    project = tomllib.loads(_text(ROOT / "pyproject.toml"))["project"]
    needed = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    names = {re.split(r"[<>=\[ ]", need)[0] for need in needed}
    rows = set(re.findall(r"^\| ([a-z0-9-]+) \| [A-Z]", _doc("dependencies"), re.MULTILINE))
    assert names == rows


def test_the_design_names_every_layer() -> None:
    """The picture of the layers in docs/design.md has each package, and none that is not there."""
    packages = {path.parent.name for path in (ROOT / "src" / "mapcount").glob("*/__init__.py")}
    assert packages == set(re.findall(r"^  ([a-z]+)/ ", _doc("design"), re.MULTILINE))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_links_lead_somewhere(path: Path) -> None:
    """Each relative link names a file, and its anchor a heading or an `<a id>` of that file."""
    for target in re.findall(r"\]\(([^)\s]+)\)", _text(path)):
        if "://" in target:
            continue
        file, _, anchor = target.partition("#")
        there = path if not file else (path.parent / file).resolve()
        assert there.exists(), target
        assert not anchor or anchor in _anchors(_text(there)), target


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return slugs | set(re.findall(r'<a id="([^"]+)">', text))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.stem)
def test_paths_that_are_named_exist(path: Path) -> None:
    """A path of this repository that stands in backticks is there."""
    roots = r"(?:src|docs|tests|tools|recordings|scenarios|benchmarks|tracking|sim|scenario|report|cli)"
    for name in re.findall(rf"`({roots}/[\w./-]*)`", _text(path)):
        inside = [ROOT / name, ROOT / "src" / "mapcount" / name]
        assert any(place.exists() for place in inside), name
