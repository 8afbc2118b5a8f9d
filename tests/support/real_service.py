"""A service in a process of its own that is killed again and again, and then left alone until it has taken everything.

``python -m tests.support.real_service '{"stream": ["nats", "payments", [...], "nats://..."], ...}'``: all is imported once, and each
service is a fork, so that a kill costs little.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import Any

import fti_assets as fti
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.online.store import online_store
from fti_assets.streaming.service import Settings, stream
from tests.support.payments import payments

NO_BROKER = 3


def stream_of(kind: str, name: str, shards: list[str], url: str) -> Any:
    if kind == "kafka":
        return fti.KafkaStream(name, url=url)
    return (fti.NatsStream if kind == "nats" else fti.RedisStream)(name, url=url, shards=shards)


def take(plan: dict[str, Any], instance: int, begun: int, *, to_the_end: bool) -> None:
    folder = Path(plan["folder"])
    settings = Settings(
        instance=instance,
        instances=plan["instances"],
        batch_seconds=0.02,
        batch_events=plan["batch_events"],
        flush_seconds=0.1,
        until_caught_up=to_the_end,
    )
    group = payments(stream_of(*plan["stream"]), online=True)

    def say(what: str, **facts: Any) -> None:
        print(os.getpid(), what, facts, file=sys.stderr, flush=True)
        if what == "started":
            os.write(begun, b"!")

    stores = OfflineStore(folder / "lake"), online_store(plan.get("online") or str(folder / "online"))
    asyncio.run(stream([group], *stores, folder / "outbox", settings=settings, say=say))


def fork(plan: dict[str, Any], instance: int, *, to_the_end: bool) -> tuple[int, int]:
    """The process of a service, and from where is read that it has begun, or has ended before it began."""
    result, begun = os.pipe()
    process = os.fork()
    if process == 0:
        code = 1
        try:
            os.close(result)
            take(plan, instance, begun, to_the_end=to_the_end)
            code = 0
        except BaseException as error:
            print(f"failed: {type(error).__name__}: {error}", file=sys.stderr, flush=True)
            traceback.print_exc()
            code = NO_BROKER if "cannot be reached" in str(error) else 1
        finally:
            os._exit(code)
    os.close(begun)
    return process, result


def kill(service: tuple[int, int]) -> None:
    process, result = service
    os.kill(process, signal.SIGKILL)
    _, status = os.waitpid(process, 0)
    os.close(result)
    # A service that begins while the broker is away ends, and is started again.
    assert os.WIFSIGNALED(status) or os.waitstatus_to_exitcode(status) == NO_BROKER, (
        f"process {process} ended by itself"
    )


def main() -> None:
    plan = json.loads(sys.argv[1])
    draw = random.Random(plan["seed"])
    numbers = range(1, plan["instances"] + 1)
    running: dict[int, tuple[int, int]] = {}
    for _ in range(plan["kills"]):
        for instance in numbers:
            if instance not in running:
                running[instance] = fork(plan, instance, to_the_end=False)
        instance = draw.choice(list(numbers))
        if draw.random() < 0.9:  # else it may not have begun
            os.read(running[instance][1], 1)
        time.sleep(draw.uniform(0.0, plan["seconds"]))
        kill(running.pop(instance))
    for service in running.values():
        kill(service)
    print("killed", flush=True)
    sys.stdin.readline()  # until everything is sent
    last = [fork(plan, instance, to_the_end=True)[0] for instance in numbers]
    codes = [os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) for process in last]
    assert codes == [0] * len(codes), codes


if __name__ == "__main__":
    main()
