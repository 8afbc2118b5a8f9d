"""From the outbox to the lake: the rows of some micro-batches in their partitions, with the position, in one commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from fti_assets.core import clock
from fti_assets.core.names import Commit, TableName
from fti_assets.core.sql import quote, temporary_name
from fti_assets.core.times import from_microseconds, microseconds
from fti_assets.errors import StoreError, list_some
from fti_assets.features.events.dead_letter import DeadLetter, dead_letter
from fti_assets.features.events.reading import SEQUENCE, SHARD, event_schema
from fti_assets.features.groups.group import FeatureGroup, layout_of
from fti_assets.features.published.contract import state_contract
from fti_assets.features.stored_partitions import partition_records, refuse_other_partitions
from fti_assets.orchestration.partitions import partitions_of
from fti_assets.stores.lake.appends import Append, Positions, append_rows, time_bounds
from fti_assets.stores.lake.lake import Lake
from fti_assets.streaming.dead_letters import add_dead_letters, dead_letters_table, staged_dead_letters
from fti_assets.streaming.outbox import Batches
from fti_assets.streaming.taken import behind

FLUSH_ROWS = 200_000
"""Of one commit at most, so that memory is bounded however long the lake could not be written."""


class LostPositionError(StoreError):
    """The lake stands before what the outbox holds: it was reset, or put back to an earlier state, while the service ran."""


class LostShardError(StoreError):
    """Another service has gone on with a shard: this one hung and was replaced, or two run as the same instance."""


@dataclass(frozen=True)
class Flush:
    """What one commit of a service added.

    Args:
        table: the group's.
        commit: the partitions with new rows; their data versions are those of a run that gives the same rows.
        additions: how many rows each partition got.
        present: how many rows were there already, such as from a run over the same day.
        dead_letters: the events of this flush that are no rows, by reason.
        positions: where the stream stands now, by shard.
        lag: how many events the broker holds behind what is taken, by shard; empty if it was not asked.
        newest: when the broker stored the newest event of this flush that is a row, naive UTC; None if none is.
        newest_event: the latest event time of its rows that is not ahead, naive UTC; None if there is none.
    """

    table: TableName
    commit: Commit
    additions: Mapping[str, int]
    present: int
    dead_letters: Mapping[str, int]
    positions: Positions
    lag: Mapping[int, int] = field(default_factory=dict)
    newest: datetime | None = None
    newest_event: datetime | None = None


def flush(
    lake: Lake, group: FeatureGroup, batches: Batches, *, run_id: str = "", own: Positions | None = None
) -> Flush:
    """Commit micro-batches, each event once whoever flushed it before.

    Args:
        lake: the open lake.
        group: a group with a stream.
        batches: what its outbox holds, from the first micro-batch that is not known to be flushed.
        run_id: what the ledger names as the run.
        own: of the service's shards, where the lake stands by what the service has flushed itself; None if that is not asked.

    Raises:
        LostShardError: the lake stands behind that: another service has flushed the shard.
        SchemaChangedError: the stored table has other columns or types, or other partitions.
        LostPositionError: rows before those of the outbox are gone from the lake; a service that starts reads them again.
        StoreError: the commit failed; the outbox still has all.
    """
    reasons: dict[str, int] = {}
    made: list[str] = []
    ends = batches.positions()
    refuse_other_partitions(lake, group)
    state_contract(lake, group)

    def prepare(before: Positions) -> Append:
        _refuse_lost(group, batches, before)
        if own is not None:
            refuse_foreign(group, own, before, "flushed")
        reasons.clear()
        rows = None if batches.rows is None else behind(batches.rows, before)
        letters = [letter for letter in batches.dead_letters if letter.sequence > before.get(letter.shard, -1)]
        for letter in letters:
            reasons[letter.reason] = reasons.get(letter.reason, 0) + 1
        dead = staged_dead_letters(lake.connection, letters)
        staged, events = _staged(lake, group, rows)
        made.extend([dead, staged, events])

        def refuse(clashes: str) -> None:
            more = _clashing(lake, group, clashes, events)
            for letter in more:
                reasons[letter.reason] = reasons.get(letter.reason, 0) + 1
            add_dead_letters(lake.connection, dead, more)

        return Append(
            staged,
            {shard: end for shard, end in ends.items() if end > before.get(shard, -1)},
            group.identity,
            streams=batches.identities,
            bounds=_bounds(group, rows),
            records=lambda key: partition_records(group, [key])[key],
            run_at=lambda key: _before_end(group, key),
            refuse=refuse,
            beside={dead_letters_table(group): dead},
        )

    try:
        result = append_rows(
            lake, group.table, prepare, asset=group.key.to_user_string(), run_id=run_id, addable=_addable(group)
        )
    finally:
        for table in made:  # a service lives for weeks on one connection
            lake.connection.execute(f"DROP TABLE IF EXISTS {quote(table)}")
    return Flush(
        group.table,
        result.commit,
        result.additions,
        result.present,
        dict(sorted(reasons.items())),
        result.positions,
        newest=_newest(batches.rows, str(group.available_at)),
        newest_event=_newest(batches.rows, str(group.event_time), until=clock.now()),
    )


def _newest(rows: pa.Table | None, column: str, *, until: datetime = datetime.max) -> datetime | None:
    if rows is None:
        return None
    instants = rows[column].cast(pa.int64())
    newest = pc.max(instants.filter(pc.less_equal(instants, microseconds(until)))).as_py()
    return None if newest is None else from_microseconds(newest)


def _refuse_lost(group: FeatureGroup, batches: Batches, before: Positions) -> None:
    lost = [shard for shard, sequence in batches.flushed.items() if before.get(shard, -1) < sequence]
    if lost:
        raise LostPositionError(
            f"{group.table.full_name} stands before what was flushed to it, in shards {list_some(map(str, lost))}: it was reset, or put "
            "back to an earlier state. Nothing was added. Start the service again, which reads the events from the broker again"
        )


def refuse_foreign(group: FeatureGroup, own: Positions, reached: Positions, what: str) -> None:
    """Raise a LostShardError if a store stands, of a shard of this service, behind what it has brought there itself."""
    lost = [shard for shard, sequence in own.items() if reached.get(shard, -1) > sequence]
    if lost:
        raise LostShardError(
            f"another service has {what} events of {group.table.full_name} in shards {list_some(map(str, lost))}, which are this one's: it "
            "hung and was replaced, or two run as the same instance. This one adds nothing and ends, and nothing is lost by it: what it "
            "had taken the other has from the broker. Start it again as an instance of its own, or leave it"
        )


def _staged(lake: Lake, group: FeatureGroup, rows: pa.Table | None) -> tuple[str, str]:
    """The rows in a temporary table as the lake stores them, and in another with the events that they are of."""
    staged, events = temporary_name("flush"), temporary_name("events")
    execute = lake.connection.execute
    if rows is None:
        rows = event_schema(group).empty_table()
    lake.connection.register("__fti_rows", rows)
    try:
        execute(f"CREATE TEMP TABLE {quote(events)} AS FROM __fti_rows")
    finally:
        lake.connection.unregister("__fti_rows")
    # What a run has added to the table besides, an event does not have.
    more = [
        f", NULL::{kind} AS {quote(name)}"
        for name, kind in lake.types(group.table).items()
        if name not in rows.column_names
    ]
    execute(
        f"CREATE TEMP TABLE {quote(staged)} AS SELECT * EXCLUDE ({SHARD}, {SEQUENCE}){''.join(more)} FROM {quote(events)}"
    )
    return staged, events


def _clashing(lake: Lake, group: FeatureGroup, clashes: str, events: str) -> list[DeadLetter]:
    same = " AND ".join(f"of.{quote(name)} = clash.{quote(name)}" for name in group.identity)
    rows = lake.connection.sql(
        f"SELECT of.{SHARD}, of.{SEQUENCE}, epoch_us(of.{quote(str(group.available_at))}), to_json(clash)::VARCHAR "
        f"FROM {quote(clashes)} clash JOIN {quote(events)} of ON {same}"
    ).fetchall()
    reason = clash_reason(group)
    return [dead_letter(shard, sequence, at, reason, text.encode()) for shard, sequence, at, text in rows]


def clash_reason(group: FeatureGroup) -> str:
    """Why an event is none of the rows whose keys and times another has."""
    return f"another row has the same {', '.join(group.identity)}: name tie_break, the column whose greatest value wins"


def _before_end(group: FeatureGroup, key: str) -> datetime:
    """Now, as long as the partition is open: however late a service adds to it, only a run makes it final."""
    [partition] = partitions_of(group.partitions_def, [key])
    assert partition.end is not None
    return min(clock.now(), partition.end - timedelta(microseconds=1))


def _addable(group: FeatureGroup) -> list[str]:
    """The columns that rows stored before may lack."""
    assert group.schema is not None
    never_null = {*layout_of(group).not_null, group.partition_by, group.tie_break}
    return [name for name, column in group.schema.columns.items() if column.nullable and name not in never_null]


def _bounds(group: FeatureGroup, rows: pa.Table | None) -> tuple[str, str, str] | None:
    if rows is None or not rows.num_rows:
        return None
    assert group.available_at is not None
    ends = pc.min_max(rows[group.available_at].cast(pa.int64())).as_py()
    return time_bounds(group.available_at, from_microseconds(ends["min"]), from_microseconds(ends["max"]))
