"""FlatBuffers, as far as model files use them, with every offset checked against the file.

A table points back to its vtable (how many bytes it and the table have, then the place of each
field in the table, 0 where the default holds); strings, vectors and tables are reached by offsets
from where the offset stands. All numbers are little-endian.

Source: the FlatBuffers binary format ("FlatBuffer Internals").
"""

from __future__ import annotations

import struct

import numpy as np

from facenb.errors import AssetError


class Table:
    """One table of a file: its fields are read by their number in the schema.

    Args:
        data: the whole file.
        at: where the table begins.
        source: what to call the file in an error.

    Raises AssetError, here and in every method, for an offset or a size outside of the file.
    """

    def __init__(self, data: bytes, at: int, source: str) -> None:
        self._data, self._at, self._source = data, at, source
        self._vtable = at - self._number("<i", at)
        self._fields = (self._number("<H", self._vtable) - 4) // 2

    @classmethod
    def root(cls, data: bytes, source: str, identifier: bytes) -> Table:
        """The outermost table of a file that carries the four-byte `identifier`."""
        found = data[4:8]
        if found != identifier:
            raise AssetError(f"{source}: expected a file marked {identifier!r}, given {found!r}.")
        (at,) = struct.unpack_from("<I", data)
        return cls(data, at, source)

    def number(self, field: int, kind: str, default: int = 0) -> int:
        """A scalar: `kind` is struct's letter, such as "b", "i" or "I"."""
        place = self._place(field)
        return default if place is None else self._number(f"<{kind}", place)

    def table(self, field: int) -> Table | None:
        """The table that a field points to; None where there is none."""
        place = self._place(field)
        return None if place is None else self._table(place)

    def tables(self, field: int) -> list[Table]:
        """A vector of tables; empty where there is none."""
        start, count = self._vector(field, 4)
        return [self._table(start + 4 * i) for i in range(count)]

    def array(self, field: int, kind: str) -> np.ndarray:
        """A vector of numbers, of numpy's type `kind`; empty where there is none."""
        dtype = np.dtype(kind)
        start, count = self._vector(field, dtype.itemsize)
        return np.frombuffer(self._data, dtype, count, start)

    def text(self, field: int) -> str:
        """A string; empty where there is none."""
        return self.array(field, "u1").tobytes().decode(errors="replace")

    def _place(self, field: int) -> int | None:
        if field >= self._fields:
            return None
        offset = self._number("<H", self._vtable + 4 + 2 * field)
        return self._at + offset if offset else None

    def _table(self, place: int) -> Table:
        return Table(self._data, place + self._number("<I", place), self._source)

    def _vector(self, field: int, size: int) -> tuple[int, int]:
        """Where a vector's items begin, and how many there are."""
        place = self._place(field)
        if place is None:
            return 0, 0
        at = place + self._number("<I", place)
        count = self._number("<I", at)
        self._check(at + 4, count * size)
        return at + 4, count

    def _number(self, kind: str, at: int) -> int:
        self._check(at, struct.calcsize(kind))
        return struct.unpack_from(kind, self._data, at)[0]

    def _check(self, at: int, size: int) -> None:
        if at < 0 or at + size > len(self._data):
            raise AssetError(
                f"{self._source} is damaged: it points to bytes {at:,} to {at + size:,}, "
                f"and has {len(self._data):,}."
            )
