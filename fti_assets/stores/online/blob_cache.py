"""The blobs that a writer who comes again and again has read or written, as long as nobody else writes."""

from collections.abc import Iterable, Mapping, Sequence

_MOST_BYTES = 64 * 1024 * 1024
_BYTES_A_KEY = 200
"""Of a key and its blob as Python keeps them, besides their bytes."""


class BlobCache:
    """The blobs of the keys that were put last, of one generation of a namespace; None is of a key that is not in it.

    Args:
        most_bytes: how much it holds at most.

    >>> cache = BlobCache()
    >>> cache.begin(7)
    >>> cache.put({b"a": b"1", b"b": None})
    >>> cache.begin(7); cache.split([b"a", b"b", b"c"])
    ({b'a': b'1'}, [b'c'])
    >>> cache.begin(8); cache.split([b"a"])
    ({}, [b'a'])
    """

    def __init__(self, most_bytes: int = _MOST_BYTES) -> None:
        self._most, self._bytes = most_bytes, 0
        self._generation: int | None = None
        self._blobs: dict[bytes, bytes | None] = {}

    def begin(self, generation: int) -> None:
        """The namespace has a generation, and the writer its lock: what is here of another one goes."""
        if generation != self._generation:
            self.forget()
            self._generation = generation

    def move_on(self, generation: int) -> None:
        """What is here was written, and the namespace has a new generation by it."""
        self._generation = generation

    def forget(self) -> None:
        """Hold nothing."""
        self._generation, self._bytes = None, 0
        self._blobs.clear()

    def split(self, keys: Sequence[bytes]) -> tuple[dict[bytes, bytes], list[bytes]]:
        """The blobs that some keys have, and the keys of which nothing is here."""
        results: dict[bytes, bytes] = {}
        others: list[bytes] = []
        for key in keys:
            blob = self._blobs.get(key)
            if blob is not None:
                results[key] = blob
            elif key not in self._blobs:
                others.append(key)
        return results, others

    def put(self, blobs: Mapping[bytes, bytes | None]) -> None:
        """Hold these, too; those that were put longest ago go."""
        for key, blob in blobs.items():
            if key in self._blobs:
                self._bytes -= _size(key, self._blobs.pop(key))
            self._bytes += _size(key, blob)
            self._blobs[key] = blob  # at the end
        while self._bytes > self._most:
            key = next(iter(self._blobs))
            self._bytes -= _size(key, self._blobs.pop(key))

    def count_new(self, keys: Iterable[bytes]) -> tuple[int, list[bytes]]:
        """How many of some keys are not in the namespace, and those of which nothing is here."""
        new, others = 0, []
        for key in keys:
            if key not in self._blobs:
                others.append(key)
            elif self._blobs[key] is None:
                new += 1
        return new, others


def _size(key: bytes, blob: bytes | None) -> int:
    return len(key) + _BYTES_A_KEY + (0 if blob is None else len(blob))
