"""A service in a process of its own, until a signal ends it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from fti_assets.core.home import home
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.lake.branches.branch import refuse_branch
from fti_assets.streaming.flush import Flush
from fti_assets.streaming.service import Say, Settings, stream


def run(
    groups: Sequence[FeatureGroup],
    stores: Stores,
    outbox: str | None = None,
    settings: Settings | None = None,
    *,
    say: Say = lambda what, **facts: None,
    flushed: Callable[[Flush], None] = lambda one: None,
    signals: Sequence[signal.Signals] = (),
    windows: Sequence[FeatureGroup] = (),
) -> None:
    """Take the events of some groups until a signal comes, or all are taken.

    Args:
        groups: groups with a stream.
        stores: where they are stored.
        outbox: the folder of what is not flushed yet; ``outbox`` under ``FTI_HOME`` by default.
        settings: how events are taken.
        say: is told what happens.
        flushed: is told of each commit to the lake, in a thread.
        signals: end it, after a last flush.
        windows: windows at the time of a request, of which those over the groups are kept online, too.
    """
    refuse_branch(
        stores.offline_store(),
        "take the events of a stream",
        "Its broker counts what main has taken: unset FTI_ENV, or run a backfill there",
    )
    folder = Path(outbox) if outbox is not None else home() / "outbox"

    async def until_stopped() -> None:
        stop = asyncio.Event()
        for one in signals:
            asyncio.get_running_loop().add_signal_handler(one, stop.set)
        await stream(
            groups,
            stores.offline_store(),
            stores.online_store(),
            folder,
            settings=settings,
            say=say,
            flushed=flushed,
            stop=stop,
            windows=windows,
        )

    asyncio.run(until_stopped())
