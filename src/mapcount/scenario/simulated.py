"""A scenario's actions, carried out by the simulated kernel."""

from __future__ import annotations

from mapcount.scenario.syntax import KERNEL, Action, Scenario, Target
from mapcount.scenario.words import nearest
from mapcount.sim.errors import ActionError
from mapcount.sim.memory import Kind
from mapcount.sim.system import System

Stretches = list[tuple[int, int]]


def act(system: System, scenario: Scenario, action: Action) -> None:
    """Carry out one action (not `expect`). Raises ScenarioError, at the action, for what cannot be."""
    try:
        _act(system, action)
    except ActionError as error:
        loc = action.target.loc if action.target else action.loc
        hint = nearest(error.got, error.known) if error.known else ""
        raise scenario.error(loc, str(error), hint) from None


def _where(system: System, action: Action) -> tuple[str, Stretches]:
    """Whose memory an action means, and which stretches of it."""
    target = action.target
    assert target is not None
    process = target.process or (system.owner_of(target.region) if action.actor == KERNEL else action.actor)
    return process, system.stretches(process, target.region, target.start, target.stop, target.step)


def _act(system: System, action: Action) -> None:
    actor, verb, word = action.actor, action.verb, action.word or ""
    if verb == "mmap":
        _mmap(system, action)
    elif verb == "fork":
        system.fork(actor, word)
    elif verb == "exec":
        system.exec(actor)
    elif verb == "exit":
        system.exit(actor)
    elif verb == "ksm":
        system.ksm(_everywhere(system, action))
    else:
        process, where = _where(system, action)
        if verb in ("read", "write"):
            system.touch(process, where, write=verb == "write")
        elif verb in ("mprotect", "madvise"):
            getattr(system, verb)(process, where, word)
        elif verb in ("munmap", "migrate", "swapout", "split"):
            getattr(system, verb)(process, where)
        elif verb in ("mlock", "munlock"):
            system.mlock(process, where, lock=verb == "mlock")
        elif verb in ("pin", "unpin"):
            system.pin(process, where, hold=verb == "pin")
        elif verb == "mremap":
            to = action.options["to"]
            assert isinstance(to, Target)
            system.mremap(process, where, to.region, to.start, to.stop)
        else:
            raise AssertionError(f"no meaning for {verb}")


def _everywhere(system: System, action: Action) -> list[tuple[str, int, int]]:
    """The range in the process that the target names, or in every process that has the region."""
    target = action.target
    assert target is not None
    owners = [target.process] if target.process else list(system.machine.processes)
    found = [
        (owner, start, stop)
        for owner in owners
        if target.process or target.region in system.process(owner).regions
        for start, stop in system.stretches(owner, target.region, target.start, target.stop, target.step)
    ]
    if not found:
        system.owner_of(target.region)
    return found


def _mmap(system: System, action: Action) -> None:
    target, options = action.target, action.options
    assert target is not None
    if target.step is not None:
        raise ActionError("a mapping is one range; map single pages one by one")
    sizes = options.get("thp", ())
    assert isinstance(sizes, tuple)
    orders = tuple(int(size).bit_length() - 1 for size in sizes)
    kind, file = Kind.ANON, None
    if "hugetlb" in options:
        pages = options["hugetlb"]
        assert isinstance(pages, int)
        kind, orders = Kind.HUGETLB, (pages.bit_length() - 1,)
    elif "file" in options:
        kind, file = Kind.FILE, str(options["file"])
    elif "shmem" in options:
        kind, file = Kind.SHMEM, str(options["shmem"])
    elif "memfd" in options:
        kind, file = Kind.SHMEM, str(options["memfd"])
    offset = options.get("offset")
    assert offset is None or isinstance(offset, int)
    system.mmap(
        action.actor,
        target.region,
        target.start,
        target.stop,
        size=action.size,
        orders=orders,
        shared=bool(options.get("shared")),
        file=file,
        kind=kind,
        offset=offset,
        prot=str(options.get("prot", "rw")),
        reserved=bool(options.get("reserved")),
        memfd="memfd" in options,
    )
