"""A namespace that stays open for one writer: its cache is what the file has, whoever else writes, and whatever fails."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from fti_assets.core.manifest import Column
from fti_assets.errors import StoreError
from fti_assets.stores.online.about import Schema
from fti_assets.stores.online.blob_cache import BlobCache
from fti_assets.stores.online.blobs import BlobFormat
from fti_assets.stores.online.sqlite.store import SqliteOnlineStore

SCHEMA = Schema(("text",), (Column("amount", "number"),), True)
FORMAT = BlobFormat(SCHEMA.columns, event_time=True)


def blob(key: bytes, number: float) -> tuple[bytes, bytes]:
    return key, FORMAT.pack(key, [(1, 1, (number,))])


def put(store: SqliteOnlineStore, blobs: dict[bytes, float], removals=()) -> int:
    with store.writing("payments_v1") as writer:
        pairs = [blob(key, number) for key, number in sorted(blobs.items())]
        if writer.about is None:
            return writer.load(SCHEMA, iter(pairs), answers_from=None, snapshot=1, origin="")
        return writer.apply(iter(pairs), removals, answers_from=None, snapshot=1, origin="")


def held(store: SqliteOnlineStore, keys: str) -> dict[bytes, bytes]:
    with store.writing("payments_v1") as writer:
        return writer.blobs([key.encode() for key in keys])


def test_what_others_write_remove_and_drop_meanwhile_is_seen(tmp_path: Path):
    store, other = SqliteOnlineStore(tmp_path), SqliteOnlineStore(tmp_path)
    put(store, {b"a": 1.0, b"b": 2.0})
    with store.keep_open("payments_v1"):
        draw = random.Random(1)
        expected = {b"a": 1.0, b"b": 2.0}
        for number in range(60):
            writer = draw.choice([store, store, other])
            if number in (20, 40):
                other.drop("payments_v1")
                expected = {}
            changes = {draw.choice("abcdef").encode(): float(number) for _ in range(2)}
            removals = [] if not expected else [key for key in (b"e", b"f") if key not in changes]
            expected = {key: value for key, value in expected.items() if key not in removals} | changes
            assert put(writer, changes, removals) == len(expected)
            assert held(store, "abcdef") == dict(blob(key, value) for key, value in sorted(expected.items()))
            assert store.counts("payments_v1") == (len(expected),) * 2
    assert held(store, "abcdef") == held(other, "abcdef")


def test_a_write_that_failed_leaves_nothing_in_the_cache(tmp_path: Path):
    store = SqliteOnlineStore(tmp_path)
    put(store, {b"a": 1.0})
    with store.keep_open("payments_v1"):
        assert put(store, {b"a": 2.0}) == 1

        def broken():
            yield blob(b"a", 3.0)
            yield blob(b"b", 3.0)
            raise StoreError("it ends here")

        with store.writing("payments_v1") as writer, pytest.raises(StoreError, match="it ends here"):
            writer.apply(broken(), (), answers_from=None, snapshot=1, origin="")
        assert held(store, "ab") == dict([blob(b"a", 2.0)])
        assert put(store, {b"b": 4.0}) == 2


def test_a_cache_is_bounded_and_the_keys_that_were_put_last_stay():
    cache = BlobCache(most_bytes=10 * (200 + 1 + 100))
    cache.begin(1)
    for number in range(50):
        cache.put({bytes([number]): bytes(100), b"z": bytes(100)})
    results, others = cache.split([bytes([number]) for number in range(50)] + [b"z"])
    assert sorted(results) == [bytes([number]) for number in range(41, 50)] + [b"z"]
    assert len(others) == 41
