"""A stream in memory gives what a broker gives, and a service of a test takes it."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.errors import DeclarationError, StoreError
from fti_assets.stores.streams.assignment import partition_for
from tests.support.payments import DAY, MINUTE, payment, payments, spending


def test_what_is_put_is_read_from_any_position_and_time():
    stream = testing.MemoryStream("payments", shards=2)
    stream.put({"at": datetime(2024, 5, 1)}, b"\xff", at=DAY)
    stream.put({"n": 1}, at="2024-05-01T00:01:00Z", shard=1)
    assert [(one.shard, one.sequence, one.stored_at, one.payload) for one in stream.events] == [
        (0, 1, DAY, b'{"at": "2024-05-01T00:00:00"}'), (0, 2, DAY + 1, b"\xff"), (1, 1, DAY + MINUTE, b'{"n": 1}'),
    ]  # fmt: skip

    async def read() -> None:
        subscription = await stream.subscribe([0, 1], {0: 1})
        assert await subscription.lag() == {0: 1, 1: 1}
        assert await subscription.fetch(1, 0) == stream.events[1:2]
        assert await subscription.fetch(9, 0) == stream.events[2:]
        assert await subscription.fetch(9, 0.001) == []
        within = stream.read(datetime(2024, 5, 1), datetime(2024, 5, 1, 0, 1))
        assert [one async for batch in within for one in batch] == stream.events[:2]
        with pytest.raises(StoreError, match="has no shard 2: its shards are 0 to 1"):
            await stream.subscribe([2], {})

    asyncio.run(read())


def test_it_is_declared_published_to_and_taken_again_and_again(tmp_path):
    stream = testing.MemoryStream("payments", shards=3)
    group = payments(stream, online=True)
    windows, stores = spending(group), testing.stores_in(tmp_path)
    assert testing.publish(stream, [payment(card) for card in "abc"], key="card") == 3
    assert [len(shard) for shard in stream.stored] == [
        sum(partition_for(card, 3) == shard for card in "abc") for shard in range(3)
    ]
    for shard in stream.stored:
        shard.clear()
    stream.put(payment("a"), payment("a"), b"no JSON", at=DAY + 660 * MINUTE)
    taken = testing.take_events(group, windows, stores=stores)
    assert taken.rows == {"payments_v1": 2}
    assert sum(taken.dead_letters.values()) == 1
    stream.put(payment("b"), at=DAY + 661 * MINUTE)
    assert testing.take_events(group, windows, stores=stores).rows == {"payments_v1": 1}
    assert sorted(fti.read(group, stores=stores)["card"]) == ["a", "a", "b"]
    reader = fti.OnlineReader("spending_v1", online=stores.online)
    assert reader.read("a", at="2024-05-01T11:01:00Z")["paid_2h"] == 2


def test_what_is_none_is_refused():
    with pytest.raises(DeclarationError, match="shards is 0: write how many there are"):
        testing.MemoryStream("payments", shards=0)
    windows = spending(payments(testing.MemoryStream("payments")))
    with pytest.raises(DeclarationError, match="none of which is a feature group with a stream"):
        testing.take_events(windows, stores=testing.stores_in("unused"))
    with pytest.raises(DeclarationError, match="which is nothing of JSON"):
        testing.MemoryStream("payments").put({"x": object()})
