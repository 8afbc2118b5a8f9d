"""A day told to a stream: each payment is decided before it is told, and told before the next one that can know of it is decided."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pandas as pd

import fti_assets as fti
from examples.card_fraud.replay import told
from examples.card_fraud.system import stream

COMMAND = [str(Path(sys.executable).with_name("fti")), "stream", "authorizations", "-m", "examples.card_fraud.system"]
Publish = Callable[[dict[str, Any], pd.Timestamp], Awaitable[None]]
"""Tells a stream an event that is stored at an instant."""
PATIENCE_SECONDS = 60
LIVE_SECONDS = 75
"""What of the day is not decided by then is told all the same, so that a slow machine comes to an end."""


def answers() -> bool:
    """Whether NATS is there."""
    address = urlsplit(stream.address())
    with socket.socket() as one:
        one.settimeout(2)
        return one.connect_ex((str(address.hostname), address.port or 4222)) == 0


@contextmanager
def service(log: Path) -> Iterator[None]:
    """``fti stream`` in a process of its own, until the end of the block; then what is left is taken, and all is in the lake.

    Args:
        log: what it says, JSON a line.
    """
    with log.open("w") as file:
        process = subprocess.Popen([*COMMAND, "--batch-ms", "5"], stderr=file)
        try:
            until = time.monotonic() + PATIENCE_SECONDS
            while '"started"' not in log.read_text():
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"the service has not begun:\n{log.read_text()}")
                time.sleep(0.05)
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE_SECONDS)
        # What was told last may not be taken yet: a service that is started again goes on where this one ended.
        subprocess.run([*COMMAND, "--until-caught-up"], stderr=file, check=True)


async def make_stream() -> None:
    """An empty stream in place of what an earlier day has left."""
    await _of_jetstream(lambda jetstream: jetstream.add_stream(name=stream.name, subjects=[stream.name]))


async def drop_stream() -> None:
    """Delete the stream, if there is one."""
    await _of_jetstream(None)


async def _of_jetstream(then: Any) -> None:
    import nats
    from nats.js.errors import NotFoundError

    client = await nats.connect(stream.address())
    try:
        jetstream = client.jetstream()
        with suppress(NotFoundError):
            await jetstream.delete_stream(stream.name)
        if then is not None:
            await then(jetstream)
    finally:
        await client.close()


def decide(day: pd.DataFrame) -> pd.DataFrame:
    """Decide the payments of a day while they are told to the stream.

    Args:
        day: the simulator's authorizations.

    Returns:
        For each ``authorization`` that was decided within ``LIVE_SECONDS`` its ``probability``, ``decided_ms``, how long that took, and
        ``online_ms``, how long after the broker was told it was in the windows of its card and terminal.
    """
    return pd.DataFrame(asyncio.run(_decide(day.to_dict("records"))))


async def _decide(payments: list[dict[str, Any]]) -> list[dict[str, Any]]:
    import nats

    client = await nats.connect(stream.address())
    try:
        jetstream = client.jetstream()

        async def publish(row: dict[str, Any], stored_at: pd.Timestamp) -> None:
            await jetstream.publish(stream.name, told(row, stored_at.to_pydatetime()))

        return await decisions_of(payments, publish)
    finally:
        await client.close()


async def decisions_of(payments: list[dict[str, Any]], publish: Publish) -> list[dict[str, Any]]:
    """Decide payments in the order of their times, and tell each to a stream when it was stored."""
    predictor = fti.Predictor.load("fraud")
    readers = {name: fti.OnlineReader(f"by_{name}_v1") for name in ("card", "terminal")}
    results: dict[int, dict[str, Any]] = {}
    steps = [(one["at"], 0, one) for one in payments] + [(one["stored_at"], 1, one) for one in payments]
    until = time.monotonic() + LIVE_SECONDS
    for at, is_told, one in sorted(steps, key=lambda step: (step[0], step[1], step[2]["authorization"])):
        request = {name: one[name] for name in ("authorization", "card", "terminal", "amount")}
        begun = time.perf_counter()
        if not is_told:
            if time.monotonic() > until:
                continue
            probability = predictor.predict(request, at=at.to_pydatetime()).value
            took = 1_000 * (time.perf_counter() - begun)
            results[one["authorization"]] = {**request, "probability": probability, "decided_ms": took}
            continue
        event = {**request, "at": at_text(one["at"])}
        if one["authorization"] not in results:
            await publish(event, at)
            continue
        before = _counts(readers, one, at)
        begun = time.perf_counter()
        await publish(event, at)
        while any(count <= old for count, old in zip(_counts(readers, one, at), before, strict=True)):
            if time.perf_counter() > begun + PATIENCE_SECONDS:
                raise RuntimeError(
                    f"payment {one['authorization']} was told, and is not online after {PATIENCE_SECONDS} s"
                )
            await asyncio.sleep(0.001)
        results[one["authorization"]]["online_ms"] = 1_000 * (time.perf_counter() - begun)
    return list(results.values())


def at_text(at: pd.Timestamp) -> str:
    """An instant as the terminals write it."""
    return f"{at.isoformat(timespec='microseconds')}Z"


def _counts(readers: dict[str, fti.OnlineReader], payment: dict[str, Any], at: pd.Timestamp) -> list[int]:
    rows = [reader.read(int(payment[name]), at=at.to_pydatetime()) for name, reader in readers.items()]
    return [0 if row is None else row["paid_1d"] for row in rows]


def said(log: Path, event: str) -> list[dict[str, Any]]:
    """What the service has said of something."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]
