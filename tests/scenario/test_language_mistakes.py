"""What a mistake in a `*.scn` file looks like to the person who made it."""

import builtins
import os
import pickle

import pytest

from mapcount.scenario.parse import MAX_BYTES, MAX_STEPS, load, parse
from mapcount.scenario.syntax import ScenarioError
from mapcount.scenario.verbs import VERBS

ALL_VERBS = ", ".join(VERBS)
MMAP = f"usage: P {VERBS['mmap'].usage}"
NAME = 'a name is a letter, then up to 31 letters, digits, "_" or "-"'
SIZE = "a size is a whole number with K, M, G or T, such as 64K or 2M, or of pages, such as 16p"
WHOLE = "is not a multiple of 4K, the size of a page"
COMPARE = "write FIELD=VALUE without blanks"


def mistake(text: str) -> ScenarioError:
    """The error that reading `text` ends in."""
    with pytest.raises(ScenarioError) as caught:
        parse(text, "prefork.scn")
    return caught.value


def marked(error: ScenarioError) -> str:
    """The part of the source line that the error points at."""
    return error.source_line[error.column - 1 :][: error.length]


def test_a_mistake_is_shown_with_its_line():
    """An error gives its place, shows the line, marks the word and names the nearest valid one."""
    error = mistake("P mmap heap 4M\nP fork W1\n\n# first half\nW1 mumap heap[0:1M]  # gone\n")
    expected = """\
prefork.scn:5:4: unknown verb "mumap"
    W1 mumap heap[0:1M]  # gone
       ^~~~~ did you mean "munmap"?"""
    assert expected == str(error)


def test_a_mistake_deep_in_a_word_is_marked_there():
    """The mark stands under the wrong part of a word, after tabs too."""
    expected = """\
prefork.scn:1:20: "64k" is not a size
    P\tmmap\theap 4M thp=64k,2M
                       ^~~ did you mean "64K"?"""
    assert expected.replace("\t", " ") == str(mistake("P\tmmap\theap 4M thp=64k,2M"))


def test_a_missing_word_is_marked_where_it_should_stand():
    """What is missing is marked just after the action that lacks it."""
    expected = """\
prefork.scn:1:16: mprotect needs a PROT
    P mprotect heap ; P exit
                   ^ usage: P mprotect TARGET PROT"""
    assert expected == str(mistake("P mprotect heap ; P exit"))


def test_a_lone_offset_says_both_things_it_could_mean():
    """`heap[1M]` could be one page or a range, and the error spells both."""
    expected = """\
prefork.scn:1:9: "heap[1M]" is a place in bytes, not a page or a range
    P write heap[1M]
            ^~~~~~~~ write heap[256p] for one page or heap[1M:2M] for a range"""
    assert expected == str(mistake("P write heap[1M]"))


def test_acting_after_exit_names_the_line_of_the_exit():
    """A process that has exited cannot act, and the error says where it did and who is left."""
    expected = """\
prefork.scn:5:1: P exited at line 4
    P write heap
    ^ alive: W1, W2"""
    assert expected == str(mistake("P mmap heap 4M\nP fork W1\nP fork W2\nP exit\nP write heap"))


def test_a_file_without_steps_says_so():
    """An empty file, blanks or comments alone are no scenario."""
    expected = 'prefork.scn: no steps\n    write one step per line, such as "P mmap heap 4M"'
    for text in ("", "\n\n", "  \t", "# only a title\n", "\ufeff"):
        assert expected == str(mistake(text))


@pytest.mark.parametrize(
    ("text", "mark", "message", "hint"),
    [
        # Actors and verbs.
        ("P mmmap heap", "mmmap", 'unknown verb "mmmap"', 'did you mean "mmap"?'),
        ("P MUNMAP heap", "MUNMAP", 'unknown verb "MUNMAP"', 'did you mean "munmap"?'),
        ("P zzz", "zzz", 'unknown verb "zzz"', f"valid: {ALL_VERBS}"),
        ("P", "", "a verb is missing after P", f"valid: {ALL_VERBS}"),
        ("kernel", "", "a verb is missing after kernel", f"valid: {ALL_VERBS}"),
        ("fork W1", "fork", '"fork" is a verb, and the actor comes first', 'as in "P fork C"'),
        ("P migrate heap", "migrate", "only the kernel can migrate", 'as in "kernel migrate P.heap"'),
        ("kernel fork W", "fork", "only a process can fork", 'as in "P fork C"'),
        ("3P exit", "3P", '"3P" is not a name', NAME),
        ("P fork a.b", "a.b", '"a.b" is not a name', NAME),
        (f"P fork {'a' * 33}", "a" * 33, f'"{"a" * 33}" is not a name', NAME),
        ("P fork kernel", "kernel", '"kernel" is the kernel itself, nothing else can be called so', ""),
        # Arguments.
        ("P mmap", "", "mmap needs a TARGET", MMAP),
        ("P fork", "", "fork needs a NAME", "usage: P fork NAME"),
        ("P exit now", "now", "too many arguments for exit", "usage: P exit"),
        ("P read a b", "b", "too many arguments for read", "usage: P read TARGET"),
        ("P mmap heap 4M 8M", "8M", 'mmap does not take "8M"', MMAP),
        ("P mmap heap[0:1M] 1M", "1M", "heap[0:1M] already says how much", "remove 1M"),
        ("P mprotect heap rxw", "rxw", '"rxw" is not a protection', 'did you mean "rx"?'),
        ("P madvise heap dont-need", "dont-need", '"dont-need" is not advice', 'did you mean "dontneed"?'),
        ("P exit ;", ";", 'no action after ";"', "a step ends with its line"),
        ("P exec ;; P exit", ";", 'no action before ";"', ""),
        # Options.
        ("P mmap heap 4M thb=2M", "thb=2M", 'mmap has no option "thb"', 'did you mean "thp"?'),
        ("P mmap heap smal", "smal", 'mmap does not take "smal"', 'did you mean "small"?'),
        ("P mmap heap 4M thp", "thp", "thp needs a value", "write thp=FOLIO[,FOLIO...]"),
        ("P mmap heap 4M file=", "", "a name is missing", ""),
        ("P mmap heap 4M small=1", "small=1", "small takes no value", 'write "small"'),
        ("P mmap heap 4M small small", "small", "small is given twice", ""),
        ("P mmap heap 4M small thp=2M", "thp=2M", "thp and small contradict each other", "choose one"),
        ("P mmap a 4M file=x shmem=y", "shmem=y", "file and shmem contradict each other", "choose one"),
        ("P mmap a 4M memfd=x file=y", "file=y", "memfd and file contradict each other", "choose one"),
        ("P mmap a 4M hugetlb thp=2M", "thp=2M", "thp and hugetlb contradict each other", "choose one"),
        ("P mmap a 4M prot=r reserved", "reserved", "reserved and prot contradict each other", "choose one"),
        ("P mmap a 4M offset=4K", "offset=4K", "offset means nothing without file= or shmem= or memfd=", ""),
        ("P mmap a 3M hugetlb", "3M", '"3M" is not a multiple of 2M, the size of its pages', "write 4M"),
        ("P mmap a 4M hugetlb=4M", "4M", "there are no hugetlb pages of 4M", "write 2M or 1G"),
        ("P mremap heap", "", "mremap needs to=TARGET", "usage: P mremap TARGET to=TARGET"),
        # Sizes.
        ("P mmap heap 4X", "4X", '"4X" is not a size', SIZE),
        ("P mmap heap 4MiB", "4MiB", '"4MiB" is not a size', 'did you mean "4M"?'),
        ("P mmap heap 16P", "16P", '"16P" is not a size', 'did you mean "16p"?'),
        ("P mmap heap 1.5M", "1.5M", '"1.5M" is not a size', SIZE),
        ("P mmap heap 0", "0", "a size of 0", "the smallest size is 4K, one page"),
        ("P mmap heap 5", "5", f'"5" {WHOLE}', 'did you mean "5p", 5 pages?'),
        ("P mmap heap 1K", "1K", f'"1K" {WHOLE}', "the smallest size is 4K, one page"),
        ("P mmap heap 6K", "6K", f'"6K" {WHOLE}', "write 4K or 8K"),
        ("P mmap heap 65T", "65T", '"65T" is more than 64T', ""),
        ("P mmap heap 4M thp=12K", "12K", "there are no large folios of 12K",
         "write a power of two from 8K to 1G, such as 64K or 2M"),
        ("P mmap heap 4M thp=8G", "8G", "there are no large folios of 8G",
         "write a power of two from 8K to 1G, such as 64K or 2M"),
        ("P mmap heap 4M thp=64K,,2M", "", "a size is missing", SIZE),
        ("P mmap heap 4M thp=2M,512p", "512p", "2M is named twice", ""),
        # Targets.
        ("P read 1heap", "1heap", '"1heap" is not a name', NAME),
        ("P read heap[]", "", "a size is missing", SIZE),
        ("P read heap[3]", "3", f'"3" {WHOLE}', 'did you mean "3p", 3 pages?'),
        ("P read heap[6K:1M]", "6K", f'"6K" {WHOLE}', "write 4K or 8K"),
        ("P read heap[1M:1M]", "heap[1M:1M]", '"heap[1M:1M]" is an empty range', ""),
        ("P read heap[2M:1M]", "heap[2M:1M]", '"heap[2M:1M]" is an empty range', "did you mean [1M:2M]?"),
        ("P read heap[0:1M:0]", "0", "a size of 0", "the smallest size is 4K, one page"),
        ("P read heap[0:1M:4K:]", "heap[0:1M:4K:]", '"heap[0:1M:4K:]" has too many colons',
         "a stride is [START:STOP:STEP]"),
        ("P read heap[0 : 1M]", "heap[0", '"heap[0" lacks its "]"', "write heap[A:B] without blanks"),
        ("P read heap[3p]x", "x", 'nothing may follow "]"', "write heap[3p]"),
        ("kernel split a.b.c", "a.b.c", "more than one dot", "write REGION or PROCESS.REGION"),
        ("P read Q.heap", "Q.heap", "a process can read only regions of its own", 'write "Q read heap"'),
        ("P mremap a to=Q.b", "to=Q.b", "a process can mremap only regions of its own", "write to=b"),
        # Expectations.
        ("P expect heap", "", "nothing to expect", "write FIELD=VALUE, such as truth=exclusive"),
        ("kernel expect", "", "nothing to expect", "write FIELD=VALUE, such as anon_pages=0"),
        ("P expect heap trth=shared", "trth", 'unknown field "trth"', 'did you mean "truth"?'),
        ("P expect heap truth = shared", "truth", '"truth" is not a comparison', COMPARE),
        ("P expect heap rss=", "rss=", '"rss=" is not a comparison', COMPARE),
        ("P expect heap rss==4", "==", '"==" compares nothing', "valid: = != < <= > >="),
        ("P expect heap rss=4=5", "4=5", '"4=5" is not a value', "a value is a word or a number"),
        ("P expect anon_pages=4", "anon_pages", "anon_pages is a field of the kernel",
         'write "kernel expect anon_pages=4"'),
        ("kernel expect rss=4", "rss", "rss is a field of a process or region", 'write "P expect rss=4"'),
        ("kernel expect heap mapped=4", "heap", "kernel expect takes no TARGET",
         'as in "P expect heap truth=exclusive maybe_shared=yes on=no-page-mapcount"'),
        ("P expect rss=4 on=v6.15", "v6.15", '"v6.15" is not a flavour', 'did you mean "v6.14"?'),
        ("P expect rss=4 on=v6.14,v6.14", "v6.14", "v6.14 is named twice", ""),
        # Who is alive.
        ("P fork W1 ; w1 exit", "w1", "there is no process w1; alive: P, W1", 'did you mean "W1"?'),
        ("P fork C ; kernel split D9.heap", "D9", "there is no process D9; alive: P, C",
         'begin it with "P fork D9"'),
        ("P exit ; C exit", "C", "there is no process C; every process has exited", ""),
        ("P exit ; P exit", "P", "P exited at line 1", "every process has exited"),
        ("P fork C ; P fork C", "C", "C is already alive, since line 1",
         "a name is free again after its process has exited"),
        ("P expect Q.heap rss=4", "Q", "there is no process Q; alive: P", 'begin it with "P fork Q"'),
        # Characters.
        ("P exit \0", "\0", "control character U+0000", "save the file as UTF-8 text"),
        ("P exit # \x1b[31m", "\x1b", "control character U+001B", "remove it"),
        ("P exit # \u202etxet", "\u202e", "control character U+202E", "remove it"),
        ("P exit\rP exit", "\r", "control character U+000D", "remove it"),
        ("P exit \ud800", "\ud800", "control character U+D800", "remove it"),
    ],
)  # fmt: skip
def test_each_mistake_is_marked_and_explained(text, mark, message, hint):
    """Every kind of mistake marks its word, says what is wrong and, where it can, what would be right."""
    error = mistake(text)
    assert (mark, message, hint) == (marked(error) if mark else "", error.message, error.hint)
    assert 1 == error.line


def test_a_hint_is_about_the_words_the_verb_knows():
    """An unknown field near no other lists the first valid ones."""
    assert mistake("P expect heap qqq=1").hint.startswith("valid: truth, maybe_shared, total, ")


def test_long_lines_are_clipped_around_the_mistake():
    """Of a long line only the surroundings of the mistake are shown."""
    head, shown, marks = str(
        mistake(f"P fork C  # {'x' * 300}\nP {'exec ; P ' * 60}mumap heap # {'y' * 300}")
    ).split("\n")
    assert 'prefork.scn:2:543: unknown verb "mumap"' == head
    assert "    ..." == shown[:7]
    assert "..." == shown[-3:]
    assert 4 + 3 + 96 + 3 == len(shown)
    assert "mumap" == shown[marks.index("^") :][:5]


def test_wide_characters_keep_the_mark_in_place():
    """Characters that fill two columns of a terminal move the mark by two."""
    assert "    P 映射 heap\n      ^~~~ valid: " in str(mistake("P 映射 heap"))


def test_errors_are_safe_to_print():
    """Control characters of the file and of its name are spelled out."""
    with pytest.raises(ScenarioError) as caught:
        parse("P exit \x1b[2J\x07", "evil\x1b]0;.scn\n")
    expected = """\
evil\\x1b]0;.scn\\n:1:8: control character U+001B
    P exit \\x1b[2J\\x07
           ^~~~ remove it"""
    assert expected == str(caught.value)


def test_errors_travel():
    """A ScenarioError can be pickled, and is a ValueError."""
    error = mistake("P zzz")
    assert str(error) == str(pickle.loads(pickle.dumps(error)))
    assert isinstance(error, ValueError)


def test_long_lines_are_refused():
    """A line of 1,001 characters is too long, one of 1,000 is not."""
    assert 1 == len(parse("P exit #" + "x" * 992).steps)
    error = mistake("P exit #" + "x" * 993)
    assert ("a line longer than 1000 characters", 1, 1001) == (error.message, error.line, error.column)
    assert 250 > len(str(mistake("x" * 1_000_000)))


def test_long_scenarios_are_refused():
    """The 10,001st step is too much, the 10,000th is not."""
    assert MAX_STEPS == len(parse("P exec\n" * MAX_STEPS).steps)
    error = mistake("P exec\n" * (MAX_STEPS + 1))
    assert ("more than 10000 steps, the most a scenario may have", 10_001) == (error.message, error.line)


def test_a_hard_word_is_told_quickly():
    """Neither long digits nor long unknown words take time or flood the terminal."""
    assert 400 > len(str(mistake(f"P mmap heap {'9' * 980}")))
    assert 500 > len(str(mistake(f"P {'mmap' * 240} heap")))


# Files.


def loading(path) -> str:
    """What is said about a file that cannot be a scenario, without the directory it is in."""
    with pytest.raises(ScenarioError) as caught:
        load(path)
    return str(caught.value).replace(f"{path.parent}/" if hasattr(path, "parent") else "", "")


def test_files_that_are_not_there(tmp_path):
    """A missing file, a directory and an impossible name are told apart."""
    assert "none.scn: no such file" == loading(tmp_path / "none.scn")
    (tmp_path / "dir.scn").mkdir()
    assert "dir.scn: is a directory, not a scenario file" == loading(tmp_path / "dir.scn")
    assert "a\\x00b: no file can have this name" == loading("a\0b")


def test_files_that_may_not_be_read(tmp_path, monkeypatch):
    """The system's own words say why a file cannot be read."""

    def refuse(name, *_):
        raise PermissionError(13, os.strerror(13), name)

    monkeypatch.setattr(builtins, "open", refuse)
    assert "a.scn: cannot be read: Permission denied" == loading(tmp_path / "a.scn")


def test_files_that_are_too_large(tmp_path):
    """More than 1 MiB is not read, and neither is a device without end."""
    (tmp_path / "a.scn").write_bytes(b"#" * (MAX_BYTES + 1))
    assert "a.scn: larger than 1 MiB, the most a scenario may be" == loading(tmp_path / "a.scn")
    assert "/dev/zero: larger than 1 MiB, the most a scenario may be" == loading("/dev/zero")


def test_files_that_are_not_text(tmp_path):
    """The first byte that is not UTF-8 is told by offset and line, and marked."""
    (tmp_path / "a.scn").write_bytes("P exec # é\nP re".encode() + b"\xffad heap\nP exit\n")
    expected = """\
a.scn:2:5: not UTF-8 text: byte 0xff at offset 16, in line 2
    P re\\xffad heap
        ^~~~ save the file as UTF-8"""
    assert expected == loading(tmp_path / "a.scn")
