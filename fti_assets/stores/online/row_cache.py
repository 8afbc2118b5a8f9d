"""The rows that a reader keeps, so that a key that is asked for again need not be read again."""

import os
from collections.abc import Sequence
from time import monotonic

from fti_assets.errors import StoreError, excerpt

VARIABLE = "FTI_ROW_CACHE_MB"
"""The variable that says how much a reader keeps at most, in millions of bytes; 0 for nothing."""

_MEGABYTES = 32
_BESIDE_BLOB = 200
"""About how many bytes a kept row takes beside its blob: two objects of Python, its key and its place in a dict."""
_LOOK_SECONDS = 0.001
"""How long a look at the generations of namespaces stands, which costs a read; what this process itself writes is seen at once."""


class Writes:
    """How many times this process has written to an online store, so that whoever keeps rows of one here can tell without asking it."""

    count = 0


class RowCache:
    """Whole blobs of some namespaces by their keys, each namespace's of one state.

    A namespace's generation is another one after each write, so what is kept is right for as long as the generation is the same. When it
    takes too much memory all is let go.

    Args:
        namespaces: how many there are.
        most_bytes: how much is kept at most, about.
    """

    __slots__ = ("_look_until", "_most_bytes", "_size", "_writes", "rows")

    def __init__(self, namespaces: int, most_bytes: int) -> None:
        self.rows: tuple[dict[bytes | None, bytes], ...] = tuple({} for _ in range(namespaces))
        """Of each namespace the blobs by key; none of None."""
        self._most_bytes = most_bytes
        self._size = 0
        self._look_until = 0.0
        self._writes = -1

    def is_current(self) -> bool:
        """Whether the last look at the generations still stands."""
        return monotonic() < self._look_until and self._writes == Writes.count

    def stand(self, start: float, writes: int) -> None:
        """Take note of a look that found the generations as they were.

        Args:
            start: when it began, in seconds of ``time.monotonic``.
            writes: ``Writes.count`` of then.
        """
        self._look_until, self._writes = start + _LOOK_SECONDS, writes

    def of(self, position: int, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """The blobs of some keys of a namespace, None for those that are not kept."""
        rows = self.rows[position]
        return [*map(rows.get, keys)] if rows else [None] * len(keys)

    def keep(self, position: int, keys: Sequence[bytes], blobs: Sequence[bytes | None]) -> None:
        """Keep blobs of a namespace that were found whole under their keys; of a key without one nothing."""
        if not self._most_bytes:
            return
        rows: dict[bytes | None, bytes] = {key: blob for key, blob in zip(keys, blobs, strict=True) if blob is not None}
        self.rows[position].update(rows)
        self._grow(sum(map(len, keys)) + sum(map(len, rows.values())) + _BESIDE_BLOB * len(rows))

    def keep_one(self, position: int, key: bytes, blob: bytes) -> None:
        """``keep`` of one key, in a third of the time."""
        if self._most_bytes:
            self.rows[position][key] = blob
            self._grow(len(key) + len(blob) + _BESIDE_BLOB)

    def _grow(self, size: int) -> None:
        # Threads that count at the same time may lose some of their rows, which the bound can bear.
        self._size += size
        if self._size > self._most_bytes:
            for of_namespace in self.rows:
                of_namespace.clear()
            self._size = 0


def missing_of(keys: list[bytes], blobs: Sequence[bytes | None]) -> list[bytes]:
    """Those of some keys that have no blob."""
    if not any(blobs):
        return keys
    return [] if all(blobs) else [key for key, blob in zip(keys, blobs, strict=True) if blob is None]


def together(blobs: Sequence[bytes | None], others: Sequence[bytes | None]) -> Sequence[bytes | None]:
    """Some blobs, in the places of those that are None the others in their order."""
    if len(others) == len(blobs):
        return others
    rest = iter(others)
    return [next(rest) if blob is None else blob for blob in blobs]


def most_bytes() -> int:
    """How much a reader keeps at most, as ``FTI_ROW_CACHE_MB`` says.

    Raises:
        StoreError: it is no whole number of at least 0.
    """
    text = os.environ.get(VARIABLE)
    if not text:
        return _MEGABYTES * 1_000_000
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise StoreError(f"{VARIABLE} is {excerpt(text)}: a whole number of megabytes is expected, 0 to keep no rows")
    return int(text) * 1_000_000
