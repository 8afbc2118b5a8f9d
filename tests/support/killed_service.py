"""A service that is killed again and again while events come, until it may end by itself.

``python -m tests.support.killed_service FOLDER KILLS SEED``. Its children are forked before anything of DuckDB is started, so that most
of their life is the service's.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from fti_assets.features.groups.group import FeatureGroup
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.online.store import online_store
from fti_assets.stores.streams.event import Event
from fti_assets.streaming.service import Settings, stream
from tests.support.payments import payment, payments, spending
from tests.support.streams import FileStream

SHARDS = 2


def group_of(folder: Path) -> tuple[FileStream, FeatureGroup, FeatureGroup]:
    """The stream, its group, and windows over it."""
    (folder / "broker").mkdir(parents=True, exist_ok=True)
    events = FileStream("payments", shards=SHARDS, folder=folder / "broker")
    group = payments(events, online=True)
    return events, group, spending(group)


def serve(folder: Path, *, until_caught_up: bool) -> None:
    _, group, windows = group_of(folder)
    settings = Settings(batch_seconds=0.005, batch_events=20, flush_seconds=0.03, until_caught_up=until_caught_up)
    online = online_store(str(folder / "online"))
    offline = OfflineStore(folder / "lake")
    asyncio.run(stream([group], offline, online, folder / "outbox", settings=settings, windows=[windows]))


def main(folder: Path, kills: int, seed: int) -> None:
    events, *_ = group_of(folder)
    chance = random.Random(seed)
    sequences, count = [0] * SHARDS, 0
    # The partitions go on, and so do the instants: yesterday's and today's.
    begin = time.time_ns() // 1000 - 86_400_000_000
    for _ in range(kills):
        child = os.fork()
        if child == 0:
            try:
                serve(folder, until_caught_up=False)
            finally:
                os._exit(1)
        end = time.monotonic() + chance.uniform(0.02, 0.9)
        while time.monotonic() < end:
            shard = count % SHARDS
            sequences[shard] += chance.randint(1, 3)
            stored_at = time.time_ns() // 1000
            at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime((begin + count * 1000) / 1_000_000))
            content = payment(f"card{shard}{chance.randrange(5)}", f"{at}.{count % 1000:03}Z", amount=float(count))
            payload = b"no JSON" if count % 7 == 5 else json.dumps(content).encode()
            events.append(shard, Event(shard, sequences[shard], stored_at, payload))
            count += 1
            time.sleep(0.004)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if not os.WIFSIGNALED(status):
            raise SystemExit(f"the service ended by itself: {status}")
    child = os.fork()
    if child == 0:
        serve(folder, until_caught_up=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(f"the last service failed: {status}")
    print(count)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
