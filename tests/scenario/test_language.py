"""What the words of a `*.scn` file mean, and how they are printed again."""

import dataclasses
import pickle

import pytest

from mapcount.scenario.parse import load, parse
from mapcount.scenario.printing import show, show_size, show_target
from mapcount.scenario.syntax import Action, Comparison, Location, Scenario, Step, Target
from mapcount.scenario.verbs import CHOICES, KINDS, PROCESS_FIELDS, SYSTEM_FIELDS, VERBS, Kind, reference

PREFORK = """\
# prefork: the parent leaves first
#
#   The kernel is mistaken at the end.

P  mmap   heap 4M thp=2M
# Nothing is in memory yet.
P  write  heap          # now it is
P  fork   W1
P  fork   W2 ; W2 munmap heap[1p:]
P  exit
W1 munmap heap[0:1M]
W1 munmap heap[1M::64K]
W2 expect heap truth=exclusive maybe_shared=yes on=no-page-mapcount,total-mapped-pages
kernel swapout W1.heap[0p:16p]
kernel expect anon_pages>=16
"""

CANONICAL = """\
# prefork: the parent leaves first
#
# The kernel is mistaken at the end.
P      mmap    heap 4M thp=2M
P      write   heap  # now it is
P      fork    W1
P      fork    W2 ; W2 munmap heap[1p:]
P      exit
W1     munmap  heap[0:1M]
W1     munmap  heap[1M::64K]
W2     expect  heap truth=exclusive maybe_shared=yes on=no-page-mapcount,total-mapped-pages
kernel swapout W1.heap[0:64K]
kernel expect  anon_pages>=16
"""


def action(text: str) -> Action:
    """The only action of a one-line scenario."""
    (step,) = parse(text).steps
    (only,) = step.actions
    return only


def target(text: str) -> Target:
    """The target that the kernel is given."""
    found = action(f"kernel split {text}").target
    assert found is not None
    return found


def test_every_line_with_words_is_one_step():
    """Blank lines and comments on lines of their own are no steps, and `;` joins actions to one."""
    assert [1, 1, 1, 2, 1, 1, 1, 1, 1, 1] == [len(step.actions) for step in parse(PREFORK).steps]


def test_a_step_keeps_its_line_as_written():
    """A step knows its line number, its text without the comment, and its comment without the `#`."""
    step = parse(PREFORK).steps[1]
    assert (7, "P  write  heap", "now it is") == (step.line, step.text, step.comment)


def test_the_leading_comment_block_is_the_title():
    """The title is the first block of comments, without `#`, up to a blank line or a step."""
    assert "prefork: the parent leaves first\n\nThe kernel is mistaken at the end." == parse(PREFORK).title
    assert "one" == parse("\n\n# one\n\n# two\nP exit").title
    assert "" == parse("P exit\n# no title\n").title


def test_a_file_gives_the_scenario_its_name(tmp_path):
    """A scenario is called what its file is called, without the suffix."""
    file = tmp_path / "prefork.scn"
    file.write_text(PREFORK)
    assert ("prefork", str(file)) == (load(file).name, load(file).path)


def test_windows_files_are_read(tmp_path):
    """A byte-order mark and CR LF line ends change nothing."""
    file = tmp_path / "prefork.scn"
    file.write_bytes(b"\xef\xbb\xbf" + PREFORK.replace("\n", "\r\n").encode())
    assert parse(PREFORK) == load(file)


def test_actions_say_what_was_written():
    """Arguments fill target, size and word by their kind, options are kept under their keywords."""
    heap = Target("heap")
    assert Action("P", "mmap", heap, 1024, options={"thp": (16, 512)}) == action("P mmap heap 4M thp=64K,2M")
    assert Action("P", "mmap", heap, 512, options={"small": True, "prot": "r"}) == action(
        "P mmap heap 512p prot=r small"
    )
    assert Action("P", "mmap", heap, 1, options={"file": "lib", "offset": 0}) == action(
        "P mmap heap 4096 offset=0 file=lib"
    )
    assert Action("P", "fork", word="C") == action("P fork C")
    assert Action("P", "exit") == action("P exit")
    assert Action("P", "madvise", heap, word="free") == action("P madvise heap free")
    assert Action("P", "mremap", heap, options={"to": Target("high", 256, 512)}) == action(
        "P mremap heap to=high[1M:2M]"
    )
    assert Action(
        "P", "expect", heap, expects=(Comparison("rss", "<=", "64"),), flavours=("v6.14",)
    ) == action("P expect heap rss<=64 on=v6.14")


def test_hugetlb_alone_means_2m():
    """`hugetlb` without a size means 2 MiB pages."""
    assert action("P mmap h 4M hugetlb=2M") == action("P mmap h 4M hugetlb")
    assert {"hugetlb": 1 << 18} == action("P mmap h 1G hugetlb=1G").options


@pytest.mark.parametrize(
    ("text", "pages"),
    [("4K", 1), ("4096", 1), ("3p", 3), ("2M", 512), ("1G", 1 << 18), ("64T", 1 << 34), ("007M", 1792)],
)
def test_sizes(text, pages):
    """Sizes are bytes, binary multiples of bytes, or pages."""
    assert pages == action(f"P mmap heap {text}").size


@pytest.mark.parametrize(
    ("text", "start", "stop", "step", "canonical"),
    [
        ("heap", 0, None, None, "heap"),
        ("heap[:]", 0, None, None, "heap"),
        ("heap[0:1M]", 0, 256, None, "heap[0:1M]"),
        ("heap[:1M]", 0, 256, None, "heap[0:1M]"),
        ("heap[1p:]", 1, None, None, "heap[1p:]"),
        ("heap[3p]", 3, 4, None, "heap[3p]"),
        ("heap[3p:4p]", 3, 4, None, "heap[3p]"),
        ("heap[16p:1M]", 16, 256, None, "heap[64K:1M]"),
        ("heap[1M::64K]", 256, None, 16, "heap[1M::64K]"),
        ("heap[::2p]", 0, None, 2, "heap[0::2p]"),
        ("heap[3p:4p:1p]", 3, 4, 1, "heap[3p:4p:1p]"),
    ],
)
def test_targets(text, start, stop, step, canonical):
    """A target is a region, a range, one page or pages a stride apart, and has one canonical spelling."""
    assert Target("heap", start, stop, step) == target(text)
    assert canonical == show_target(target(text))


def test_a_target_names_its_pages():
    """`Target.pages` lists the pages meant in a region of a given size."""
    assert range(8) == target("heap").pages(8)
    assert [3] == list(target("heap[3p]").pages(8))
    assert [1, 4, 7] == list(target("heap[1p::3p]").pages(8))
    assert [1, 3] == list(target("heap[1p:4p:2p]").pages(8))
    assert "W1" == target("W1.heap[3p]").process


def test_words_may_look_like_keywords():
    """A region, file or process may be called like a verb or an option, where its place tells them apart."""
    assert Target("small") == action("P mmap small 4M small").target
    assert Target("on") == action("P expect on rss=4 on=v6.14").target
    assert Action("fork", "fork", word="mmap") == action("fork fork mmap")


def test_hash_inside_a_word_is_no_comment():
    """`#` begins a comment only where a word begins."""
    assert "# two" == parse("P exit ## two").steps[0].comment
    with pytest.raises(ValueError, match='unknown verb "exit#now"'):
        parse("P exit#now")


def test_actions_know_where_they_stand():
    """Actions, targets and comparisons carry their line, column and length, which equality ignores."""
    first, second = parse("P fork C ;  C expect heap rss=4").steps[0].actions
    assert second.target is not None
    assert (Location(1, 1, 8), Location(1, 13, 19)) == (first.loc, second.loc)
    assert (Location(1, 22, 4), Location(1, 27, 5)) == (second.target.loc, second.expects[0].loc)
    assert dataclasses.replace(first, loc=Location(9, 9, 9)) == first


def test_a_scenario_complains_about_its_own_lines():
    """A mistake that shows at run time is told like one that shows when reading."""
    scenario = parse("# t\nP write heap\n", "a.scn")
    loc = scenario.steps[0].actions[0].target.loc
    expected = 'a.scn:2:9: P has no region "heap"\n    P write heap\n            ^~~~ mmap it first'
    assert expected == str(scenario.error(loc, 'P has no region "heap"', "mmap it first"))


def test_the_first_process_named_exists_at_the_start():
    """`Scenario.first` is the first process that acts or whose region is named."""
    assert "P" == parse(PREFORK).first
    assert "Q" == parse("kernel split Q.heap\nQ exit").first
    assert None is parse("kernel expect anon_pages=0").first


def test_names_are_free_again_after_exit():
    """A name may be forked anew once its process has exited, the first one's too."""
    assert 6 == len(parse("P fork C\nC exit\nP fork C\nP exit\nC fork P\nP exit").steps)


def test_scenarios_travel():
    """Scenarios can be pickled and hashed."""
    scenario = parse(PREFORK)
    assert scenario == pickle.loads(pickle.dumps(scenario))
    assert hash(parse(CANONICAL)) == hash(scenario)


def test_printing_is_canonical():
    """Printing aligns actors and verbs, and printing what was printed changes nothing."""
    assert CANONICAL == show(parse(PREFORK))
    assert CANONICAL == show(parse(CANONICAL))
    assert parse(PREFORK) == parse(CANONICAL)


def test_a_scenario_can_be_made_without_a_file():
    """Scenarios made by a program print like written ones."""
    made = Scenario(
        "made", "", "", (Step((Action("P", "mmap", Target("heap"), 3, options={"small": True}),)),)
    )
    assert "P mmap heap 12K small\n" == show(made)


def test_a_line_too_long_when_aligned_is_printed_as_written():
    """A line that alignment would make too long to be read again stays as it was written."""
    line = ";".join(["P exec"] * 142) + " #" + "x" * 4
    assert 999 == len(line)
    scenario = parse(f"#{'t' * 999}\n{line}")
    assert f"#{'t' * 999}\n{line}\n" == show(scenario)
    assert scenario == parse(show(scenario))


@pytest.mark.parametrize(
    ("pages", "text"), [(0, "0"), (3, "12K"), (512, "2M"), (513, "2052K"), (1 << 34, "64T")]
)
def test_sizes_are_printed_in_the_largest_exact_unit(pages, text):
    """A size is a whole number of the largest unit that divides it."""
    assert text == show_size(pages)


@pytest.mark.parametrize("verb", VERBS.values(), ids=list(VERBS))
def test_every_verb_has_an_example_that_is_legal(verb):
    """Each row's example parses, uses that verb, and is canonical."""
    assert verb.name == action(verb.example).verb
    assert verb.example == show(parse(verb.example)).strip() or "p:" in verb.example


def test_rows_name_only_options_that_exist():
    """Contradictions and needs name options of the same verb."""
    for verb in VERBS.values():
        keywords = {option.keyword for option in verb.options}
        named = {name for option in verb.options for name in (*option.excludes, *option.needs)}
        assert set() == named - keywords


def test_every_kind_is_explained():
    """Every kind of word that usage lines show is in the reference, by its looks or its choices."""
    assert {kind for kind in Kind if kind.value} == {*KINDS, *CHOICES}


def test_the_reference_has_everything():
    """The reference holds every verb, option and field, and all its tables are well formed."""
    text = reference()
    for word in (*(verb.usage for verb in VERBS.values()), *PROCESS_FIELDS, *SYSTEM_FIELDS):
        assert f"`{word}`" in text
    tables = [table.split("\n") for table in text.strip().split("\n\n")]
    assert [4, 2, 5, 2, 2] == [table[0].count("|") - 1 for table in tables]
    assert all(line.count("|") == table[0].count("|") for table in tables for line in table)
