"""One key's versions of a row as one checked blob.

    rows | texts | crc32 uint32

Little-endian, unaligned. Rows are by rising visible time and of one width: visible int64, event int64, with a text or a
vector column the offset of the row's texts in the blob (uint32), a bitmap of nulls, the columns (of a text and a vector its
length in bytes). Behind a row's texts are its vectors, float32. A lookup's row has no times. The checksum
covers the key too, so a blob under another key's name does not pass.
"""

import struct
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from operator import itemgetter
from typing import Any
from zlib import crc32

import numpy as np

from fti_assets.core.manifest import Column
from fti_assets.core.types import SIDES
from fti_assets.errors import DataError
from fti_assets.stores.online.checksums import CHECKSUM_BYTES, CRC_OF_CHECKED, with_checksum
from fti_assets.stores.online.versions import RawWinner, Version, Winner, check_times

FORMAT = 2
"""The number of this layout, which a namespace states with its schema."""

Blobs = Iterator[tuple[bytes, bytes]]
"""Encoded keys with their blobs, in the order of the bytes of the keys, each key once."""

_VISIBLE = struct.Struct("<q")
_SINGLE = np.dtype("<f4")
_new = tuple.__new__  # of a named tuple, in half the time


Find = Callable[[bytes, bytes, int], RawWinner | None]
"""What a key's blob says at an instant, after a look whether it is what was written under the key."""

FindWhole = Callable[[bytes, int], RawWinner | None]
"""What a blob says at an instant that is known to be what was written."""


class BlobFormat:
    """How the versions of one key are written and read, for one schema.

    Args:
        columns: the columns of a row, in the order of a version's values.
        event_time: whether versions have times; without, each key has one version.
        wanted: the positions of the columns that ``winner`` returns, in order; all by default.
    """

    def __init__(
        self, columns: tuple[Column, ...], *, event_time: bool, selection: Sequence[int] | None = None
    ) -> None:
        self.columns = columns
        self.event_time = event_time
        self._has_texts = any(column.type in ("text", "vector") for column in columns)
        self._nulls_width = (len(columns) + 7) // 8
        head = ("qq" if event_time else "") + ("I" if self._has_texts else "")
        self._head = len(head)
        widths = "".join(SIDES[column.type].blob for column in columns)
        self._row = struct.Struct(f"<{head}{self._nulls_width}s{widths}")
        self._texts_at = struct.Struct("<I"), 16 if event_time else 0
        self._plain = () if self._has_texts else tuple(SIDES[column.type].packs[0] for column in columns)
        self._no_nulls = bytes(self._nulls_width)
        first = self._head + 1
        self._texts = [first + i for i in behind_rows(columns)]
        self._vectors = frozenset(first + i for i, column in enumerate(columns) if column.type == "vector")
        places = [first + i for i in (range(len(columns)) if selection is None else selection)]
        self._wanted_texts = frozenset(places) & frozenset(self._texts)
        self._pick = _picker(places)
        self.find_whole: FindWhole = self._find_whole if self._has_texts else self._quick()
        """``winner`` as a plain tuple, of a blob that is known to be what was written."""
        self.find: Find = _checked(self.find_whole)
        """``winner`` as a plain tuple."""

    def pack(self, key: bytes, versions: Sequence[Version]) -> bytes:
        """Write a key's versions: visible times rise, event times rise or stay (a correction).

        Raises:
            DataError: the times are out of order, or a value is not of its column's type.
        """
        check_times(versions, event_time=self.event_time)
        rows, texts = [], b""
        start = self._row.size * len(versions)
        for visible, event, values in versions:
            times = (visible, event) if self.event_time else ()
            fields, of_row = self._fields(values)
            head = (*times, start + len(texts)) if self._has_texts else times
            try:
                rows.append(self._row.pack(*head, *fields))
            except (struct.error, OverflowError) as error:
                raise DataError(f"the row {tuple(values)!r:.200} does not fit its columns: {error}") from error
            texts += of_row
        return with_checksum(key, b"".join([*rows, texts]))

    def pack_columns(
        self,
        keys: Sequence[bytes],
        counts: np.ndarray,
        *,
        times: tuple[np.ndarray, np.ndarray] | None,
        values: Sequence[np.ndarray],
        nulls: Sequence[np.ndarray | None],
        texts: tuple[bytes, np.ndarray] | None,
    ) -> Blobs:
        """Write many keys' versions at once; what ``pack`` writes, without a look at types and order.

        Args:
            keys: the ``k`` encoded keys.
            counts: ``[k]``, how many of the ``n`` rows, in order, are each key's.
            times: visible and event microseconds, int64 ``[n]`` each; None for a lookup.
            values: each column, ``[n]``; of a text and a vector its length in bytes; 0 where it is null.
            nulls: where each column is null, bool ``[n]``, None for nowhere.
            texts: with a text or vector column, those of all rows behind one another, and the ``n + 1`` offsets of the rows.
        """
        rows = np.zeros(int(counts.sum()), dtype=self.dtype())
        ends = np.cumsum(counts)
        starts = ends - counts
        if times is not None:
            rows["visible"], rows["event"] = times
        for i, column in enumerate(values):
            rows[f"c{i}"] = column
        if any(mask is not None for mask in nulls):
            absent = np.zeros((len(rows), len(nulls)), dtype=bool)
            for i, mask in enumerate(nulls):
                if mask is not None:
                    absent[:, i] = mask
            rows["nulls"] = np.packbits(absent, axis=1, bitorder="little")
        width = self._row.size
        spans = zip((starts * width).tolist(), (ends * width).tolist(), strict=True)
        if texts is None:
            content = rows.tobytes()
            for key, (start, end) in zip(keys, spans, strict=True):
                body = content[start:end]
                yield key, body + crc32(body, crc32(key)).to_bytes(CHECKSUM_BYTES, "little")
            return
        text, offsets = texts
        rows["texts"] = offsets[:-1] - np.repeat(offsets[starts], counts) + np.repeat(counts * width, counts)
        content = rows.tobytes()
        bounds = zip(offsets[starts].tolist(), offsets[ends].tolist(), strict=True)
        for key, (start, end), (first, last) in zip(keys, spans, bounds, strict=True):
            yield key, with_checksum(key, content[start:end] + text[first:last])

    def winner(self, key: bytes, blob: bytes, at_us: int) -> Winner | None:
        """The last version visible at ``at_us``, None before the first.

        Raises:
            ValueError: the blob is not what was written under this key.
        """
        winner = self.find(key, blob, at_us)
        return None if winner is None else _new(Winner, winner)

    def _quick(self) -> FindWhole:
        """``_find_whole`` for the most frequent case, that the newest version wins and lacks nothing."""
        unpack, tail, head, no_nulls = (
            self._row.unpack_from,
            self._row.size + CHECKSUM_BYTES,
            self._head,
            self._no_nulls,
        )
        pick, find, is_lookup = self._pick, self._find_whole, not self.event_time

        def quick(blob: bytes, at_us: int) -> RawWinner | None:
            fields = unpack(blob, len(blob) - tail)
            if fields[head] == no_nulls:
                if is_lookup:
                    return None, None, pick(fields)
                if fields[0] <= at_us:
                    return fields[1], fields[0], pick(fields)
            return find(blob, at_us)

        return quick

    def _find_whole(self, blob: bytes, at_us: int) -> RawWinner | None:
        if not self.event_time:
            return None, None, self._values(blob, self._row.unpack_from(blob))
        last = self.last(blob)
        fields = self._row.unpack_from(blob, last)
        if at_us < fields[0]:
            result = self.before(blob, last, at_us)
            if result is None:
                return None
            fields = self._row.unpack_from(blob, result)
        return fields[1], fields[0], self._values(blob, fields)

    def last(self, blob: bytes) -> int:
        """Where the newest version's row starts."""
        if not self._has_texts:
            return len(blob) - CHECKSUM_BYTES - self._row.size
        offset, place = self._texts_at
        return int(offset.unpack_from(blob, place)[0]) - self._row.size

    def before(self, blob: bytes, last: int, at_us: int) -> int | None:
        """Where the row starts of the last version visible at ``at_us``, which the newest, at ``last``, is not; None before the first."""
        width = self._row.size
        rows = range(last // width)
        result = bisect_right(rows, at_us, key=lambda row: _VISIBLE.unpack_from(blob, row * width)[0]) - 1
        return None if result < 0 else result * width

    def _values(self, blob: bytes, fields: Sequence[Any]) -> tuple[Any, ...]:
        if self._wanted_texts or fields[self._head] != self._no_nulls:
            return tuple(self._pick(self._with_texts_and_nulls(blob, fields)))
        return self._pick(fields)

    def _with_texts_and_nulls(self, blob: bytes, row: Sequence[Any]) -> list[Any]:
        fields = list(row)
        if self._wanted_texts:
            position = row[self._head - 1]
            for place in self._texts:
                end = position + row[place]
                if place in self._wanted_texts:
                    if place in self._vectors:
                        fields[place] = np.frombuffer(blob, _SINGLE, row[place] // _SINGLE.itemsize, position)
                    else:
                        fields[place] = str(blob[position:end], "utf-8")
                position = end
        nulls = row[self._head]
        if nulls != self._no_nulls:
            for i in range(len(self.columns)):
                if nulls[i >> 3] & (1 << (i & 7)):
                    fields[self._head + 1 + i] = None
        return fields

    def dtype(self) -> np.dtype:  # type: ignore[type-arg]
        """A row as numpy has it: ``visible`` and ``event``, ``texts``, ``nulls``, and the columns ``c0``, ``c1``, ..."""
        fields: list[tuple[Any, ...]] = [("visible", "<i8"), ("event", "<i8")] if self.event_time else []
        fields += [("texts", "<u4")] if self._has_texts else []
        fields += [("nulls", "u1", (self._nulls_width,))]
        return np.dtype([*fields, *((f"c{i}", SIDES[column.type].dtype) for i, column in enumerate(self.columns))])

    def _fields(self, values: Sequence[Any]) -> tuple[Sequence[Any], bytes]:
        """The nulls and columns of a row as they are packed, and its texts."""
        if len(values) != len(self.columns):
            raise DataError(f"a row has {len(values)} values {tuple(values)!r:.200} for {len(self.columns)} columns")
        if tuple(map(type, values)) == self._plain:
            return (self._no_nulls, *values), b""
        nulls = bytearray(self._no_nulls)
        fields: list[Any] = []
        texts: list[bytes] = []
        of_vectors: list[bytes] = []
        for index, (column, value) in enumerate(zip(self.columns, values, strict=True)):
            if value is None:
                nulls[index >> 3] |= 1 << (index & 7)
                fields.append(0)
                continue
            if not isinstance(value, SIDES[column.type].packs) or (
                isinstance(value, bool) and column.type != "boolean"
            ):
                raise DataError(f"column {column.name!r} ({column.type}) has {value!r:.80}, a {type(value).__name__}")
            if column.type == "text":
                texts.append(str(value).encode())
                fields.append(len(texts[-1]))
            elif column.type == "vector":
                of_vectors.append(np.asarray(value, dtype=_SINGLE).tobytes())
                fields.append(len(of_vectors[-1]))
            else:
                fields.append(value)
        return (bytes(nulls), *fields), b"".join([*texts, *of_vectors])


def _checked(find_whole: FindWhole) -> Find:
    def find(key: bytes, blob: bytes, at_us: int) -> RawWinner | None:
        if crc32(blob, crc32(key)) != CRC_OF_CHECKED:
            raise ValueError("the checksum does not fit")
        return find_whole(blob, at_us)

    return find


def behind_rows(columns: Sequence[Column]) -> list[int]:
    """The columns whose values stand behind the rows, by their positions, in the order of the values: texts, then vectors.

    >>> behind_rows([Column("image", "vector"), Column("age", "number"), Column("name", "text")])
    [2, 0]
    """
    return [i for kind in ("text", "vector") for i, column in enumerate(columns) if column.type == kind]


def _picker(places: Sequence[int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """The function that takes the fields at some places, in their order; of a tuple a tuple."""
    if not places:
        return lambda fields: ()
    first, end = places[0], places[0] + len(places)
    if list(places) == list(range(first, end)):
        return itemgetter(slice(first, end))
    return itemgetter(*places)
