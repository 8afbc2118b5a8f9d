"""The winners of many keys at once, in columns: what ``BlobFormat.find`` says key by key."""

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any, NamedTuple, Protocol

import numpy as np

from fti_assets.stores.online.blobs import BlobFormat, behind_rows
from fti_assets.stores.online.checksums import CHECKSUM_BYTES, are_whole

_greatest = np.maximum.reduce  # in half the time of a comparison and any()

ColumnValues = np.ndarray | list[str] | list[np.ndarray | None]


class WinningRows(Protocol):
    """What is found for ``n`` keys at an instant, in columns."""

    won: np.ndarray | None
    """Which keys have something, bool ``[n]``; None if all have."""
    event_us: np.ndarray | None
    """The event times, int64 ``[n]``; None for a lookup. As all below, anything where nothing is found."""

    @property
    def numbers(self) -> np.ndarray | None:
        """All wanted columns together if each is of numbers, float64 ``[n, k]``, to be read only; else None. A null is 0."""

    @property
    def nulls(self) -> np.ndarray | None:
        """Where the wanted columns are null, bool ``[n, k]``; None for nowhere."""

    def values(self, position: int) -> ColumnValues:
        """One of the wanted columns: its packed values ``[n]``, or a list of ``n`` texts or vectors. A null is 0, or empty."""


class RowWinners(NamedTuple):
    """The winners of the different keys of ``n`` rows in one namespace; ``places`` says which is each row's, int64 ``[n]``, None if
    they are the rows' in order."""

    winners: WinningRows
    places: np.ndarray | None


FindMany = Callable[[Sequence[bytes | None], int], WinningRows]
"""What some blobs say at an instant that are known to be what was written."""


class Winners:
    """The rows that win for ``n`` keys at an instant.

    Attributes:
        won: which keys have one, bool ``[n]``; None if all have.
        event_us: the rows' event times, int64 ``[n]``; None for a lookup. As all below, anything where there is no row.
    """

    def __init__(
        self, winners: "WinnersFormat", rows: np.ndarray, won: np.ndarray | None, blobs: Sequence[bytes | None]
    ) -> None:
        self._format = winners
        self._rows = rows
        self._blobs = blobs
        self.won = won
        self.event_us: np.ndarray | None = rows["event"] if winners.blobs.event_time else None

    @property
    def numbers(self) -> np.ndarray | None:
        """All wanted columns together if each is of numbers, float64 ``[n, k]``; else None. A null is 0."""
        return self._rows["block"] if self._format.has_block else None

    @property
    def nulls(self) -> np.ndarray | None:
        """Where the wanted columns are null, bool ``[n, k]``; None for nowhere."""
        bits = self._rows["nulls"]
        if not bits.tobytes().strip(b"\0"):  # in a fifth of the time of any()
            return None
        return np.unpackbits(bits, axis=1, bitorder="little")[:, self._format.selection].astype(bool)

    def values(self, position: int) -> ColumnValues:
        """One of the wanted columns: its packed values ``[n]``, or a list of ``n`` texts or vectors. A null is 0, or empty."""
        place = self._format.selection[position]
        if place not in self._format.texts:
            return self._rows[f"c{place}"]
        starts = self._rows["texts"].astype(np.int64)
        for text in self._format.texts[: self._format.texts.index(place)]:
            starts += self._rows[f"c{text}"]
        ends = starts + self._rows[f"c{place}"]
        bounds = zip(self._blobs, starts.tolist(), ends.tolist(), strict=True)
        if self._format.blobs.columns[place].type == "vector":
            return [
                None if blob is None else np.frombuffer(blob, "<f4", (end - start) // 4, start)
                for blob, start, end in bounds
            ]
        return ["" if blob is None else str(blob[start:end], "utf-8") for blob, start, end in bounds]


class WinnersFormat:
    """How the winners of many keys are read from their blobs.

    Args:
        blobs: how they are written.
        wanted: the positions of the columns to give, in order.
    """

    def __init__(self, blobs: BlobFormat, selection: Sequence[int]) -> None:
        self.blobs = blobs
        self.selection = list(selection)
        self.texts = behind_rows(blobs.columns)
        row = blobs.dtype()
        fields: Any = row.fields
        self._width = row.itemsize
        # What stands behind a row in a blob, at least the checksum, is cut off with it: the one version that most keys have
        # needs no cut at all then.
        self._size = self._width + CHECKSUM_BYTES
        names = [*(row.names or ())]
        formats: list[Any] = [fields[name][0] for name in names]
        offsets = [fields[name][1] for name in names]
        first = self.selection[0] if self.selection else 0
        self.has_block = (
            bool(self.selection)
            and self.selection == list(range(first, first + len(self.selection)))
            and all(blobs.columns[place].type == "number" for place in self.selection)
        )
        if self.has_block:  # the wanted columns once more, together
            names.append("block")
            formats.append(("<f8", (len(self.selection),)))
            offsets.append(fields[f"c{first}"][1])
        self._dtype = np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": self._size})
        self._nothing = bytes(self._size)

    def find(self, keys: Sequence[bytes], blobs: Sequence[bytes | None], at_us: int) -> Winners:
        """The winners at ``at_us`` of ``n`` keys from their blobs, None where a key has none.

        Raises:
            ValueError, TypeError, struct.error: a blob is not what was written under its key; ``BlobFormat.find`` says what is wrong.
        """
        pairs = [(key, blob) for key, blob in zip(keys, blobs, strict=True) if blob is not None]
        if not are_whole([key for key, _ in pairs], [blob for _, blob in pairs]):
            raise ValueError("a checksum does not fit")
        return self.find_whole(blobs, at_us)

    def find_whole(self, blobs: Sequence[bytes | None], at_us: int) -> Winners:
        """``find`` for blobs that are known to be what was written."""
        won = None
        whole: Sequence[bytes] = blobs  # type: ignore[assignment]
        if not all(blobs):  # a blob is not empty
            won = np.array([blob is not None for blob in blobs], dtype=bool)
            whole = [blob for blob in blobs if blob is not None]
        size, last = self._size, self.blobs.last
        pieces = whole
        if self.texts:
            starts = map(last, whole) if self.blobs.event_time else repeat(0)
            pieces = [blob[start : start + size] for blob, start in zip(whole, starts, strict=False)]
        content = b"".join(pieces)
        if not self.texts and len(content) != size * len(
            pieces
        ):  # no blob is shorter than one version, so some have more
            pieces = [blob[-size:] for blob in whole]
            content = b"".join(pieces)
        if won is not None:
            of_all = iter(pieces)
            pieces = [self._nothing if blob is None else next(of_all) for blob in blobs]
            content = b"".join(pieces)
        rows = np.frombuffer(content, self._dtype)
        if self.blobs.event_time and len(rows) and _greatest(rows["visible"]) > at_us:
            late = rows["visible"] > at_us if won is None else (rows["visible"] > at_us) & won
            won = np.ones(len(rows), dtype=bool) if won is None else won
            pieces = [*pieces]
            for index in np.flatnonzero(late).tolist():
                blob: bytes = blobs[index]  # type: ignore[assignment]
                winner = self.blobs.before(blob, last(blob), at_us)
                won[index] = winner is not None
                pieces[index] = self._nothing if winner is None else blob[winner : winner + size]
            rows = np.frombuffer(b"".join(pieces), self._dtype)
        return Winners(self, rows, won, blobs)
