"""``fti forget`` reaches what a stream has brought: what waits in an outbox, dead letters, and windows that a service keeps."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from contextvars import copy_context
from pathlib import Path

import dagster as dg
import pytest

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.errors import StoreError
from fti_assets.forget import as_text, forget
from fti_assets.streaming.service import Settings, stream
from fti_assets.testing import MemoryStream
from tests.streaming.test_kills import Killed, killed
from tests.streaming.test_service import NOON, World
from tests.support.payments import DAY, MINUTE, payment, payments, spending

ANN, ANNA = "ann-4d61", "ann-4d61c9"
AT = "2024-05-01T12:00:00Z"


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def forgotten(world: World, group, *more, **options):
    stores = fti.Stores(lake=world.folder / "lake", online=world.folder / "online", models=world.folder / "models")
    definitions = fti.build_definitions([group, *more])
    with clock.at(AT):
        return forget(definitions, "payments", {"card": ANN}, stores=stores, outbox=world.folder / "outbox", **options)


def windows_of(world: World, windows, card: str):
    winner = world.online.reader(windows.table_name, columns=["spent_2h", "paid_2h"]).get((card,), at_us=NOON)
    return None if winner is None else winner.values


def bytes_of(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


def test_a_key_is_gone_from_outbox_and_dead_letters(world):
    events = MemoryStream("payments")
    group = payments(events, online=True)
    windows = spending(group)
    poison = [b"no JSON of %s!" % name.encode() for name in (ANN, ANNA)]
    poison += [b'{"card": "%s", "what": 1}' % name.encode() for name in (ANN, ANNA)]
    events.put(payment(ANN, amount=1.0), payment(ANNA, amount=2.0), *poison[:2], at=DAY + 660 * MINUTE)
    world.run(group, windows=[windows])
    events.put(payment(ANN, amount=4.0), payment(ANNA, amount=8.0), *poison[2:], at=DAY + 661 * MINUTE)
    with killed("records", after=False, times=1), pytest.raises(Killed):
        world.run(group, windows=[windows])  # it ends before it has flushed
    path = world.folder / "outbox" / "payments_v1" / "1_of_1.sqlite"
    assert ANN.encode() in bytes_of(world.folder / "outbox")

    look = forgotten(world, group, windows, dry_run=True)
    assert f"outbox {path}: 4 events, which were not searched" in as_text(look)
    assert len(world.rows(group)) == 2

    result = forgotten(world, group, windows, expire=True)
    assert f"outbox {path}: 4 events, which were brought to the lake" in as_text(result)
    assert [(row[0], row[3]) for row in world.rows(group)] == [(ANNA, 2.0), (ANNA, 8.0)]
    with world.offline.connect() as lake:
        letters = lake.rows(group.table.dead_letters).project("payload").order("ALL").fetchall()
        assert [bytes(payload) for (payload,) in letters] == sorted(poison[1::2])
    assert result.expired is not None
    assert not result.expired.holding
    assert b'"%s"' % ANN.encode() not in bytes_of(world.folder / "outbox").replace(ANNA.encode(), b"")
    assert ANN.encode() not in bytes_of(world.folder / "outbox").replace(ANNA.encode(), b"")
    assert (world.value(group, ANN), world.value(group, ANNA)) == (None, 8.0)
    assert (windows_of(world, windows, ANN), windows_of(world, windows, ANNA)) == (None, (10.0, 2))

    events.put(payment(ANNA, "2024-05-01T10:30:00Z", amount=16.0), at=DAY + 662 * MINUTE)
    world.run(group, windows=[windows])  # the service goes on where it was
    assert [row[3] for row in world.rows(group)] == [2.0, 8.0, 16.0]
    assert (windows_of(world, windows, ANN), windows_of(world, windows, ANNA)) == (None, (26.0, 3))


def test_a_running_service_is_waited_for_and_forgets_too(world):
    events = MemoryStream("payments")
    group = payments(events, online=True)
    windows = spending(group)
    events.put(payment(ANN, amount=1.0), payment(ANNA, amount=2.0), at=DAY + 660 * MINUTE)
    stop, ended = asyncio.Event(), threading.Event()
    flushes: list[object] = []
    loop = asyncio.new_event_loop()

    def serve() -> None:
        settings = Settings(batch_seconds=0.0, flush_seconds=0.2)
        service = stream(
            [group], world.offline, world.online, world.folder / "outbox", settings=settings, windows=[windows],
            stop=stop, flushed=flushes.append,
        )  # fmt: skip
        with suppress(asyncio.CancelledError):
            loop.run_until_complete(service)
        ended.set()

    with clock.at(AT):
        thread = threading.Thread(target=copy_context().run, args=[serve])  # which takes the clock along
        thread.start()
        try:
            while not flushes:
                ended.wait(0.05)
            events.put(payment(ANN, amount=4.0), payment(ANNA, amount=8.0), at=DAY + 661 * MINUTE)
            while world.value(group, ANN) != 4.0:
                ended.wait(0.01)
            forgotten(world, group, windows)
            assert {row[0] for row in world.rows(group)} == {ANNA}
            while windows_of(world, windows, ANN) is not None:  # the next flush sees that rows are gone
                assert not ended.wait(0.05)
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()
    assert [row[3] for row in world.rows(group)] == [2.0, 8.0]
    assert (world.value(group, ANN), windows_of(world, windows, ANNA)) == (None, (10.0, 2))


def test_what_cannot_be_brought_to_the_lake_is_refused_before_anything_changes(world):
    events = MemoryStream("payments")
    group = payments(events)
    events.put(payment(ANN), at=DAY + 660 * MINUTE)
    with killed("records", after=False, times=1), pytest.raises(Killed):
        world.run(group)
    undeclared = fti.feature_group(
        name="payments", keys=["card"], event_time="at", version=2,
        partitions_def=dg.DailyPartitionsDefinition(start_date="2024-04-01"),
    )(lambda: None)  # fmt: skip
    with pytest.raises(StoreError, match="holds 1 event of payments_v1, which is not declared with a stream"):
        forgotten(world, undeclared)
    forgotten(world, group)  # makes the lake, and takes the row out of it
    assert world.rows(group) == []
