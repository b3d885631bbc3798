"""What a Parquet file takes is known before it is unpacked, whoever has made it."""

from __future__ import annotations

import io
from contextlib import suppress

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mapcount.live.parquet_sizes import ParquetError, check_sizes
from mapcount.live.thrift import ThriftError, read_struct

from .parquet_file import Column, Page, struct

MOST = 1 << 20


def written(frame: pl.DataFrame, **options: object) -> bytes:
    """A file as polars writes it."""
    buffer = io.BytesIO()
    frame.write_parquet(buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


@pytest.mark.parametrize("compression", ["zstd", "snappy", "uncompressed"])
@pytest.mark.parametrize("rows", [1, 5000])
def test_what_polars_writes_is_read(compression: str, rows: int) -> None:
    """Files that were written in good faith pass, and take at least the room that their values need."""
    frame = pl.DataFrame(
        {"a": range(rows), "b": [True] * rows, "s": [f"x{i % 7}" for i in range(rows)], "l": [[1, 2]] * rows}
    )
    taken = check_sizes(written(frame, compression=compression), rows, 1 << 30)
    assert taken >= rows * 8 * 5


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (Column([Page(unpacked=MOST)]), "unpacks to more than is read, by 800 bytes in column 'pid'"),
        (Column([Page(50, MOST // 2)] * 2), "unpacks to more than is read"),
        (Column([Page(101)]), "column 'pid' has 101 values, at most 100 are read"),
        (Column([Page(60), Page(60)]), "column 'pid' has 120 values, at most 100 are read"),
        (Column([Page(1 << 31, kind=3)]), "has 2147483648 values, at most 100"),
        (Column([Page(1 << 30)], path=(b"l", b"list", b"element")), "has 1073741824 values, at most 4194304"),
        (Column([Page(1 << 18)], path=(b"l", b"list", b"element")), "unpacks to more than is read"),
        (Column([Page(1 << 31, 8, kind=2)]), "has a dictionary of 2147483648 in 8 bytes"),
        (Column([Page(-1)]), "a page of -1 values"),
        (Column([Page(unpacked=-1)]), "which it has no room for"),
        (Column([Page(packed=1000)]), "a page of 1000 bytes, which it has no room for"),
        (Column([Page(encoding=7)]), "has encoding 7, which is not read"),
        (Column([Page(kind=9)]), "has a page of kind 9"),
        (Column(codec=2), "has compression 2, and only these are read: none, snappy, zstd"),
        (Column(changes={7: 1 << 40}), "column 'pid' lies outside of the file"),
        (Column(changes={9: -4}), "column 'pid' lies outside of the file"),
        (Column(changes={11: 1 << 40}), "column 'pid' lies outside of the file"),
        (Column(changes={4: b"zstd"}), "a header has no number 4"),
        (Column(rows=99), "has 99 rows, meta.json says 100"),
    ],
)
def test_what_claims_too_much_is_refused(column: Column, message: str) -> None:
    """Each number that a reader would make room by is checked, and the column is named."""
    with pytest.raises(ParquetError) as error:
        check_sizes(column.file(), 100, MOST)
    assert message in str(error.value)


def test_what_claims_enough_is_not() -> None:
    """The files above are refused for what they claim alone: this one claims what is allowed."""
    assert 800 + 8 * 100 == check_sizes(Column().file(), 100, MOST)
    dictionary = Column([Page(10, 80, kind=2), Page(100, 20, encoding=8)])
    assert 100 + 8 * 110 == check_sizes(dictionary.file(), 100, MOST)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not begin and end as one"),
        (b"PAR1" + b"x" * 20, "does not begin and end as one"),
        (Column().file(footer_bytes=1 << 30), "a footer of 1073741824 bytes, at most 1048576 are read"),
        (Column().file(footer_bytes=7), "is no Parquet file that can be read"),
    ],
)
def test_what_is_no_file_is_refused(content: bytes, message: str) -> None:
    """A file without a footer, or with one that is too large or no header, is refused."""
    with pytest.raises(ParquetError) as error:
        check_sizes(content, 100, MOST)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (struct({1: 5})[:-1], "cut short"),
        (b"\x18\xff\xff\xff\xff\x0f", "cut short"),
        (b"\x19\xf5\xff\xff\xff\xff\x0f", "a list of 4294967295, and is shorter"),
        (b"\x1c" * 40, "nested more than 16 deep"),
        (b"\x19\x19" * 40, "nested more than 16 deep"),
        (b"\x15" + b"\xff" * 20, "a number of more than 64 bits"),
        (b"\x1b\x00\x00", "a value of type 11"),
        (b"\x15\x02\x05\x02\x02\x00", "field 1 twice"),
    ],
)
def test_headers_that_are_none(content: bytes, message: str) -> None:
    """A header is never longer than the bytes that are there, nor deep, nor ambiguous."""
    with pytest.raises(ThriftError) as error:
        read_struct(content, 0, len(content))
    assert message in str(error.value)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_header_or_not(content: bytes) -> None:
    """Whatever the bytes, there is a struct or a ThriftError, and no other."""
    with suppress(ThriftError):
        _, end = read_struct(content, 0, len(content))
        assert end <= len(content)


FIELDS = st.recursive(
    st.integers(-(1 << 62), 1 << 62) | st.binary(max_size=20),
    lambda inner: st.dictionaries(st.integers(1, 40), inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(st.integers(1, 40), FIELDS, max_size=6))
def test_what_was_written_is_read(fields: dict[int, object]) -> None:
    """Every struct is read as it was written, to its last byte."""
    content = struct(fields)
    assert (fields, len(content)) == read_struct(content + b"more", 0, len(content) + 4)
