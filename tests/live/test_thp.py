"""THP settings: what they mean, and that they are put back whatever happens to who changed them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mapcount.live import thp as thp_module
from mapcount.live import thp_guard
from mapcount.live.snapshot import CannotHere
from mapcount.live.thp import THP, read_thp, thp_settings

WORDS = {
    "enabled": ("always", "inherit", "madvise", "never"),
    "shmem_enabled": ("always", "inherit", "within_size", "advise", "never", "deny", "force"),
}


def listed(name: str, value: str) -> str:
    """A setting's text as the kernel prints it."""
    return " ".join(f"[{word}]" if word == value else word for word in WORDS[name]) + "\n"


def tree(root: Path, top: str = "madvise", shmem_top: str = "never", **sizes: str | tuple[str, str]) -> Path:
    """A fake tree: `k64="never"` or `k64=("never", "advise")` with the shared memory's policy."""
    root.mkdir(exist_ok=True)
    (root / "enabled").write_text(listed("enabled", top))
    (root / "shmem_enabled").write_text(listed("shmem_enabled", shmem_top))
    for size, value in sizes.items():
        folder = root / f"hugepages-{size[1:]}kB"
        folder.mkdir()
        anon, shmem = (value, "inherit") if isinstance(value, str) else value
        (folder / "enabled").write_text(listed("enabled", anon))
        (folder / "shmem_enabled").write_text(listed("shmem_enabled", shmem))
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A machine as distributions ship it, with a few sizes more. What is written is what is chosen."""
    return tree(tmp_path / "thp", k64="never", k256="madvise", k1024="always", k2048="inherit")


def state(root: Path) -> dict[str, str]:
    """Every setting's chosen value."""
    return {str(p.relative_to(root)): thp_guard.chosen(p) for p in sorted(root.rglob("*enabled"))}


@pytest.mark.parametrize("top", ["always", "madvise", "never"])
def test_inherit_means_what_the_file_on_top_says(tmp_path: Path, top: str) -> None:
    """A size that inherits has the policy on top; one that says something itself does not care."""
    thp = read_thp(tree(tmp_path / "t", top=top, k64="never", k128="always", k2048="inherit"))
    assert {64: "never", 128: "always", 2048: top} == thp.anon


@pytest.mark.parametrize(
    ("top", "policies"),
    [
        ("never", {64: "advise", 128: "never", 256: "within_size"}),
        ("advise", {64: "advise", 128: "advise", 256: "within_size"}),
        ("deny", {64: "never", 128: "never", 256: "never"}),
        ("force", {64: "never", 128: "always", 256: "never"}),
    ],
)
def test_shared_memory_knows_deny_and_force(tmp_path: Path, top: str, policies: dict[int, str]) -> None:
    """`deny` forbids every size; `force` allows those that inherit and no others."""
    sizes = {"k64": ("never", "advise"), "k128": ("never", "inherit"), "k256": ("never", "within_size")}
    assert policies == read_thp(tree(tmp_path / "t", shmem_top=top, **sizes)).shmem


def test_usable_sizes_depend_on_the_advice(tmp_path: Path) -> None:
    """`madvise` counts for advised memory only, `always` for any, `never` for none."""
    sizes = {"k64": ("always", "never"), "k128": ("madvise", "advise"), "k2048": ("never", "within_size")}
    thp = read_thp(tree(tmp_path / "t", **sizes))
    assert (64, 128) == thp.usable_sizes()
    assert (64,) == thp.usable_sizes(advised=False)
    assert (128, 2048) == thp.usable_sizes(memory="shmem")
    assert (2048,) == thp.usable_sizes(advised=False, memory="shmem")


def test_an_older_kernel_has_the_pmd_size_alone(tmp_path: Path) -> None:
    """Before Linux 6.8 the file on top speaks of the PMD size."""
    root = tree(tmp_path / "t", top="always")
    (root / "hpage_pmd_size").write_text("2097152\n")
    thp = read_thp(root)
    assert {2048: "always"} == thp.anon
    assert root / "enabled" == thp.file(2048)


def test_a_kernel_without_thp_has_no_sizes(tmp_path: Path) -> None:
    """No directory: no folio sizes, and a session in which nothing can be set."""
    thp = read_thp(tmp_path / "absent")
    assert ({}, {}, ()) == (thp.anon, thp.shmem, thp.usable_sizes())
    with thp_settings(root=tmp_path / "absent") as session, pytest.raises(CannotHere, match="has none"):
        session.set_only([64])


def test_writes_for_a_size_are_the_fewest(tmp_path: Path) -> None:
    """The size is allowed if it is not, those above it forbidden if they are not, the PMD size left alone."""
    thp = read_thp(tree(tmp_path / "t", k64="never", k256="madvise", k1024="always", k2048="inherit"))
    assert {
        thp.file(64): "madvise", thp.file(256): "never", thp.file(1024): "never"
    } == thp.writes_for(64)  # fmt: skip
    assert {thp.file(1024): "never"} == thp.writes_for(256)
    assert {} == thp.writes_for(1024)
    assert {} == thp.writes_for(2048)
    with pytest.raises(CannotHere, match=r"512 KiB: this kernel has 64, 256, 1024, 2048"):
        thp.writes_for(512)


def test_settings_are_written_and_put_back(root: Path) -> None:
    """Within the block the settings are as wanted, after it as they were."""
    before = state(root)
    with thp_settings({root / "hugepages-64kB/enabled": "always"}, root) as session:
        assert "always" == state(root)["hugepages-64kB/enabled"]
        assert {root / "hugepages-64kB/enabled": "never"} == session.before
    assert before == state(root)


def test_set_only_goes_back_and_forth(root: Path) -> None:
    """Any sizes can be the only ones, one choice after another; the end puts back the beginning."""
    before = state(root)

    def usable() -> tuple[int, ...]:
        return read_thp(root).usable_sizes()

    with thp_settings(root=root) as session:
        for sizes in [(64,), (), (64, 2048), (2048,), (256,)]:
            session.set_only(sizes)
            assert sizes == usable()
        with pytest.raises(CannotHere, match="no anon folios of 8 KiB"):
            session.set_only([8, 64])
        session.set_only([64, 256], "shmem")
        assert (64, 256) == read_thp(root).usable_sizes(memory="shmem")
    assert before == state(root)


def test_nothing_is_written_where_nothing_differs(root: Path) -> None:
    """A session that wants what is there starts no guard and notes nothing."""
    with thp_settings({root / "hugepages-64kB/enabled": "never"}, root) as session:
        session.set_only([256, 1024, 2048])
        assert {} == session.before
        assert session._guard is None


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_settings_are_put_back_after_an_exception(root: Path, error: type[BaseException]) -> None:
    """However the block ends, what was there is put back."""
    before = state(root)

    def interrupted() -> None:
        with thp_settings(root=root) as session:
            session.set_only([64])
            raise error

    with pytest.raises(error):
        interrupted()
    assert before == state(root)


def test_a_killed_guard_is_replaced_by_its_caller(root: Path) -> None:
    """If somebody kills the guard, writing says so, and the caller puts back itself."""
    before = state(root)
    with thp_settings(root=root) as session:
        session.set_only([64])
        assert (64,) == read_thp(root).usable_sizes()
        assert session._guard is not None
        session._guard.kill()
        session._guard.wait()
        with pytest.raises(CannotHere, match="guard process was killed"):
            session.set_only([])
    assert before == state(root)


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_settings_are_put_back_when_the_caller_is_killed(root: Path, how: signal.Signals) -> None:
    """Nothing of the caller is left to put back, so the guard does it, and only then gives up the lock."""
    before = state(root)
    caller = start_caller(root)
    assert {**before, "hugepages-64kB/enabled": "madvise"} == state(root)
    caller.send_signal(how)
    assert 0 != caller.wait(10)
    with thp_settings(root=root):
        assert before == state(root)


def start_caller(root: Path) -> subprocess.Popen[str]:
    """A process that has enabled 64 KiB and sleeps."""
    code = (
        "import sys, time; from pathlib import Path; from mapcount.live.thp import thp_settings\n"
        "root = Path(sys.argv[1])\n"
        "with thp_settings({root / 'hugepages-64kB/enabled': 'madvise'}, root):\n"
        "    print('written', flush=True); time.sleep(60)\n"
    )
    caller = subprocess.Popen(
        [sys.executable, "-c", code, str(root)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert caller.stdout is not None
    with caller.stdout:
        assert "written\n" == caller.stdout.readline()
    return caller


def test_measurements_do_not_meet(root: Path) -> None:
    """While one session is open, another waits for its end, and says so before."""
    order: list[str] = []
    caller = start_caller(root)

    def waiting() -> None:
        order.append("waiting")
        caller.kill()

    try:
        with thp_settings(root=root, waiting=waiting):
            order.append("entered")
    finally:
        caller.kill()
        caller.wait()
    assert ["waiting", "entered"] == order


def test_a_setting_that_refuses_is_named(root: Path) -> None:
    """A missing file is wrong at once; a path elsewhere is a mistake of the caller."""
    with thp_settings(root=root) as session:
        with pytest.raises(CannotHere, match="hugepages-8kB/enabled"):
            session.write({root / "hugepages-8kB/enabled": "never"})
        with pytest.raises(ValueError, match="is not below"):
            session.write({root.parent / "other": "1"})


def test_the_guard_says_what_it_could_not_write(tmp_path: Path) -> None:
    """The guard answers with the path and the reason, and goes on."""
    good = tmp_path / "enabled"
    good.write_text(listed("enabled", "never"))
    before: dict[Path, str] = {}
    assert thp_guard.write({str(tmp_path / "no"): "x"}, before) == f"{tmp_path / 'no'}: {os.strerror(2)}"
    assert None is thp_guard.write({str(good): "always"}, before)
    assert {good: "never"} == before


def test_what_cannot_be_put_back_is_said_after_all_were_tried(tmp_path: Path) -> None:
    """One setting that is gone does not keep the others from being put back."""
    good = tmp_path / "enabled"
    good.write_text(listed("enabled", "never"))
    with pytest.raises(OSError, match=r"could not put back 'madvise' in .*/gone"):
        thp_guard.put_back({good: "always", tmp_path / "gone": "madvise"})
    assert "always" == good.read_text()


def test_a_side_effect_on_min_free_is_noticed(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vm.min_free_kbytes is compared with what it was when the session began."""
    min_free = tmp_path / "min_free_kbytes"
    min_free.write_text("45056\n")
    monkeypatch.setattr(thp_module, "MIN_FREE", min_free)
    with thp_settings(root=root) as session:
        assert None is session.side_effect
        min_free.write_text("67584\n")
        assert session.side_effect == f"{min_free} was 45056 before settings were written and is 67584 now"


@pytest.mark.skipif(not os.access(THP / "enabled", os.W_OK), reason="not root, or no THP: cannot write /sys")
def test_the_real_settings_are_written_and_put_back() -> None:
    """On this machine, too: another policy for the smallest size while the block runs, then as before."""
    with thp_settings() as session:
        before = read_thp()
        kib = next(iter(before.anon))
        session.set_only([kib])
        assert (kib,) == read_thp().usable_sizes()
        session.set_only([])
        assert () == read_thp().usable_sizes()
        session.close()
        assert before == read_thp()
