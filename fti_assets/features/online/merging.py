"""New rows of a few keys put beside those that the online store holds of them: what a load of all their rows would write.

Of a key the frontier of old and new rows is the frontier of the old rows' frontier and the new rows: a row that was overtaken stays
so. Putting the same rows in again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from fti_assets.core.manifest import JoinedGroup
from fti_assets.features.online.keyed import places_of_keys
from fti_assets.features.online.rows import numpy_of, one_chunk, online_schema, text_bytes, texts_by_row, vector_bytes
from fti_assets.stores.online.keys import key_encoder
from fti_assets.stores.online.tails.values import ranks
from fti_assets.stores.online.version_rows import VersionFormat, VersionRows


class KeyedVersions(Sequence[bytes]):
    """New rows of some keys; a sequence of the encoded keys, in the order of their bytes."""

    def __init__(self, keys: Sequence[bytes], versions: VersionRows) -> None:
        self.keys, self.versions = keys, versions

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, place: Any) -> Any:
        return self.keys[place]


class Merge:
    """Merges rows into the blobs of one group's keys.

    Args:
        whole: the join of all columns that the namespace holds; the group has an event time and ``available_at``.
    """

    def __init__(self, whole: JoinedGroup) -> None:
        self._schema = online_schema(whole)
        self._format = VersionFormat(self._schema.columns)
        self._keys = [key.group for key in whole.keys]
        self._columns = [(column.column, column.type) for column in whole.columns]
        names = [name for name, _ in self._columns]
        assert whole.event_time is not None
        assert whole.available_at is not None
        self._event, self._available = whole.event_time, whole.available_at
        self._at = f"c{names.index(whole.available_at)}"
        self._tie = None if whole.tie_break is None else names.index(whole.tie_break)
        self._behind = [i for kind in ("text", "vector") for i, (_, one) in enumerate(self._columns) if one == kind]
        self._encode = key_encoder(self._schema.key_types, whole.table_name)

    def rows_by_key(self, rows: pa.Table) -> KeyedVersions:
        """The rows of a batch by their encoded keys.

        Args:
            rows: with the columns of the namespace; a key or a time is never null.
        """
        keys, places = places_of_keys(rows, self._keys, self._encode)
        event, available = (numpy_of(one_chunk(rows, name).cast(pa.int64())) for name in (self._event, self._available))
        versions = np.zeros(rows.num_rows, self._format.dtype)
        versions["visible"], versions["event"] = np.maximum(event, available), event
        absent = np.zeros((rows.num_rows, len(self._columns)), dtype=bool)
        behind: dict[int, tuple[bytes, np.ndarray]] = {}
        for i, (name, kind) in enumerate(self._columns):
            column = one_chunk(rows, name)
            if column.null_count:
                absent[:, i] = numpy_of(column.is_null())
            if kind in ("text", "vector"):
                behind[i] = text_bytes(column.fill_null("")) if kind == "text" else vector_bytes(column)
                versions[f"c{i}"] = np.diff(behind[i][1])
                continue
            if kind == "timestamp":
                column = column.cast(pa.int64())
            if column.null_count:
                column = column.fill_null(False if pa.types.is_boolean(column.type) else 0)
            versions[f"c{i}"] = numpy_of(column)
        versions["nulls"] = np.packbits(absent, axis=1, bitorder="little")
        texts: Sequence[bytes] = ()
        if self._behind and rows.num_rows:
            content, bounds = texts_by_row([behind[i] for i in self._behind])
            ends = bounds.tolist()
            texts = [content[first:end] for first, end in pairwise(ends)]
        return KeyedVersions(keys, VersionRows(places, versions, texts))

    def blobs(self, rows: KeyedVersions, old: Mapping[bytes, bytes], since_us: int) -> Iterable[tuple[bytes, bytes]]:
        """Each key with its blob.

        Args:
            rows: the new rows by key, as ``rows_by_key`` gives them.
            old: the blobs of those keys that have one.
            since_us: the earliest instant that is to be answered; of what wins before it nothing is kept.

        Raises:
            ValueError: an old blob is not what was written.
        """
        if not rows:
            return []
        before = self._format.unpack(rows.keys, old)
        new = rows.versions
        together = VersionRows(
            np.concatenate([before.places, new.places]),
            np.concatenate([before.rows, new.rows]),
            [*before.texts, *new.texts],
        )
        return self._format.pack(rows.keys, self._winners(together, since_us))

    def _winners(self, versions: VersionRows, since_us: int) -> VersionRows:
        ordered = versions.take(np.lexsort((*self._ties(versions), *self._times(versions), versions.places)))
        places, visible, event = ordered.places, ordered.rows["visible"], ordered.rows["event"]
        # Of rows that become visible at once the last wins, the latest event among them.
        is_last = np.append((places[1:] != places[:-1]) | (visible[1:] != visible[:-1]), True)
        kept = ordered.take(np.flatnonzero(is_last & (event >= _greatest_so_far(places, event))))
        places, visible = kept.places, kept.rows["visible"]
        is_needed = np.append((places[1:] != places[:-1]) | (visible[1:] > since_us), True)
        return kept if bool(is_needed.all()) else kept.take(np.flatnonzero(is_needed))

    def _times(self, versions: VersionRows) -> tuple[np.ndarray, ...]:
        """What rows of a key are ordered by, the last one first."""
        return versions.rows[self._at], versions.rows["event"], versions.rows["visible"]

    def _ties(self, versions: VersionRows) -> tuple[np.ndarray, ...]:
        """What rows of a key and its times are ordered by, the last one first; a null is the least."""
        if self._tie is None:
            return ()
        is_null = (versions.rows["nulls"][:, self._tie >> 3] >> (self._tie & 7)) & 1
        if self._columns[self._tie][1] != "text":
            return versions.rows[f"c{self._tie}"], 1 - is_null
        first = np.zeros(len(versions.rows), dtype=np.int64)
        for i in self._behind[: self._behind.index(self._tie)]:
            first += versions.rows[f"c{i}"]
        ends = (first + versions.rows[f"c{self._tie}"]).tolist()
        texts = np.empty(len(ends), dtype=object)
        # The bytes of UTF-8 are ordered as the texts are.
        texts[:] = [text[at:end] for text, at, end in zip(versions.texts, first.tolist(), ends, strict=True)]
        return ranks(texts), 1 - is_null


def _greatest_so_far(places: np.ndarray, event: np.ndarray) -> np.ndarray:
    """Of sorted rows of some keys the greatest event time of each row and those of its key before it."""
    order = np.argsort(event, kind="stable")
    rank = np.empty(len(event), dtype=np.int64)
    rank[order] = np.arange(len(event))  # small numbers, of which a key's own go above all keys before it
    greatest = np.maximum.accumulate(rank + places * len(event)) - places * len(event)
    return event[order][greatest]  # type: ignore[no-any-return]
