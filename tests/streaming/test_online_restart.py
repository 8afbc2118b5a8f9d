"""The online store's own server is killed and started again while a service writes to it."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from fti_assets.core import clock
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.online.store import online_store
from fti_assets.streaming.service import Settings, stream
from fti_assets.testing import MemoryStream
from tests.support.brokers import OwnServer
from tests.support.payments import DAY, MINUTE, payment, payments, spending

AT, NOON = DAY + 700 * MINUTE, DAY + 720 * MINUTE


@pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server to start")
def test_a_service_goes_on_while_redis_is_away_and_brings_it_up_when_it_is_back(tmp_path: Path) -> None:
    events = MemoryStream("payments")
    group = payments(events, online=True)
    windows = spending(group, "paid")
    said: list[str] = []
    (tmp_path / "redis").mkdir()

    async def run(server: OwnServer) -> None:
        online = online_store(f"redis://127.0.0.1:{server.port}/0?prefix=t")
        offline, stop = OfflineStore(tmp_path / "lake"), asyncio.Event()
        settings = Settings(batch_seconds=0.01, flush_seconds=0.2)
        service = asyncio.create_task(
            stream(
                [group], offline, online, tmp_path / "outbox", settings=settings, windows=[windows], stop=stop,
                say=lambda what, **_: said.append(what),
            )
        )  # fmt: skip

        def count() -> int:
            with offline.connect() as lake:
                return lake.rows(group.table).aggregate("count(*)").fetchall()[0][0] if lake.has(group.table) else 0

        async def until(condition) -> None:
            end = asyncio.get_running_loop().time() + 60
            while not condition():
                assert not service.done(), service
                assert asyncio.get_running_loop().time() < end, said
                await asyncio.sleep(0.05)

        def answers() -> tuple | None:
            if "payments_v1" not in online.namespaces() or "spending_v1" not in online.namespaces():
                return None
            newest = online.reader("payments_v1", columns=["amount"]).get(("a",), at_us=NOON)
            window = online.reader("spending_v1", columns=["paid_2h"]).get(("a",), at_us=NOON)
            return None if newest is None or window is None else (newest.values[0], window.values[0])

        events.put(payment(at="2024-05-01T11:00:00Z", amount=1.0), at=AT)
        await until(lambda: answers() == (1.0, 1))
        server.kill()
        events.put(payment(at="2024-05-01T11:01:00Z", amount=2.0), at=AT + MINUTE)
        await until(lambda: "online_failed" in said and count() == 2)  # the lake has it nevertheless
        await asyncio.to_thread(server.start)
        await until(lambda: answers() == (2.0, 2))
        events.put(payment(at="2024-05-01T11:02:00Z", amount=3.0), at=AT + 2 * MINUTE)
        await until(lambda: answers() == (3.0, 3))
        stop.set()
        await service

    with clock.at("2024-05-01T12:00:00Z"), OwnServer.redis(tmp_path / "redis") as server:
        asyncio.run(run(server))
