"""Whole legal scenarios survive printing and reading, and nothing but ScenarioError comes out of the rest."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mapcount.scenario.parse import load, parse
from mapcount.scenario.printing import show
from mapcount.scenario.syntax import (
    KERNEL,
    OPERATORS,
    Action,
    Comparison,
    Scenario,
    ScenarioError,
    Step,
    Target,
)
from mapcount.scenario.verbs import CHOICES, PROCESS_FIELDS, SYSTEM_FIELDS, VERBS, Kind
from mapcount.scenario.words import MAX_PAGES

QUICK = settings(database=None, max_examples=100)

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
names = st.one_of(
    st.sampled_from(["heap", "W1", "W2", "P", "on", "to", "small", "hugetlb", "mmap", "fork", "exit", "p"]),
    st.builds(str.__add__, st.sampled_from(LETTERS), st.text(LETTERS + "0123456789_-", max_size=31)),
).filter(lambda name: name != KERNEL)
pages = st.one_of(st.integers(0, 1025), st.integers(0, MAX_PAGES))
sizes = pages.map(lambda nr_pages: max(1, nr_pages))
lines = st.text(
    st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]).filter(
        lambda c: (
            unicodedata.bidirectional(c)
            not in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}
        )
    ),
    max_size=40,
).map(str.strip)


@st.composite
def targets(draw, owners=(None,)):
    """A target of any shape, of one of the owners."""
    start = draw(pages.filter(lambda page: page < MAX_PAGES))
    stop = draw(st.one_of(st.none(), st.just(start + 1), st.integers(start + 1, MAX_PAGES)))
    return Target(draw(names), start, stop, draw(st.one_of(st.none(), sizes)), draw(st.sampled_from(owners)))


VALUES = {
    Kind.TARGET: targets(),
    Kind.SIZE: sizes,
    Kind.OFFSET: pages,
    Kind.FOLIOS: st.lists(st.integers(1, 18).map(lambda order: 1 << order), min_size=1, unique=True).map(
        tuple
    ),
    Kind.HUGE: st.sampled_from([512, 1 << 18]),
    Kind.NAME: names,
    Kind.PROT: st.sampled_from(CHOICES[Kind.PROT]),
    Kind.ADVICE: st.sampled_from(CHOICES[Kind.ADVICE]),
    Kind.FLAG: st.just(True),
    Kind.FLAVOURS: st.lists(st.sampled_from(CHOICES[Kind.FLAVOURS]), min_size=1, unique=True).map(tuple),
}


@st.composite
def legal_options(draw, verb):
    """Options of a verb that neither contradict nor miss each other."""
    chosen = {}
    for option in draw(st.permutations(verb.options)):
        clash = any(o.keyword in option.excludes or option.keyword in o.excludes for o in chosen.values())
        if not clash and (option.required or draw(st.booleans())):
            chosen[option.keyword] = option
    needed = [o for o in chosen.values() if not o.needs or chosen.keys() & set(o.needs)]
    return {option.keyword: draw(VALUES[option.kind]) for option in needed}


@st.composite
def actions(draw, alive):
    """An action that the processes `alive` can do, and what becomes of them."""
    actor = draw(st.sampled_from([KERNEL, *alive]))
    role = "kernel" if actor == KERNEL else "process"
    verb = draw(st.sampled_from([verb for verb in VERBS.values() if verb.who in ("any", role)]))
    options = draw(legal_options(verb))
    flavours = options.pop("on", ())
    owners = (None, *alive) if actor == KERNEL or verb.compares else (None,)
    target = size = word = None
    for argument in verb.arguments:
        if argument.who not in ("any", role) or not (argument.required or draw(st.booleans())):
            continue
        if argument.kind is Kind.TARGET:
            target = draw(targets(owners))
        elif argument.kind is Kind.SIZE:
            huge = options.get("hugetlb", 1)
            size = draw(st.integers(1, MAX_PAGES // huge)) * huge
        else:
            word = draw(VALUES[argument.kind].filter(lambda name: not (verb.begins and name in alive)))
    if size is not None:
        target = Target(target.region)
    fields = sorted(SYSTEM_FIELDS if actor == KERNEL else PROCESS_FIELDS)
    value = st.text(LETTERS + "0123456789_.,+-", min_size=1, max_size=12)
    comparison = st.builds(Comparison, st.sampled_from(fields), st.sampled_from(OPERATORS), value)
    expects = tuple(draw(st.lists(comparison, min_size=1, max_size=3))) if verb.compares else ()
    if verb.begins:
        alive.append(word)
    if verb.ends:
        alive.remove(actor)
    return Action(actor, verb.name, target, size, word, options, expects, flavours)


@st.composite
def scenarios(draw):
    """A whole legal scenario."""
    alive = [draw(names)]
    steps = []
    for _ in range(draw(st.integers(1, 6))):
        joined = tuple(draw(actions(alive)) for _ in range(draw(st.integers(1, 3))))
        steps.append(Step(joined, comment=draw(st.one_of(st.just(""), lines))))
    title = "\n".join(draw(st.lists(lines, max_size=4))).strip()
    return Scenario("drawn", "drawn.scn", title, tuple(steps))


@QUICK
@given(scenarios())
def test_what_is_printed_reads_the_same(scenario):
    """Printing a legal scenario and reading it gives the scenario back, and the same text again."""
    text = show(scenario)
    assert scenario == parse(text)
    assert text == show(parse(text))


@QUICK
@given(scenarios(), st.sampled_from(["\t", "  \t ", "   "]))
def test_blanks_do_not_matter(scenario, blanks):
    """However many blanks and tabs stand between words, the actions are the same."""
    text = "".join(f"{blanks}{line}\n\n" for line in show(scenario).split("\n") if not line.startswith("#"))
    spread = parse(text.replace(" ", blanks))
    assert [step.actions for step in scenario.steps] == [step.actions for step in spread.steps]


def told(text, read=parse):
    """Reading gives a scenario, or a ScenarioError that can be printed and points into the text."""
    try:
        scenario = read(text)
    except ScenarioError as mistake:
        error = mistake
    else:
        assert scenario == parse(show(scenario))
        return
    rows = str(error).split("\n")
    assert all(row.isprintable() for row in rows)
    assert len(rows) <= 3
    assert max(map(len, rows)) < 1000
    assert 0 <= error.column <= len(error.source_line) + 1


PIECES = """
    P W1 kernel heap W1.heap heap[3p] heap[0:1M] heap[ heap[::] heap[1p::0] . : ] = != ; ; # é \0 \x1b
    4M 0 5 99T thp= thp=2M,64K small rss=4 truth to=b to= on= on=v6.14 rw dontneed hugetlb=1G offset=0 file=x
"""
WORDS = st.sampled_from(
    [
        *PIECES.split(" "),
        *VERBS,
        *PROCESS_FIELDS,
        *SYSTEM_FIELDS,
        *CHOICES[Kind.FLAVOURS],
        "9" * 400,
        "\n",
        "\n",
    ]
)
SOURCES = st.one_of(
    st.text(max_size=200),
    st.lists(WORDS, max_size=30).map(" ".join),
    st.lists(WORDS, max_size=30).map("".join),
)


@QUICK
@given(SOURCES)
def test_any_text_is_a_scenario_or_a_scenario_error(text):
    """Random characters and random words of the language never raise anything else."""
    told(text)


@QUICK
@given(
    scenarios(), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 4), st.text(max_size=3)), max_size=4)
)
def test_damaged_scenarios_are_scenarios_or_scenario_errors(scenario, damages):
    """A legal file with pieces cut out and others put in never raises anything else."""
    text = show(scenario)
    for place, cut, put in damages:
        start = place % (len(text) + 1)
        text = text[:start] + put + text[start + cut :]
    told(text)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A file to be written over and over."""
    return tmp_path_factory.mktemp("fuzz") / "fuzz.scn"


BYTES = st.one_of(
    st.binary(max_size=300),
    st.builds(bytes.__add__, SOURCES.map(lambda text: text.encode(errors="replace")), st.binary(max_size=8)),
)


@QUICK
@given(BYTES)
def test_any_file_is_a_scenario_or_a_scenario_error(file, data):
    """Random bytes in a file never raise anything else."""
    file.write_bytes(data)
    told(file, load)
