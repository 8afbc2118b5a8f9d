"""Which shards of a stream an instance of a service reads, and that no other reads them at the same time."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from fti_assets.errors import DeclarationError, StoreError
from fti_assets.stores.locks import hold_lock


def partition_for(key: str | bytes, shards: int) -> int:
    """The shard into which a producer puts the events of a key, so that one instance sees them all, in order.

    It is the CRC-32 of the key modulo the number of shards, which is what librdkafka's producers do by themselves.

    Args:
        key: the key; a text as UTF-8.
        shards: how many there are.

    >>> [partition_for(card, 4) for card in ("c1", "c2", "c3")]
    [1, 3, 1]
    """
    return zlib.crc32(key.encode() if isinstance(key, str) else key) % shards


def shards_of(instance: int, instances: int, names: Sequence[str], *, what: str) -> list[int]:
    """The shards of one of several instances: every ``instances``-th.

    Args:
        instance: which it is, from 1.
        instances: how many share the shards.
        names: the shards.
        what: the stream, for errors.

    Raises:
        DeclarationError: there is no such instance, or no shard for it.

    >>> shards_of(2, 3, ["a", "b", "c", "d", "e"], what="payments")
    [1, 4]
    """
    if not 1 <= instance <= instances:
        raise DeclarationError(f"{what}: instance {instance} is not between 1 and {instances}")
    mine = list(range(instance - 1, len(names), instances))
    if not mine:
        raise DeclarationError(
            f"{what} has {len(names)} shards, so that instance {instance} of {instances} gets none: start {len(names)} instances at most"
        )
    return mine


@contextmanager
def hold_shards(folder: Path, shards: Sequence[int], names: Sequence[str], *, what: str) -> Iterator[None]:
    """Hold some shards for a block, against every other service of this folder, however many instances it counts.

    Services that share no folder are told apart by nothing but their instances. What they do twice is stored once all the same: the
    lake takes no event at or before the position that is committed with its rows.

    Args:
        folder: where the locks lie, one file a shard; it is made.
        shards: which.
        names: all shards.
        what: the stream, for errors.

    Raises:
        StoreError: another service holds one of them.
    """
    with ExitStack() as locks:
        for shard in sorted(shards):
            try:
                locks.enter_context(hold_lock(folder / f".shard_{shard}.lock", timeout=0))
            except StoreError as error:
                if not str(error).startswith("the lock "):
                    raise
                raise StoreError(
                    f"{what}: shard {shard} ({names[shard]!r}) is read by another service whose outbox lies in {folder}. Stop that one, or "
                    "start all with the same number of instances, each as another"
                ) from None
        yield
