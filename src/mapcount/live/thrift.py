"""Thrift's compact protocol, read as plain values: the headers in Parquet files are written in it.

A struct becomes a dictionary by field number, a list becomes a list, all numbers are int. What is read comes
from outside: nothing is believed longer than the bytes that are left, and depth is bounded.
"""

from __future__ import annotations

from typing import TypeAlias

Value: TypeAlias = "int | bytes | list[Value] | Struct"
Struct: TypeAlias = dict[int, "Value"]

MOST_DEPTH = 16
STOP, TRUE, FALSE, BYTE, I16, I32, I64, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = range(13)
"""Types as fields and lists name them."""


class ThriftError(ValueError):
    """Bytes that are no struct."""


def read_struct(data: bytes | memoryview, at: int, end: int) -> tuple[Struct, int]:
    """The struct that begins at a byte, and where it ends. Raises ThriftError."""
    reader = _Reader(data, at, end)
    return reader.struct(0), reader.at


class _Reader:
    def __init__(self, data: bytes | memoryview, at: int, end: int) -> None:
        if not 0 <= at <= end <= len(data):
            raise ThriftError("a header lies outside of the file")
        self._data, self.at, self._end = data, at, end

    def struct(self, depth: int) -> Struct:
        if depth > MOST_DEPTH:
            raise ThriftError(f"a header is nested more than {MOST_DEPTH} deep")
        found: Struct = {}
        number = 0
        while kind := self._byte():
            delta, kind = kind >> 4, kind & 15
            number = number + delta if delta else self._zigzag()
            if number in found:
                raise ThriftError(f"a header has field {number} twice")
            found[number] = int(kind == TRUE) if kind in (TRUE, FALSE) else self._value(kind, depth)
        return found

    def _value(self, kind: int, depth: int) -> Value:
        if kind in (TRUE, FALSE, BYTE):  # alone in a list, a truth value takes a byte
            return self._byte()
        if kind in (I16, I32, I64):
            return self._zigzag()
        if kind == DOUBLE:
            return self._bytes(8)
        if kind == BINARY:
            return self._bytes(self._varint())
        if kind in (LIST, SET):
            return self._list(depth)
        if kind == STRUCT:
            return self.struct(depth + 1)
        raise ThriftError(f"a header has a value of type {kind}, which Parquet has not")

    def _list(self, depth: int) -> list[Value]:
        if depth > MOST_DEPTH:
            raise ThriftError(f"a header is nested more than {MOST_DEPTH} deep")
        head = self._byte()
        size, kind = head >> 4, head & 15
        if size == 15:
            size = self._varint()
        if size > self._end - self.at:
            raise ThriftError(f"a header has a list of {size}, and is shorter")
        return [self._value(kind, depth + 1) for _ in range(size)]

    def _byte(self) -> int:
        if self.at >= self._end:
            raise ThriftError("a header is cut short")
        self.at += 1
        return self._data[self.at - 1]

    def _bytes(self, size: int) -> bytes:
        if size > self._end - self.at:
            raise ThriftError("a header is cut short")
        self.at += size
        return bytes(self._data[self.at - size : self.at])

    def _varint(self) -> int:
        value = 0
        for shift in range(0, 70, 7):
            byte = self._byte()
            value |= (byte & 127) << shift
            if byte < 128:
                return value
        raise ThriftError("a header has a number of more than 64 bits")

    def _zigzag(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)
