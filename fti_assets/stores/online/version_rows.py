"""The versions of many keys at once, as an array of rows: read from their blobs, and written to blobs again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from zlib import crc32

import numpy as np

from fti_assets.core.manifest import Column
from fti_assets.stores.online.blobs import BlobFormat
from fti_assets.stores.online.checksums import CHECKSUM_BYTES, are_whole


@dataclass(frozen=True)
class VersionRows:
    """``n`` versions of some keys.

    Args:
        places: the place of each one's key, int64 ``[n]``.
        rows: as ``BlobFormat.dtype`` has them, ``[n]``; ``texts`` of them is not told.
        texts: of each the bytes of its texts and vectors; empty where no column has any.
    """

    places: np.ndarray
    rows: np.ndarray
    texts: Sequence[bytes]

    def take(self, order: np.ndarray) -> VersionRows:
        texts = [self.texts[place] for place in order.tolist()] if self.texts else self.texts
        return VersionRows(self.places[order], self.rows[order], texts)


class VersionFormat:
    """How versions with times are read and written many at a time: what ``BlobFormat`` reads and writes.

    Args:
        columns: the columns of a row.
    """

    def __init__(self, columns: tuple[Column, ...]) -> None:
        self.dtype = BlobFormat(columns, event_time=True).dtype()
        self.has_texts = "texts" in (self.dtype.names or ())
        self._width = self.dtype.itemsize

    def unpack(self, keys: Sequence[bytes], blobs: Mapping[bytes, bytes]) -> VersionRows:
        """The versions of those of some keys that have a blob.

        Raises:
            ValueError: a blob is not what was written under its key.
        """
        places = [place for place, key in enumerate(keys) if key in blobs]
        of_keys = [blobs[keys[place]] for place in places]
        if not are_whole([keys[place] for place in places], of_keys):
            raise ValueError("the checksum does not fit")
        width = self._width
        if not self.has_texts:
            content = b"".join([blob[:-CHECKSUM_BYTES] for blob in of_keys])
            counts = [len(blob) // width for blob in of_keys]  # a row is longer than a checksum
            rows = np.frombuffer(content, self.dtype)
            return VersionRows(np.repeat(places, counts).astype(np.int64), rows, ())
        # The texts of the first row lie behind the last row.
        ends = [int.from_bytes(blob[16:20], "little") for blob in of_keys]
        rows = np.frombuffer(b"".join([blob[:end] for blob, end in zip(of_keys, ends, strict=True)]), self.dtype)
        counts = [end // width for end in ends]
        begins, texts, row = rows["texts"].tolist(), list[bytes](), 0
        for blob, count in zip(of_keys, counts, strict=True):
            bounds = [*begins[row : row + count], len(blob) - CHECKSUM_BYTES]
            texts += [blob[first:end] for first, end in pairwise(bounds)]
            row += count
        return VersionRows(np.repeat(places, counts).astype(np.int64), rows, texts)

    def pack(self, keys: Sequence[bytes], versions: VersionRows) -> Iterator[tuple[bytes, bytes]]:
        """Each key with its blob.

        Args:
            keys: each has a version.
            versions: those of all keys, in the order of the keys and of their times.
        """
        rows, width = versions.rows.copy(), self._width
        counts = np.bincount(versions.places, minlength=len(keys))
        ends = np.cumsum(counts)
        starts = ends - counts
        bounds = zip((starts * width).tolist(), (ends * width).tolist(), strict=True)
        if not self.has_texts:
            content = rows.tobytes()
            for key, (first, end) in zip(keys, bounds, strict=True):
                body = content[first:end]
                yield key, body + crc32(body, crc32(key)).to_bytes(CHECKSUM_BYTES, "little")
            return
        sizes = np.fromiter(map(len, versions.texts), np.int64, len(rows))
        before = np.cumsum(sizes) - sizes
        rows["texts"] = before + np.repeat(counts * width - before[starts], counts)
        content, texts = rows.tobytes(), b"".join(versions.texts)
        of_texts = [*before[starts].tolist(), len(texts)]
        for place, (key, (first, end)) in enumerate(zip(keys, bounds, strict=True)):
            body = content[first:end] + texts[of_texts[place] : of_texts[place + 1]]
            yield key, body + crc32(body, crc32(key)).to_bytes(CHECKSUM_BYTES, "little")
