"""The slice of an online store in a bundle: the blobs of some keys of each namespace, in memory, never written.

A namespace is one member: the number of its keys, where each key and each blob ends, the keys in their order, the blobs.
All numbers are little-endian uint64.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

from fti_assets.errors import DamagedError, PredictionError, StoreError
from fti_assets.stores.online.about import About
from fti_assets.stores.online.fetcher import Many, One
from fti_assets.stores.online.keys import key_decoder
from fti_assets.stores.online.protocol import NamespaceWriter, OnlineStore, absent
from fti_assets.stores.online.reader import NamespacesReader

Parts = tuple[int, ...]
"""Places in a key."""

KeySlice = tuple[tuple[Parts, frozenset[tuple[Any, ...]]], ...]
"""Which keys are there: those that have one of the values at the places, of any of these."""


def is_within(key: Sequence[Any], key_slice: KeySlice) -> bool:
    """Whether a key is one of a slice."""
    return any(tuple([key[part] for part in parts]) in values for parts, values in key_slice)


def pack_rows(rows: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Encoded keys, in their order, with their blobs, as a member."""
    keys, blobs = list[bytes](), list[bytes]()
    for key, blob in rows:
        keys.append(key)
        blobs.append(blob)
    head = [
        np.array([len(keys)], "<u8"),
        *(np.cumsum([len(one) for one in part], dtype="<u8") for part in (keys, blobs)),
    ]
    return b"".join([*(one.tobytes() for one in head), *keys, *blobs])


class _Rows:
    """The rows of a member, found by bisection."""

    def __init__(self, content: bytes, where: str) -> None:
        try:
            count = int(np.frombuffer(content, "<u8", 1)[0])
            ends = np.frombuffer(content, "<u8", 2 * count, 8).astype(np.uint64).reshape(2, count)
        except (ValueError, OverflowError) as error:
            raise _damage_error(where) from error
        lengths = [int(of_part[-1]) if count else 0 for of_part in ends]
        start = 8 + 16 * count
        rises = all(bool((np.diff(of_part.astype(np.int64), prepend=0) >= 0).all()) for of_part in ends)
        if not rises or start + sum(lengths) != len(content):
            raise _damage_error(where)
        self._content = content
        self._count = count
        self._keys, self._blobs = memoryview(ends[0]), memoryview(ends[1])
        self._starts = start, start + lengths[0]

    def get(self, key: bytes) -> bytes | None:
        place = bisect_left(range(self._count), key, key=self._key)
        return (
            self._part(self._blobs, self._starts[1], place) if place < self._count and self._key(place) == key else None
        )

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        for place in range(self._count):
            yield self._key(place), self._part(self._blobs, self._starts[1], place)

    def _key(self, place: int) -> bytes:
        return self._part(self._keys, self._starts[0], place)

    def _part(self, ends: memoryview, start: int, place: int) -> bytes:
        return self._content[start + (ends[place - 1] if place else 0) : start + ends[place]]


class BundledNamespace:
    """One namespace of a bundle.

    Args:
        about: what it says of itself.
        rows: its member.
        key_slice: which keys are there, None for all.
        where: the member, for errors.

    Raises:
        DamagedError: the member is not what ``pack_rows`` made.
    """

    def __init__(self, about: About, rows: bytes, key_slice: KeySlice | None, *, where: str) -> None:
        self.about = about
        self.where = where
        self.rows = _Rows(rows, where)
        self._slice = key_slice
        self._decode: Callable[[bytes], tuple[Any, ...]] = key_decoder(about.schema.key_types)

    def get(self, key: bytes) -> bytes | None:
        """The blob of an encoded key, None if the online store had none.

        Raises:
            PredictionError: the key is outside the slice, so that nobody knows.
        """
        blob = self.rows.get(key)
        if blob is None and self._slice is not None and not is_within(plain_key := self._decode(key), self._slice):
            raise PredictionError(
                f"{self.where} was made with other keys than {plain_key}: make the bundle again with this one among its --keys, or with "
                "all of them"
            )
        return blob


class _Reads:
    """How namespaces of a bundle are read together; they never change."""

    def __init__(self, namespaces: Sequence[BundledNamespace]) -> None:
        self._namespaces = namespaces
        self._generations = tuple(one.about.generation for one in namespaces)

    def abouts(self) -> list[About]:
        return [one.about for one in self._namespaces]

    def one(self, abouts: Sequence[About], keys: Sequence[bytes | None]) -> One:
        pairs = zip(self._namespaces, keys, strict=True)
        return self._generations, [None if key is None else one.get(key) for one, key in pairs]

    def many(self, abouts: Sequence[About], keys: Sequence[Sequence[bytes]]) -> Many:
        pairs = zip(self._namespaces, keys, strict=True)
        return self._generations, [[one.get(key) for key in of_one] for one, of_one in pairs]

    def where(self, position: int) -> str:
        return self._namespaces[position].where


class BundledOnlineStore(OnlineStore):
    """The namespaces of a bundle, to be read alone.

    Args:
        location: the bundle's file.
        namespaces: by name.
    """

    def __init__(self, location: str, namespaces: Mapping[str, BundledNamespace]) -> None:
        self._location = location
        self._namespaces = dict(namespaces)

    @property
    def location(self) -> str:
        return self._location

    def __str__(self) -> str:
        return f"the bundle {self._location}"

    def namespaces(self) -> tuple[str, ...]:
        return tuple(sorted(self._namespaces))

    def about(self, namespace: str) -> About | None:
        match = self._namespaces.get(namespace)
        return None if match is None else match.about

    def writing(self, namespace: str) -> AbstractContextManager[NamespaceWriter]:
        raise StoreError(f"{self} is never written: load the online store that it is made from, and make it again")

    def readers(
        self, selections: Sequence[tuple[str, Sequence[str] | None]], slots: Sequence[Sequence[int]] = ()
    ) -> NamespacesReader:
        return NamespacesReader(_Reads([self._namespace(namespace) for namespace, _ in selections]), selections, slots)

    def everything(self, namespace: str) -> tuple[About, Iterator[tuple[bytes, bytes]]]:
        one = self._namespace(namespace)
        return one.about, iter(one.rows)

    def _namespace(self, namespace: str) -> BundledNamespace:
        if namespace not in self._namespaces:
            raise absent(self, namespace)
        return self._namespaces[namespace]


def _damage_error(where: str) -> DamagedError:
    return DamagedError(f"{where} is not what was written: make the bundle again with fti bundle")
