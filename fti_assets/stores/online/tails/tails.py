"""The entries of many keys at once: made of rows, put together, brought into cells, written as blobs and read back.

    cut int64, entries uint32, where each part begins uint32 | times int64 | running counts of rows uint32 | parts | crc32

An entry is what became visible of a key at its time: after the cut a row, or several at once; up to it a cell, which stands for
what became visible since the whole multiple of ``every`` before its time, itself one. What lies between two instants is then found
by two searches in the times, as long as the earlier one is after the cut or the time of a cell.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fti_assets.core.manifest.windows import far_end
from fti_assets.stores.online.checksums import CHECKSUM_BYTES, is_whole, with_checksum
from fti_assets.stores.online.tails.extremes import ExtremePart
from fti_assets.stores.online.tails.layout import TailLayout
from fti_assets.stores.online.tails.occurrences import OwnEntries, Rows, order_of
from fti_assets.stores.online.tails.totals import TotalsPart, added, running
from fti_assets.stores.online.tails.values import array_of

NEVER = -(2**63)
"""The cut of what has no cells."""


@dataclass(frozen=True)
class Tails:
    """The entries of ``k`` keys, in the order of the keys; ``places`` says which key's an entry is, int64 ``[n]``, and ``cuts``
    up to where those of a key are cells."""

    keys: Sequence[bytes]
    cuts: np.ndarray
    places: np.ndarray
    times: np.ndarray
    rows: np.ndarray
    parts: Sequence[Any]


class TailFormat:
    """How tails are made, written and read.

    Args:
        layout: what they hold.
    """

    def __init__(self, layout: TailLayout) -> None:
        self.layout, self.windows = layout, layout.windows
        self.head = struct.Struct(f"<qI{len(layout.parts)}I")

    def of_rows(self, rows: Rows) -> Tails:
        """An entry for each row, sorted by time within its key."""
        number = len(rows.visible)
        places = np.repeat(np.arange(len(rows.keys)), np.diff(rows.starts, append=number))
        parts: list[Any] = []
        for part in self.layout.parts:
            if isinstance(part, OwnEntries):
                parts.append(part.of_rows(places, rows))
                continue
            values, nulls = rows.columns[part.column]
            if isinstance(part, TotalsPart):
                parts.append(part.of_rows(values, nulls))
            else:
                parts.append(part.of_rows(values, nulls, rows.event, rows.available))
        cuts = np.full(len(rows.keys), NEVER)
        tails = Tails(rows.keys, cuts, places, rows.visible, np.ones(number, dtype=np.int64), parts)
        return self._sorted(tails)

    def together(self, tails: Sequence[Tails]) -> Tails:
        """The entries of several tails by key; what is a cell in one of them stays one."""
        keys = sorted({key for one in tails for key in one.keys})
        place_of = {key: place for place, key in enumerate(keys)}
        moved = [np.array([place_of[key] for key in one.keys], dtype=np.int64) for one in tails]
        cuts = np.full(len(keys), NEVER)
        for one, places in zip(tails, moved, strict=True):
            np.maximum.at(cuts, places, one.cuts)
        parts: list[Any] = []
        for number, part in enumerate(self.layout.parts):
            batches = [one.parts[number] for one in tails]
            if isinstance(part, OwnEntries):
                batches = [
                    replace(batch, keys=places[batch.keys]) for batch, places in zip(batches, moved, strict=True)
                ]
            parts.append(part.concat(batches))
        return self._sorted(
            Tails(
                keys,
                cuts,
                np.concatenate([places[one.places] for one, places in zip(tails, moved, strict=True)]),
                np.concatenate([one.times for one in tails]),
                np.concatenate([one.rows for one in tails]),
                parts,
            )
        )

    def _sorted(self, tails: Tails) -> Tails:
        order = order_of(tails.places, tails.times)
        return tails if order is None else self._take(tails, order)

    def _take(self, tails: Tails, order: np.ndarray) -> Tails:
        parts = [
            of_part if isinstance(part, OwnEntries) else of_part.take(order)
            for part, of_part in zip(self.layout.parts, tails.parts, strict=True)
        ]
        return Tails(tails.keys, tails.cuts, tails.places[order], tails.times[order], tails.rows[order], parts)

    def since(self, tails: Tails, since_us: int) -> Tails:
        """What instants from one on can need: cells of what is older than rows must be, and nothing of what no window reaches."""
        every = self.windows.every_us
        cut = (since_us - self.windows.raw_us) // every * every
        cuts = np.maximum(tails.cuts, cut)
        out = far_end(since_us, self.windows.longest.us, every)

        def entered(times: np.ndarray, places: np.ndarray) -> np.ndarray:
            return np.where(times <= cuts[places], -(-times // every) * every, times)

        times = entered(tails.times, tails.places)
        parts = list(tails.parts)
        for number, part in enumerate(self.layout.parts):
            if isinstance(part, OwnEntries):
                batch = parts[number]
                batch = replace(batch, times=entered(batch.times, batch.keys))
                parts[number] = part.in_cells(batch.take(np.flatnonzero(batch.times > out)))
        kept = Tails(tails.keys, cuts, tails.places, times, tails.rows, parts)
        if bool((times <= out).any()):
            kept = self._take(kept, np.flatnonzero(times > out))
        return self._at_once(kept)

    def _at_once(self, tails: Tails) -> Tails:
        """One entry for each key and time."""
        if len(tails.times) < 2:
            return tails
        is_new = np.concatenate([[True], (np.diff(tails.places) != 0) | (np.diff(tails.times) != 0)])
        if is_new.all():
            return tails
        starts = np.flatnonzero(is_new)
        parts = [
            of_part.added_by(starts)
            if isinstance(part, TotalsPart)
            else part.winners(of_part, starts)
            if isinstance(part, ExtremePart)
            else of_part
            for part, of_part in zip(self.layout.parts, tails.parts, strict=True)
        ]
        rows = np.add.reduceat(tails.rows, starts)
        return Tails(tails.keys, tails.cuts, tails.places[starts], tails.times[starts], rows, parts)

    def pack(self, tails: Tails) -> Iterator[tuple[bytes, bytes]]:
        """Each key that has an entry with its blob, in order."""
        present, starts = np.unique(tails.places, return_index=True)
        if not len(present):
            return
        counts = np.diff(starts, append=len(tails.times)).tolist()
        times = tails.times.astype("<i8").tobytes()
        rows = running(tails.rows, starts)
        of_parts: list[list[bytes]] = []
        for part, of_part in zip(self.layout.parts, tails.parts, strict=True):
            if isinstance(part, OwnEntries):
                sections = part.pack(of_part, len(tails.keys))
                of_parts.append([sections[place] for place in present.tolist()])
            else:
                of_parts.append(part.pack(of_part, starts))
        for number, (place, first, count) in enumerate(zip(present.tolist(), starts.tolist(), counts, strict=True)):
            sections = [of_part[number] for of_part in of_parts]
            begins, at = [], self.head.size + 8 * count + 4 * (count + 1)
            for section in sections:
                begins.append(at)
                at += len(section)
            head = self.head.pack(int(tails.cuts[place]), count, *begins)
            content = b"".join([head, times[8 * first : 8 * (first + count)], rows[number], *sections])
            yield tails.keys[place], with_checksum(tails.keys[place], content)

    def unpack(self, blobs: Mapping[bytes, bytes]) -> Tails:
        """The entries of keys with their blobs.

        Raises:
            ValueError: a blob is not what was written under its key.
        """
        keys = sorted(blobs)
        if not keys:
            nothing = np.zeros(0, dtype=np.int64)
            return self.of_rows(Rows([], nothing, nothing, nothing, nothing, self._no_values()))
        heads = [self.checked_head(key, blobs[key]) for key in keys]
        counts = np.array([head[1] for head in heads], dtype=np.int64)
        pairs = [(blobs[key], head[1]) for key, head in zip(keys, heads, strict=True)]
        size = self.head.size
        times = b"".join([blob[size : size + 8 * count] for blob, count in pairs])
        rows = [blob[size + 8 * count : size + 8 * count + 4 * (count + 1)] for blob, count in pairs]
        parts: list[Any] = []
        for number, part in enumerate(self.layout.parts):
            places = [(blob, head[2 + number]) for (blob, _), head in zip(pairs, heads, strict=True)]
            parts.append(part.unpack(places) if isinstance(part, OwnEntries) else part.unpack(places, counts))
        return Tails(
            keys,
            np.array([head[0] for head in heads], dtype=np.int64),
            np.repeat(np.arange(len(keys)), counts),
            np.frombuffer(times, "<i8"),
            added(rows, counts),
            parts,
        )

    def _no_values(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        return {name: (array_of([], kind), np.zeros(0, dtype=bool)) for name, kind in self.layout.types.items()}

    def checked_head(self, key: bytes, blob: bytes) -> tuple[int, ...]:
        """The cut, the number of entries and where each part begins.

        Raises:
            ValueError: the blob is not what was written under the key.
        """
        if not is_whole(key, blob) or len(blob) < self.head.size + CHECKSUM_BYTES:
            raise ValueError("the checksum does not fit")
        return self.head.unpack_from(blob)
