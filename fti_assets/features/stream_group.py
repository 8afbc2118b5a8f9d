"""Feature groups of a stream alone: whole partitions are read from the broker again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, Unpack

import dagster as dg
import pyarrow as pa
import pyarrow.compute as pc

from fti_assets.core import clock
from fti_assets.core.arguments import checked_arguments
from fti_assets.core.names import PARTITION
from fti_assets.core.times import naive_utc
from fti_assets.features.events.decoding import group_decoder
from fti_assets.features.events.reading import AHEAD, SEQUENCE, SHARD, EventReader, event_schema
from fti_assets.features.feature_group import feature_group
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.sql_group import RowTerms
from fti_assets.orchestration.signature import CONTEXT, take
from fti_assets.stores.streams.stream import EventStream


@checked_arguments(options=RowTerms, itself=["stream"])
def stream_feature_group(
    *, name: str, keys: Sequence[str], stream: EventStream, **terms: Unpack[RowTerms]
) -> FeatureGroup:
    """Declare a feature group whose rows are the events of a stream, and nothing else.

    ``fti stream`` takes them as they happen. A run over a partition reads the broker again, so a partition can be made again for as
    long as the broker keeps its events; to keep a group for longer, give it a function over an archive,
    ``@fti.feature_group(stream=...)``.

    Args:
        name: the group's name.
        keys: the columns that name the entity.
        stream: ``fti.NatsStream(...)``, ``fti.KafkaStream(...)`` or ``fti.RedisStream(...)``.
        terms: what ``fti.feature_group`` takes, with the same meaning.

    Raises:
        DeclarationError: the declaration is impossible.
    """
    declared: list[FeatureGroup] = []
    declared.append(feature_group(name=name, keys=keys, stream=stream, **terms)(_replay(declared, stream)))
    return declared[0]


def _replay(declared: Sequence[FeatureGroup], stream: EventStream) -> Callable[..., Any]:
    def run(context: Any) -> pa.Table:
        """The events of the partitions that are run, read from the broker again."""
        window = context.partition_time_window
        rows, problems = replayed(declared[0], naive_utc(window.start), naive_utc(window.end))
        if problems:
            context.log.info(
                f"{declared[0].table_name}: {problems} events are no rows; its service keeps them as dead letters"
            )
        return rows

    run.__name__ = run.__qualname__ = "replay"
    take(run, {CONTEXT: dg.AssetExecutionContext})
    return run


def replayed(group: FeatureGroup, start: datetime, end: datetime) -> tuple[pa.Table, int]:
    """The rows of a stream's events in the partitions of ``[start, end)``, as its service stores them, and how many events are none.

    Raises:
        StoreError: the broker cannot be read, or no longer has all events.
    """
    stream = group.stream
    assert stream is not None
    reader = EventReader(group, group_decoder(group))
    by_arrival = group.partition_by == group.available_at
    # An event may be of a partition that begins after it was stored, and of one that ended long before.
    since, until = (start, min(end, clock.now())) if by_arrival else (start - AHEAD, clock.now())
    tables = [event_schema(group).empty_table()]
    problems = 0

    async def read() -> None:
        nonlocal problems
        async for events in stream.read(since, until):
            intake = reader.read(events)
            problems += len(intake.dead_letters)
            column = intake.rows.column(str(group.partition_by))
            within = pc.and_(
                pc.greater_equal(column, pa.scalar(start, pa.timestamp("us"))),
                pc.less(column, pa.scalar(end, pa.timestamp("us"))),
            )
            tables.append(intake.rows.filter(within))

    with ThreadPoolExecutor(1) as pool:  # the thread of a step may have a loop of its own
        pool.submit(asyncio.run, read()).result()
    rows = pa.concat_tables(tables)
    first = _first_of_each(rows, group)
    problems += rows.num_rows - first.num_rows
    return first.drop_columns([PARTITION, SHARD, SEQUENCE]), problems


def _first_of_each(rows: pa.Table, group: FeatureGroup) -> pa.Table:
    """The rows without those whose keys and times an event before them has, as the service has it."""
    identity = [*group.identity]
    numbered = rows.select(identity).append_column("__fti_at", pa.array(range(rows.num_rows), pa.int64()))
    first = numbered.group_by(identity).aggregate([("__fti_at", "min")]).column("__fti_at_min")
    return rows if len(first) == rows.num_rows else rows.take(first.combine_chunks().sort())
