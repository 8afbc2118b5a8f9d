"""How a store gives a reader the blobs of its namespaces."""

from collections.abc import Sequence
from typing import Protocol

from fti_assets.stores.online.about import About

One = tuple[tuple[int | None, ...], Sequence[bytes | None]]
"""The generation of each namespace, and the blob of one key of each."""

Many = tuple[tuple[int | None, ...], Sequence[Sequence[bytes | None]]]
"""The generation of each namespace, and the blobs of some keys of each, in the keys' order."""


class Fetcher(Protocol):
    """How a store reads the blobs of its namespaces, which it was given in an order."""

    def abouts(self) -> list[About]:
        """What each namespace says of itself; raises NotMaterializedError if one is not there."""

    def one(self, abouts: Sequence[About], keys: Sequence[bytes | None]) -> One:
        """Of each namespace its generation and the blob of one key, in one round trip."""

    def many(self, abouts: Sequence[About], keys: Sequence[Sequence[bytes]]) -> Many:
        """Of each namespace its generation and the blobs of some keys, no key twice, in one round trip."""

    def where(self, position: int) -> str:
        """Where a namespace is, for an error message."""
