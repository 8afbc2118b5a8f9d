"""New rows of a few keys put beside those that the online store holds of them: what a load of all their rows would write.

Of a key the frontier of old and new rows is the frontier of the old rows' frontier and the new rows: a row that was overtaken stays
so. Putting the same rows in again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from fti_assets.core.manifest import JoinedGroup
from fti_assets.features.online.rows import online_schema
from fti_assets.stores.online.blobs import BlobFormat
from fti_assets.stores.online.keys import key_encoder
from fti_assets.stores.online.versions import Version

Row = tuple[int, int, tuple[Any, ...]]
"""When a row becomes visible, its event time, both microseconds since 1970, and its values."""


class Merge:
    """Merges rows into the blobs of one group's keys.

    Args:
        whole: the join of all columns that the namespace holds; the group has an event time and ``available_at``.
    """

    def __init__(self, whole: JoinedGroup) -> None:
        self._schema = online_schema(whole)
        self._format = BlobFormat(self._schema.columns, event_time=True)
        self._keys = [key.group for key in whole.keys]
        self._columns = [(column.column, column.type) for column in whole.columns]
        names = [name for name, _ in self._columns]
        assert whole.event_time is not None
        assert whole.available_at is not None
        self._event, self._available = whole.event_time, names.index(whole.available_at)
        self._tie = None if whole.tie_break is None else names.index(whole.tie_break)
        self._encode = key_encoder(self._schema.key_types, whole.table_name)

    def rows_by_key(self, rows: pa.Table) -> dict[bytes, list[Row]]:
        """The rows of a batch by their encoded keys, in the order of the bytes of the keys."""
        columns = {name: _plain(rows, name) for name in {*self._keys, *(name for name, _ in self._columns)}}
        keys = map(self._encode, zip(*(columns[name] for name in self._keys), strict=True))
        values = zip(*(columns[name] for name, _ in self._columns), strict=True)
        available = columns[self._columns[self._available][0]]
        versions: dict[bytes, list[Row]] = {}
        for key, event, at, row in zip(keys, columns[self._event], available, values, strict=True):
            versions.setdefault(key, []).append((max(event, at), event, row))
        return dict(sorted(versions.items()))

    def blobs(
        self, rows: Mapping[bytes, Sequence[Row]], old: Mapping[bytes, bytes], since_us: int
    ) -> Iterable[tuple[bytes, bytes]]:
        """Each key with its blob.

        Args:
            rows: the new rows by key, as ``rows_by_key`` gives them.
            old: the blobs of those keys that have one.
            since_us: the earliest instant that is to be answered; of what wins before it nothing is kept.

        Raises:
            ValueError: an old blob is not what was written.
        """
        for key, new in rows.items():
            before = old.get(key)
            if before is not None:
                # The rows of most keys are newer than all that they have, which may be many.
                extended = self._format.extended(key, before, new, since_us)
                if extended is not None:
                    yield key, extended
                    continue
            versions: list[Row] = [] if before is None else self._format.versions(key, before)
            yield key, self._format.pack(key, self._winners([*versions, *new], since_us))

    def _winners(self, rows: list[Row], since_us: int) -> Sequence[Version]:
        rows.sort(key=self._order)
        kept: list[Row] = []
        newest = rows[0][1]
        for row in rows:
            newest = max(newest, row[1])
            # Of rows that become visible at once the last wins, the latest event among them.
            if kept and kept[-1][0] == row[0]:
                kept.pop()
            if row[1] >= newest:
                kept.append(row)
        first = next((place for place in range(len(kept) - 1, 0, -1) if kept[place][0] <= since_us), 0)
        return kept[first:]

    def _order(self, row: Row) -> tuple[Any, ...]:
        visible, event, values = row
        available = values[self._available]
        if self._tie is None:
            return visible, event, available
        tie = values[self._tie]
        return (visible, event, available, tie is not None, 0 if tie is None else tie)


def _plain(rows: pa.Table, name: str) -> list[Any]:
    """A column's values as a blob takes them: times as microseconds."""
    column = rows.column(name)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    if pa.types.is_list(column.type):
        return list(column.to_numpy())
    return column.to_pylist()  # type: ignore[no-any-return]
