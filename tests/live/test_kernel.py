"""Which kernel runs, and what it keeps."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from mapcount.live import kernel
from mapcount.live.btf import VMLINUX, Btf
from mapcount.live.kernel import flavour_of, kernel_config, pages_are_counted, running_flavour
from mapcount.live.snapshot import CannotHere
from mapcount.tracking.flavour import FLAVOURS, NO_PAGE_MAPCOUNT, PAGE_MAPCOUNT, V6_14, Flavour
from mapcount.tracking.layout import layout_of

from .btf_file import BtfFile, btf_of
from .machine import needs_bpf

WITHOUT, WITH = {"CONFIG_NO_PAGE_MAPCOUNT": "y"}, {"CONFIG_PAGE_MAPCOUNT": "y"}


def _types(flavour: Flavour) -> Btf:
    return Btf(btf_of(layout_of(flavour)), "fake.btf")


@pytest.mark.parametrize("flavour", FLAVOURS.values(), ids=str)
def test_types_tell(flavour: Flavour) -> None:
    """Types alone tell each flavour but one: with `_nr_pages_mapped`, the option says if it is kept."""
    told = None if flavour == PAGE_MAPCOUNT else flavour
    assert told == flavour_of(_types(flavour), None)
    assert told == flavour_of(_types(flavour), {"CONFIG_X": "y"})
    assert PAGE_MAPCOUNT == flavour_of(_types(PAGE_MAPCOUNT), WITH)
    assert NO_PAGE_MAPCOUNT == flavour_of(_types(PAGE_MAPCOUNT), WITHOUT)


def test_options_tell_without_types() -> None:
    """Without types the options tell, which came with the slots; without both nothing does."""
    assert [PAGE_MAPCOUNT, NO_PAGE_MAPCOUNT, V6_14] == [flavour_of(None, c) for c in (WITH, WITHOUT, {})]
    assert flavour_of(None, None) is None


def test_types_from_before_folios() -> None:
    """A kernel without struct folio has per-page counts and no slots."""
    assert V6_14 == flavour_of(Btf(BtfFile().bytes(), "old.btf"), None)


@pytest.mark.parametrize(("counted", "told"), [(True, PAGE_MAPCOUNT), (False, NO_PAGE_MAPCOUNT)])
def test_what_is_not_said_is_tried(monkeypatch: pytest.MonkeyPatch, counted: bool, told: Flavour) -> None:
    """Where neither types nor options tell, a folio of our own does."""
    monkeypatch.setattr(kernel, "pages_are_counted", lambda: counted)
    assert told == running_flavour(_types(PAGE_MAPCOUNT), None)


@pytest.mark.parametrize(("with_types", "counted"), [(True, None), (False, True), (False, None)])
def test_what_cannot_be_known(
    monkeypatch: pytest.MonkeyPatch, with_types: bool, counted: bool | None
) -> None:
    """What neither types, options nor a try tell is not guessed."""
    monkeypatch.setattr(kernel, "pages_are_counted", lambda: counted)
    with pytest.raises(
        CannotHere, match=r"unknown whether this kernel keeps per-page counts: no /proc/config.gz"
    ):
        running_flavour(_types(PAGE_MAPCOUNT) if with_types else None, None)


@needs_bpf
@pytest.mark.skipif(not Path(VMLINUX).exists(), reason=f"this kernel has no {VMLINUX}")
def test_trying_agrees_with_what_is_said() -> None:
    """On the running kernel, a try gives what its types and options say."""
    said = flavour_of(Btf.read(), kernel_config(kernel.release()))
    counted = pages_are_counted()
    if counted is None or said is None:
        pytest.skip("no huge page was to be had, or nothing says what this kernel keeps")
    assert said.page_mapcounts == counted


def test_configurations_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The first configuration that can be read counts; comments and what is damaged do not."""
    text = '#\n# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C="x=y"\n\nnonsense\n'
    packed, plain = tmp_path / "config.gz", tmp_path / "config-6.18.0"
    monkeypatch.setattr(kernel, "CONFIGS", (str(packed), f"{tmp_path}/config-{{release}}"))
    running = kernel.release()
    assert kernel_config(running) is None
    plain.write_text("CONFIG_B=m\n")
    assert kernel_config(running) is None
    assert {"CONFIG_B": "m"} == kernel_config("6.18.0")
    packed.write_bytes(gzip.compress(text.encode()))
    assert {"CONFIG_B": "y", "CONFIG_C": '"x=y"'} == kernel_config(running)
    for damaged in (b"", b"no gzip", packed.read_bytes()[:-9], gzip.compress(b"\xff\xfe")):
        packed.write_bytes(damaged)
        assert kernel_config(running) is None


def test_the_order_of_a_pmd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The kernel says how large a huge page is; without any it is as on x86-64."""
    monkeypatch.setattr(kernel, "THP", tmp_path)
    assert 9 == kernel.pmd_order()
    (tmp_path / "hpage_pmd_size").write_text(f"{kernel.page_size() << 13}\n")
    assert 13 == kernel.pmd_order()
