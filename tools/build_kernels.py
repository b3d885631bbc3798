"""Builds two small kernels to try `mapcount` on: with per-page mapcounts and without.

    python tools/build_kernels.py                        # into build/kernels, from Debian's newest source
    python tools/build_kernels.py --source ~/linux       # from a kernel tree of yours, patched as you like

Makes `FOLDER/bzImage-page-mapcount` and `FOLDER/bzImage-no-page-mapcount`, which `mapcount conform --vng`
boots. Debian's source is the newest `linux-source` package of unstable and of stable's backports, from the
mirror that apt is configured for already; apt's own configuration, lists and packages stay as they are. What
was done before is not done again: remove the folder to start over. Only `--install` changes the machine.

The configuration is everything in `tools/kernel-config/` on top of `allnoconfig`; a setting that the source
does not accept is an error here, because the kernel would boot and answer something else.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / "tools" / "kernel-config"
IMAGE = Path("arch/x86/boot/bzImage")
KERNELS = {"page-mapcount": "n", "no-page-mapcount": "y"}
"""Each kernel's CONFIG_NO_PAGE_MAPCOUNT."""
OLDEST = (6, 15)
"""CONFIG_NO_PAGE_MAPCOUNT came with Linux 6.15."""

SUITES = ("unstable", "stable-backports")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
PACKAGES = {
    "gcc": "gcc",
    "make": "make",
    "flex": "flex",
    "bison": "bison",
    "bc": "bc",
    "xz": "xz-utils",
    "pahole": "dwarves",
    "qemu-system-x86_64": "qemu-system-x86",
    "/usr/include/gelf.h": "libelf-dev",
    "/usr/include/openssl/opensslv.h": "libssl-dev",
}
"""A program on the path, or a file, and Debian's package that has it."""


class CannotBuild(Exception):
    """Why no kernel came out of it, in words for people; `code` is the exit status."""

    def __init__(self, message: str, code: int = 3) -> None:
        super().__init__(message)
        self.code = code


def main(arguments: Sequence[str] | None = None) -> int:
    """Build what is missing. 0: both kernels are there; 2: wrong usage or source; 3: this machine cannot."""
    parser = argparse.ArgumentParser(
        description="Build two small Linux kernels: with per-page mapcounts and without."
    )
    add = parser.add_argument
    add("folder", nargs="?", type=Path, metavar="FOLDER", default=ROOT / "build" / "kernels",
        help="where to work; unless said, build/kernels. Takes about 4 GB.")  # fmt: skip
    add("--source", type=Path, metavar="DIR", help="a kernel tree to build instead of Debian's; only read")
    add("--jobs", type=int, metavar="N", default=os.cpu_count() or 1, help="as for make -j")
    add("--install", action="store_true", help="install the Debian packages that are missing (as root)")
    options = parser.parse_args(arguments)
    try:
        need_tools(install=options.install)
        folder = options.folder.resolve()
        folder.mkdir(parents=True, exist_ok=True)
        source = options.source.resolve() if options.source else debian_source(folder)
        check_source(source)
        for name, value in KERNELS.items():
            build(source, folder, name, f"CONFIG_NO_PAGE_MAPCOUNT={value}", options.jobs)
    except CannotBuild as error:
        print(f"build_kernels: {error}", file=sys.stderr)
        return error.code
    except OSError as error:
        print(f"build_kernels: {error.filename}: {error.strerror}", file=sys.stderr)
        return 3
    except KeyboardInterrupt:
        print("build_kernels: stopped; start it again to go on from here", file=sys.stderr)
        return 130
    return 0


def say(message: str) -> None:
    """One line of what is being done."""
    print(f"build_kernels: {message}", flush=True)


def run(command: Sequence[str | Path], why: str, cwd: Path | None = None) -> str:
    """Run a command quietly and return its output. Raises CannotBuild with the end of what it said."""
    done = subprocess.run(
        command, cwd=cwd, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()[-15:]
        raise CannotBuild(
            "\n  ".join([f"could not {why}: {command[0]} exited with {done.returncode}", *said])
        )
    return done.stdout


def need_tools(*, install: bool) -> None:
    """Look for what building and booting needs, and install it if told to. Raises CannotBuild."""

    def missing() -> list[str]:
        return [
            package
            for tool, package in PACKAGES.items()
            if not (Path(tool).exists() if tool.startswith("/") else shutil.which(tool))
        ]

    packages = missing()
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    if packages and install:
        if os.geteuid() != 0:
            raise CannotBuild("--install needs root")
        say(f"installing {' '.join(packages)}")
        run(command, "install packages")
        packages = missing()
    if packages:
        raise CannotBuild(
            f"this needs Debian's {' '.join(packages)}: run with --install as root, or\n  {' '.join(command)}"
        )


# --- the source


def debian_source(folder: Path) -> Path:
    """The newest kernel source that Debian has, fetched and unpacked below `folder` unless it is there."""
    there = sorted(folder.glob("linux-source-*/Makefile"), key=lambda path: _numbers(path.parent.name))
    if there:
        return there[-1].parent
    apt = _private_apt(folder / "apt")
    run(["apt-get", *apt, "update"], "fetch Debian's lists of packages")
    listed = run(
        ["apt-cache", *apt, "search", "--names-only", r"^linux-source-[0-9.]+$"], "search for sources"
    )
    names = sorted((line.split()[0] for line in listed.splitlines()), key=_numbers)
    if not names:
        raise CannotBuild(
            f"Debian's {' and '.join(SUITES)} have no kernel source: give a tree of your own by --source DIR"
        )
    say(f"fetching {names[-1]} (about 170 MB)")
    return _unpack(_download(apt, folder / "apt", names[-1]), folder, names[-1])


def _numbers(name: str) -> tuple[int, ...]:
    return tuple(map(int, re.findall(r"\d+", name)))


def _private_apt(state: Path) -> list[str]:
    """Options that make apt look into Debian's newest suites, and keep what it learns below `state`."""
    for below in ("lists/partial", "cache/archives/partial"):
        (state / below).mkdir(parents=True, exist_ok=True)
    targets = run(
        ["apt-get", "indextargets", "--format", "$(LABEL)|$(COMPONENT)|$(REPO_URI)", "Created-By: Packages"],
        "ask apt for its mirrors",
    )
    mirrors = [line.split("|")[2] for line in targets.splitlines() if line.startswith("Debian|main|")]
    if not mirrors:
        raise CannotBuild("apt has no mirror of Debian here: give a kernel tree of your own by --source DIR")
    signed = f" [signed-by={KEYRING}]" if KEYRING.exists() else ""
    sources = state / "sources.list"
    sources.write_text("".join(f"deb{signed} {mirrors[0]} {suite} main\n" for suite in SUITES))
    return [
        f"-oDir::Etc::sourcelist={sources}",
        "-oDir::Etc::sourceparts=/dev/null",
        f"-oDir::State::lists={state / 'lists'}",
        f"-oDir::Cache={state / 'cache'}",
        "-oAPT::Sandbox::User=root",  # the folder may be where nobody else can read
    ]


def _download(apt: Sequence[str], state: Path, name: str) -> Path:
    """The package file, checked by apt against Debian's signature."""
    for left in state.glob("*.deb"):
        left.unlink()
    run(["apt-get", *apt, "download", name], "fetch the source", cwd=state)
    return next(state.glob("*.deb"))


def _unpack(package: Path, folder: Path, name: str) -> Path:
    """Unpack a source package's kernel tree to `folder/name`; it appears when it is complete."""
    say(f"unpacking {package.name} (1.7 GB)")
    partial = folder / "unpacking"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    run(["dpkg-deb", "--extract", package, partial], "unpack the package")
    run(["tar", "-C", partial, "-xJf", partial / f"usr/src/{name}.tar.xz"], "unpack the source")
    (partial / name).rename(folder / name)
    shutil.rmtree(partial)
    package.unlink()
    return folder / name


def check_source(source: Path) -> None:
    """Raise CannotBuild unless this is a kernel tree that knows CONFIG_NO_PAGE_MAPCOUNT."""
    try:
        text = (source / "Makefile").read_text(errors="replace")
    except OSError as error:
        raise CannotBuild(f"{source}: no kernel source tree: {error.strerror}: Makefile", 2) from None
    found = re.search(r"^VERSION = (\d+)\nPATCHLEVEL = (\d+)$", text, re.MULTILINE)
    if found is None:
        raise CannotBuild(f"{source}: no kernel source tree: its Makefile names no version", 2)
    version = (int(found[1]), int(found[2]))
    if version < OLDEST:
        raise CannotBuild(
            f"{source}: Linux {found[1]}.{found[2]} has no owner slots and no CONFIG_NO_PAGE_MAPCOUNT: "
            f"at least {OLDEST[0]}.{OLDEST[1]} is needed",
            2,
        )


# --- building


def build(source: Path, folder: Path, name: str, choice: str, jobs: int) -> None:
    """Make `folder/bzImage-name`, a kernel with the one setting `choice` of its own."""
    objects, image = folder / "objects" / name, folder / f"bzImage-{name}"
    changed = configure(source, objects, choice)
    if image.exists() and not changed and source.parent == folder:
        say(f"{image} is there")  # of a source that nobody edits
        return
    image.unlink(missing_ok=True)
    say(f"building {image} (on two idle cores about 8 minutes; log: {objects}.log)")
    make = ["nice", "make", "-s", "-C", str(source), f"O={objects}", f"-j{jobs}", "bzImage"]
    log = objects.with_suffix(".log")
    with log.open("w") as said:
        done = subprocess.run(make, stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False)
    if done.returncode:
        last = log.read_text(errors="replace").splitlines()[-15:]
        raise CannotBuild("\n  ".join([f"make exited with {done.returncode}; the end of {log}:", *last]), 2)
    partial = image.with_suffix(".new")
    shutil.copyfile(objects / IMAGE, partial)
    partial.rename(image)
    say(f"made {image}, {image.stat().st_size >> 10} KiB")


def configure(source: Path, objects: Path, choice: str) -> bool:
    """Write the configuration, unless it is the one that is there. Says whether it has changed.

    Raises CannotBuild for a setting that did not come out as it was wanted.
    """
    fragments = sorted(CONFIG.glob("*.config"))
    text = "".join(path.read_text() for path in fragments) + choice + "\n"
    wanted = objects / "wanted.config"
    if wanted.exists() and wanted.read_text() == text and (objects / ".config").exists():
        return False
    if not objects.exists():
        _begin_with_another(objects)
    objects.mkdir(parents=True, exist_ok=True)
    partial = wanted.with_suffix(".new")
    partial.write_text(text)
    make = ["make", "-s", "-C", str(source), f"O={objects}", f"KCONFIG_ALLCONFIG={partial}", "allnoconfig"]
    run(make, "configure the kernel")
    config = set((objects / ".config").read_text().splitlines())
    refused = [line for line in text.splitlines() if line.startswith("CONFIG_") and not _holds(line, config)]
    if refused:
        raise CannotBuild(
            f"{source}: does not accept {', '.join(refused)}: this Linux does not have it, "
            f"or it depends on a setting that {CONFIG} lacks",
            2,
        )
    partial.rename(wanted)
    return True


def _begin_with_another(objects: Path) -> None:
    """Copy what was compiled for the other kernel: make compiles anew only what the setting is about."""
    for other in objects.parent.glob("*/.config"):
        partial = objects.with_suffix(".new")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(other.parent, partial, symlinks=True)
        (partial / "wanted.config").unlink(missing_ok=True)
        partial.rename(objects)
        return


def _holds(setting: str, config: set[str]) -> bool:
    """Does a configuration have the setting? `n` means that it has none of that name."""
    name, _, value = setting.partition("=")
    return not any(line.startswith(f"{name}=") for line in config) if value == "n" else setting in config


if __name__ == "__main__":
    sys.exit(main())
