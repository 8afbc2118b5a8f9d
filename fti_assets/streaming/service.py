"""``fti stream``: takes the events of feature groups until it is stopped, each group in a task of its own."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from fti_assets.errors import DeclarationError, FtiError, StoreError
from fti_assets.features.events.decoding import group_decoder
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.online.store import OnlineStore
from fti_assets.stores.streams.assignment import hold_shards, shards_of
from fti_assets.stores.streams.stream import Subscription
from fti_assets.streaming.backlog import Backlog
from fti_assets.streaming.flush import Flush, LostPositionError, LostShardError
from fti_assets.streaming.flusher import Flusher
from fti_assets.streaming.micro_batch import MicroBatches
from fti_assets.streaming.outbox import Outbox, open_outbox

_BACK_OFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
_WAIT_SECONDS = 0.25
"""For an event, before the service looks whether it is to stop."""
_SHORT_WAIT_SECONDS = 0.02
"""For an event, before it looks whether it has caught up: a client has none at once of those that are on their way."""

Say = Callable[..., None]
"""Takes what happened, by name, with facts beside it."""


@dataclass(frozen=True)
class Settings:
    """How events are taken.

    Args:
        instance: which of several services this is, from 1.
        instances: how many share the shards.
        batch_seconds: between the beginnings of two micro-batches at least, as long as there are events; one that comes alone is
            taken at once.
        batch_events: how many events it has at most.
        flush_seconds: between two commits to the lake.
        until_caught_up: stop when the broker has no event behind what was taken, after a last flush.
    """

    instance: int = 1
    instances: int = 1
    batch_seconds: float = 0.05
    batch_events: int = 5_000
    flush_seconds: float = 10.0
    until_caught_up: bool = False


def outbox_path(folder: Path, group: FeatureGroup, settings: Settings) -> Path:
    """Where a service keeps what it has not flushed yet."""
    return folder / group.table_name / f"{settings.instance}_of_{settings.instances}.sqlite"


class GroupService:
    """Takes the events of one group.

    Args:
        group: a group with a stream.
        offline: the offline store.
        online: the online store.
        folder: where outboxes are kept.
        settings: how events are taken.
        say: is told what happens.
        flushed: is told of each commit to the lake.
        windows: windows at the time of a request over the group.
    """

    def __init__(
        self,
        group: FeatureGroup,
        offline: OfflineStore,
        online: OnlineStore,
        folder: Path,
        settings: Settings,
        say: Say,
        flushed: Callable[[Flush], None] = lambda one: None,
        windows: Sequence[FeatureGroup] = (),
    ) -> None:
        if group.stream is None:
            raise DeclarationError(
                f"{group.table_name} has no stream: declare it, @fti.feature_group(stream=fti.NatsStream(...), ...)"
            )
        self._group, self._settings, self._say, self._flushed = group, settings, say, flushed
        self._stream = group.stream
        self._folder = folder
        self._flusher = Flusher(
            group, offline, online, windows, run_id=f"stream {os.getpid()} {settings.instance}/{settings.instances}"
        )
        self._lag: Mapping[int, int] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Take events until ``stop`` is set, or all are taken if that is asked for; then flush.

        Raises:
            StoreError: a store or the broker refuses for good: it is another stream, or events are gone.
            SchemaChangedError: the lake has another schema.
        """
        settings, what = self._settings, self._stream.place
        path = outbox_path(self._folder, self._group, settings)
        names = await self._stream.shard_names()
        shards = shards_of(settings.instance, settings.instances, names, what=what)
        async with AsyncExitStack() as stack:
            stack.callback(self._flusher.close)
            stack.enter_context(hold_shards(path.parent, shards, names, what=what))
            outbox = stack.enter_context(open_outbox(path, of=self._group.table_name))
            await asyncio.to_thread(self._flusher.start, outbox, shards)
            positions = outbox.positions()
            subscription = await self._stream.subscribe(
                shards,
                {shard: at.sequence for shard, at in positions.items()},
                {shard: at.identity for shard, at in positions.items() if at.identity},
            )
            stack.push_async_callback(subscription.close)
            batches = MicroBatches(self._group, outbox, group_decoder(self._group))
            self._say(
                "started", **{"group": self._group.table_name, "positions": _plain(outbox), "waiting": outbox.count()}
            )
            ended = asyncio.Event()
            flushing = asyncio.create_task(self._flush_now_and_then(subscription, outbox, ended, stop))
            try:
                await self._take(subscription, batches, outbox, stop)
            finally:
                ended.set()
                await flushing
            await self._flush(subscription, outbox)
            self._say("stopped", group=self._group.table_name, positions=_plain(outbox))

    async def _take(
        self, subscription: Subscription, batches: MicroBatches, outbox: Outbox, stop: asyncio.Event
    ) -> None:
        settings, attempt = self._settings, 0
        backlog = Backlog(settings.batch_events, settings.flush_seconds)
        behind_online = is_away = False
        within = max(settings.batch_seconds, _SHORT_WAIT_SECONDS if settings.until_caught_up else _WAIT_SECONDS)
        loop = asyncio.get_running_loop()
        begin = -1.0
        while not stop.is_set():
            # Each turn waits for the disk, however few events it has. A broker that always has more must not keep flushes waiting.
            await asyncio.sleep(max(begin + settings.batch_seconds - loop.time(), 0.0))
            events = await subscription.fetch(settings.batch_events, within)
            begin = loop.time() if len(events) < settings.batch_events else -1.0
            if is_away != (subscription.trouble is not None):
                is_away = not is_away
                facts = {"error": subscription.trouble} if is_away else {}
                self._say("broker_away" if is_away else "broker_back", group=self._group.table_name, **facts)
            if not events and not behind_online and not backlog:
                if settings.until_caught_up and await _is_caught_up(subscription):
                    return
                continue
            taken = None
            while not stop.is_set():
                try:
                    if taken is None and events:
                        taken = batches.take(events, subscription.identities)
                    break
                except StoreError as error:  # the disk is full: nothing was kept, and the broker has them all
                    self._say("outbox_failed", group=self._group.table_name, error=str(error))
                    attempt = await _back_off(attempt, stop)
            if taken is not None:
                backlog.add(taken, events, loop.time())
            try:
                if behind_online or (backlog and (not events or backlog.is_due(loop.time()))):
                    await self._bring_online(backlog, behind_online, outbox)
                behind_online, attempt = False, 0
            except LostShardError:
                raise
            except StoreError as error:  # what is durable is put online when the store is there again
                behind_online = True
                self._say("online_failed", group=self._group.table_name, error=str(error))
                attempt = await _back_off(attempt, stop)
            if taken is not None:
                if taken.dead_letters:
                    first = taken.dead_letters[0]
                    self._say(
                        "dead_letters", group=self._group.table_name, number=len(taken.dead_letters), shard=first.shard,
                        sequence=first.sequence, reason=first.reason,
                    )  # fmt: skip
                await subscription.ack(taken.positions)
        if backlog:
            with suppress(StoreError):  # the outbox has it all, and the next service puts it online
                await self._bring_online(backlog, behind_online, outbox)

    async def _bring_online(self, backlog: Backlog, behind_online: bool, outbox: Outbox) -> None:
        online, batches = self._flusher.online, len(backlog)
        if online is None:
            backlog.clear()
            return
        if batches and not behind_online:
            rows, positions = backlog.take()
            # Many at once take seconds, in which the services of other groups go on.
            if await asyncio.to_thread(online.write, rows, positions) if batches > 1 else online.write(rows, positions):
                return
        backlog.clear()
        await asyncio.to_thread(self._flusher.load, outbox)

    async def _flush_now_and_then(
        self, subscription: Subscription, outbox: Outbox, ended: asyncio.Event, stop: asyncio.Event
    ) -> None:
        while not ended.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(ended.wait(), self._settings.flush_seconds)
            if ended.is_set():
                return
            try:
                await self._flush(subscription, outbox)
            except (LostPositionError, LostShardError):
                stop.set()
                raise
            except (FtiError, duckdb.Error) as error:  # the outbox has it all: the next flush takes it along
                self._say("flush_failed", group=self._group.table_name, error=str(error))
            except BaseException:
                stop.set()
                raise

    async def _flush(self, subscription: Subscription, outbox: Outbox) -> None:
        with suppress(StoreError):
            self._lag = await subscription.lag()
        await asyncio.to_thread(self._flusher.flush, outbox, self._tell)

    def _tell(self, flush: Flush) -> None:
        flush = replace(flush, lag=self._lag)
        self._say(
            "flushed",
            group=self._group.table_name,
            rows=dict(flush.additions),
            present=flush.present,
            dead_letters=sum(flush.dead_letters.values()),
            snapshot=flush.commit.snapshot,
            positions={str(shard): sequence for shard, sequence in flush.positions.items()},
            lag=sum(flush.lag.values()),
        )
        self._flushed(flush)


async def stream(
    groups: Sequence[FeatureGroup],
    offline: OfflineStore,
    online: OnlineStore,
    folder: Path,
    *,
    settings: Settings | None = None,
    say: Say = lambda what, **facts: None,
    flushed: Callable[[Flush], None] = lambda one: None,
    stop: asyncio.Event | None = None,
    windows: Sequence[FeatureGroup] = (),
) -> None:
    """Take the events of some groups until it is stopped; if one of them fails for good, the others are flushed and stopped, too.

    Args:
        groups: groups with a stream.
        offline: the offline store.
        online: the online store.
        folder: where outboxes are kept: a disk that outlives the process.
        settings: how events are taken.
        say: is told what happens.
        flushed: is told of each commit to the lake, in a thread.
        stop: ends it when it is set.
        windows: windows at the time of a request, of which those over the groups are kept online, too.
    """
    stop = asyncio.Event() if stop is None else stop
    services = [
        GroupService(group, offline, online, folder, settings or Settings(), say, flushed, over(group, windows))
        for group in groups
    ]

    async def run(service: GroupService) -> None:
        try:
            await service.run(stop)
        except BaseException:
            stop.set()
            raise

    results = await asyncio.gather(*(run(service) for service in services), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result


def over(group: FeatureGroup, windows: Sequence[FeatureGroup]) -> list[FeatureGroup]:
    """Of some groups the windows at the time of a request over one."""
    return [one for one in windows if one.windows is not None and one.table == group.table]


async def _is_caught_up(subscription: Subscription) -> bool:
    try:
        return not sum((await subscription.lag()).values())
    except StoreError:  # the broker is away, and may hold more
        return False


async def _back_off(attempt: int, stop: asyncio.Event) -> int:
    seconds = _BACK_OFF_SECONDS[min(attempt, len(_BACK_OFF_SECONDS) - 1)]
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    return attempt + 1


def _plain(outbox: Outbox) -> dict[str, int]:
    return {str(shard): at.sequence for shard, at in outbox.positions().items()}
