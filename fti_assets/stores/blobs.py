"""One key's versions of a row as one checked blob.

    count uint32 | count of visible int64 | count of (event int64, start uint32) | rows | crc32 uint32

Little-endian, unaligned. A row is a bitmap of nulls, the columns (of a text its length in bytes), then the texts.
The checksum covers the key too, so a blob under another key's name does not pass.
"""

import struct
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Any, NamedTuple
from zlib import crc32

from fti_assets.errors import DataError, one_of
from fti_assets.stores.columns import ColumnType
from fti_assets.stores.manifest import Column

Version = tuple[int | None, int | None, Sequence[Any]]
"""When a row became visible, its event time (microseconds since 1970, both None for a lookup), and its values."""

_WIDTHS = {"text": "I", "integer": "q", "number": "d", "boolean": "?", "timestamp": "q"}
_KINDS: dict[str, tuple[type, ...]] = {
    "text": (str,),
    "integer": (int,),
    "number": (float, int),
    "boolean": (bool,),
    "timestamp": (int,),
}
_CRC_OF_CHECKED = 0x2144DF1C  # crc32 of any bytes followed by their own crc32
_COUNT, _CRC, _FIRST = struct.Struct("<I"), struct.Struct("<I"), struct.Struct("<IqqI")
_INT64, _ENTRY = struct.Struct("<q"), struct.Struct("<qI")


Key = tuple[Any, ...]
"""A key: text, whole numbers and booleans, in the order of the group's keys."""


class Winner(NamedTuple):
    """The row that wins at an instant; the times are microseconds since 1970, None for a lookup."""

    event_us: int | None
    visible_us: int | None
    values: tuple[Any, ...]


class BlobFormat:
    """How the versions of one key are written and read, for one schema.

    Args:
        columns: the columns of a row, in the order of a version's values.
        event_time: whether versions have times; without, each key has one version.
        wanted: the positions of the columns that ``winner`` returns, in order; all by default.
    """

    def __init__(self, columns: tuple[Column, ...], *, event_time: bool, wanted: Sequence[int] | None = None) -> None:
        self.columns = columns
        self.event_time = event_time
        self._row = struct.Struct(f"<{(len(columns) + 7) // 8}s" + "".join(_WIDTHS[column.type] for column in columns))
        self._plain = tuple(_KINDS[column.type][0] for column in columns)
        if "text" in {column.type for column in columns}:
            self._plain = ()  # texts are written behind the row
        self._no_nulls = bytes((len(columns) + 7) // 8)
        self._texts = [position for position, column in enumerate(columns, 1) if column.type == "text"]
        places = [position + 1 for position in (range(len(columns)) if wanted is None else wanted)]
        self._wanted_texts = frozenset(places) & frozenset(self._texts)
        self._pick: Any = itemgetter(*places) if len(places) > 1 else lambda fields: tuple(fields[i] for i in places)

    def pack(self, key: bytes, versions: Sequence[Version]) -> bytes:
        """Write a key's versions: visible times rise, event times rise or stay (a correction).

        Raises:
            DataError: the times are out of order, or a value is not of its column's type.
        """
        if not versions:
            raise DataError("a key needs at least one version")
        if self.event_time:
            visible, events = [version[0] for version in versions], [version[1] for version in versions]
            if None in visible or None in events:
                raise DataError("a version of a group with an event time has no times")
            if any(late <= early for early, late in pairwise(visible)):  # type: ignore[operator]
                raise DataError(f"the visible times {visible!r:.200} do not rise from version to version")
            if any(late < early for early, late in pairwise(events)):  # type: ignore[operator]
                raise DataError(f"the event times {events!r:.200} fall from version to version")
        else:
            if len(versions) != 1:
                raise DataError(f"a lookup holds one row a key, not {len(versions)}")
            visible, events = [0], [0]
        rows = [self._pack_row(version[2]) for version in versions]
        count = len(rows)
        start = _COUNT.size + (_INT64.size + _ENTRY.size) * count
        parts = [_COUNT.pack(count), struct.pack(f"<{count}q", *visible)]
        for event, row in zip(events, rows, strict=True):
            parts.append(_ENTRY.pack(event, start))
            start += len(row)
        content = b"".join(parts + rows)
        return content + _CRC.pack(crc32(content, crc32(key)))

    def winner(self, key: bytes, blob: bytes, at_us: int) -> Winner | None:
        """The last version visible at ``at_us``, None before the first.

        Raises:
            ValueError: the blob is not what was written under this key.
        """
        if crc32(blob, crc32(key)) != _CRC_OF_CHECKED:
            raise ValueError("the checksum does not fit")
        count, visible, event, start = _FIRST.unpack_from(blob)
        if not self.event_time:
            return Winner(None, None, self._values(blob, start))
        if count > 1:
            last = count - 1
            (visible,) = _INT64.unpack_from(blob, 4 + 8 * last)
            if at_us < visible:
                last = bisect_right(range(last), at_us, key=lambda i: _INT64.unpack_from(blob, 4 + 8 * i)[0]) - 1
                if last < 0:
                    return None
                (visible,) = _INT64.unpack_from(blob, 4 + 8 * last)
            event, start = _ENTRY.unpack_from(blob, 4 + 8 * count + 12 * last)
        elif at_us < visible:
            return None
        return Winner(event, visible, self._values(blob, start))

    def _values(self, blob: bytes, start: int) -> tuple[Any, ...]:
        fields: Sequence[Any] = self._row.unpack_from(blob, start)
        if self._wanted_texts or fields[0] != self._no_nulls:
            fields = self._with_texts_and_nulls(blob, start, fields)
        return self._pick(fields)  # type: ignore[no-any-return]

    def _with_texts_and_nulls(self, blob: bytes, start: int, packed: Sequence[Any]) -> list[Any]:
        fields = list(packed)
        position = start + self._row.size
        for place in self._texts:
            end = position + packed[place]
            if place in self._wanted_texts:
                fields[place] = str(blob[position:end], "utf-8")
            position = end
        nulls = packed[0]
        if nulls != self._no_nulls:
            for place in range(1, len(fields)):
                if nulls[(place - 1) >> 3] & (1 << ((place - 1) & 7)):
                    fields[place] = None
        return fields

    def _pack_row(self, values: Sequence[Any]) -> bytes:
        if len(values) != len(self.columns):
            raise DataError(f"a row has {len(values)} values {tuple(values)!r:.200} for {len(self.columns)} columns")
        if tuple(map(type, values)) == self._plain:
            return self._packed(self._no_nulls, values, values, b"")
        nulls = bytearray(self._no_nulls)
        fields: list[Any] = []
        texts: list[bytes] = []
        for index, (column, value) in enumerate(zip(self.columns, values, strict=True)):
            if value is None:
                nulls[index >> 3] |= 1 << (index & 7)
                fields.append(0)
                continue
            if not isinstance(value, _KINDS[column.type]) or (isinstance(value, bool) and column.type != "boolean"):
                raise DataError(f"column {column.name!r} ({column.type}) has {value!r:.80}, a {type(value).__name__}")
            if column.type == "text":
                texts.append(str(value).encode())
                fields.append(len(texts[-1]))
            else:
                fields.append(value)
        return self._packed(bytes(nulls), fields, values, b"".join(texts))

    def _packed(self, nulls: bytes, fields: Sequence[Any], values: Sequence[Any], texts: bytes) -> bytes:
        try:
            return self._row.pack(nulls, *fields) + texts
        except (struct.error, OverflowError) as error:
            raise DataError(f"the row {tuple(values)!r:.200} does not fit its columns: {error}") from error


def key_encoder(key_types: Sequence[ColumnType], namespace: str) -> Callable[[Key], bytes]:
    """How the keys of a namespace become bytes: each key its own, the same ones in every process.

    Raises:
        DataError: a type cannot be a key's; the encoder itself raises it for a key of other types.
    """
    if not key_types or not set(key_types) <= {"text", "integer", "boolean"}:
        raise DataError(
            f"online namespace {namespace!r} has keys of types {one_of(key_types)}: "
            "one or more of 'text', 'integer' and 'boolean' are expected"
        )
    kinds: list[type] = [{"text": str, "integer": int, "boolean": bool}[kind] for kind in key_types]

    def checked(key: Key) -> Key:
        if [type(part) for part in key] != kinds:
            found = ", ".join(type(part).__name__ for part in key)
            raise DataError(
                f"key {key!r} of online namespace {namespace!r} has types ({found}), not {tuple(key_types)}"
            )
        return key

    def encode(key: Key) -> bytes:
        parts = []
        for part in checked(key):
            if part.__class__ is str:
                text = part.encode()
                parts.append(b"%d:%b" % (len(text), text))
            else:
                parts.append(b"%d;" % part)
        return b"".join(parts)

    def encode_text(key: Key) -> bytes:
        text: str = key[0] if len(key) == 1 and key[0].__class__ is str else checked(key)[0]
        return text.encode()

    return encode_text if kinds == [str] else encode
