"""The day told to a stream in memory, where no broker answers: the same service, in this process."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

import fti_assets as fti
from examples.card_fraud.live import decisions_of
from examples.card_fraud.system import authorizations, by_card, by_terminal, stream
from fti_assets.core.home import home
from fti_assets.streaming.service import Settings
from fti_assets.streaming.service import stream as run_service
from fti_assets.testing import MemoryStream


def decide_in_memory(day: pd.DataFrame, log: Path) -> pd.DataFrame:
    """As ``live.decide``, without a broker.

    Args:
        day: the simulator's authorizations.
        log: takes what the service says, JSON a line.
    """
    return pd.DataFrame(asyncio.run(_decide(day.to_dict("records"), log)))


async def _decide(payments: list[dict[str, Any]], log: Path) -> list[dict[str, Any]]:
    events = MemoryStream(stream.name)
    group, stores = replace(authorizations, stream=events), fti.Stores()
    begun, stop = asyncio.Event(), asyncio.Event()

    async def publish(row: dict[str, Any], stored_at: pd.Timestamp) -> None:
        events.put(row, at=stored_at.value // 1_000)

    with log.open("w") as file:

        def say(what: str, **facts: Any) -> None:
            print(json.dumps({"event": what, **facts}, default=str), file=file, flush=True)
            if what == "started":
                begun.set()

        async def serve(until: asyncio.Event, *, until_caught_up: bool) -> None:
            places = stores.offline_store(), stores.online_store(), home() / "outbox"
            settings = Settings(batch_seconds=0.005, until_caught_up=until_caught_up)
            windows = [by_card, by_terminal]
            await run_service([group], *places, settings=settings, say=say, stop=until, windows=windows)

        service = asyncio.create_task(serve(stop, until_caught_up=False))
        try:
            await asyncio.wait([service, asyncio.create_task(begun.wait())], return_when=asyncio.FIRST_COMPLETED)
            results = await decisions_of(payments, publish)
        finally:
            stop.set()
            await service
        # What was told last may not be taken yet.
        await serve(asyncio.Event(), until_caught_up=True)
    return results
