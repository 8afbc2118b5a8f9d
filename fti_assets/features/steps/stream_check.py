"""Whether a run over partitions of a streamed group gives the rows that its service stored: the check ``equals_stream``.

The rows of the stream are what the lake holds of a partition before the run, as long as nobody but the service has written it or the
runs before gave the same. A run that gave others leaves a note in the ledger of where the stream's rows are, so that a run that is
repeated is compared with these, and not with what the run before it has put in their place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import duckdb

from fti_assets.core import clock
from fti_assets.core.names import PARTITION, PartitionRecord, in_partitions
from fti_assets.core.rules import Verdict
from fti_assets.core.sql import literal, quote, timestamp
from fti_assets.core.times import Partition, from_microseconds, microseconds
from fti_assets.errors import StoreError, list_some
from fti_assets.features.events.checks import equals_stream_rule
from fti_assets.features.events.comparison import Differences, differences
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.rows.staging import StagedRows
from fti_assets.orchestration.partitions import partitions_of
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.appends import has_appends
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.tables.staged_contents import contents_of

_NOTE = "stream"
_ONE_FLUSH = timedelta(minutes=1)


@dataclass(frozen=True)
class StreamCheck:
    """How a run compares with the stream.

    Args:
        verdict: of the check.
        notes: what the ledger is to keep of the partitions beside their own, once the run is stored.
    """

    verdict: Verdict
    notes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def added_to(self, records: Mapping[str, str]) -> dict[str, str]:
        """The ledger's JSON of partitions with the notes."""
        return {
            key: json.dumps({**json.loads(text), _NOTE: self.notes[key]}) if key in self.notes else text
            for key, text in records.items()
        }


def check_stream_rows(
    lake: Lake, group: FeatureGroup, staged_rows: StagedRows, partitions: Sequence[Partition], *, snapshot: int
) -> StreamCheck:
    """Compare the rows that a run is about to store with those of the stream.

    Args:
        lake: the open lake.
        group: a group with a stream.
        staged_rows: the run's.
        partitions: those that are run.
        snapshot: the one at which the run began to read. What is flushed later is no difference.
    """
    rule, staging = equals_stream_rule(group), staged_rows.table
    if not staged_rows.is_accepted:
        return StreamCheck(Verdict(rule, facts={"judged": "no: the rows of the run are refused"}))
    ledger = lake.ledger(group.table, snapshot=snapshot)
    places = {one.key: _place(ledger[one.key]) for one in partitions if one.key in ledger}
    streamed = {key: place for key, place in places.items() if place is not None}
    if not streamed:
        return StreamCheck(Verdict(rule, facts={"judged": "no: the service has stored nothing of these partitions"}))
    contents = contents_of(lake, staging, list(streamed))
    equal = {
        key for key, place in streamed.items() if not place and contents[key] == (ledger[key].data_version, ledger[key].rows)
    }  # fmt: skip
    facts: dict[str, Any] = {"partitions_compared": len(streamed)}
    if len(streamed) == 1 and not next(iter(streamed.values())):
        [key] = streamed
        facts |= {"stream_version": ledger[key].data_version, "batch_version": contents[key][0]}
    if equal == streamed.keys():
        return StreamCheck(Verdict(rule, facts=facts), {key: {} for key in streamed})
    others = [one for one in partitions if one.key in streamed and one.key not in equal]
    try:
        until = _newest_flushed(lake, group, ledger, [one.key for one in others], snapshot)
        differences = _differences(lake, group, staging, others, streamed, ledger, until, snapshot)
    except (StoreError, duckdb.Error) as error:  # a damaged file must not stand in the way of the run that mends it
        problem = f"{group.table_name}: the rows of the stream cannot be read any more, so the run cannot be compared: {error}"
        kept = {key: place for key, place in streamed.items() if place}
        return StreamCheck(Verdict(rule, 1, (), problem, facts), {**{key: {} for key in equal}, **kept})
    notes: dict[str, Mapping[str, Any]] = {key: {} for key in streamed}
    for key in differences.counts:
        notes[key] = streamed[key] or {"snapshot": snapshot, "until": microseconds(until)}
    if ahead := _rows_after(lake, group, staging, [one.key for one in others], until):
        facts["not_flushed_yet"] = ahead
    batch, stream, values = differences.totals
    facts |= {"only_in_batch": batch, "only_in_stream": stream, "other_values": values}
    problem = _problem(group, differences) if differences.counts else ""
    return StreamCheck(Verdict(rule, batch + stream + values, differences.sample, problem, facts), notes)


def _place(record: PartitionRecord) -> Mapping[str, Any] | None:
    """Where the rows of the stream are: empty if it is what is stored, None if there are none."""
    note: Mapping[str, Any] | None = json.loads(record.record).get(_NOTE)
    return {} if note is None and has_appends(record) else note


def _differences(
    lake: Lake,
    group: FeatureGroup,
    staging: str,
    partitions: Sequence[Partition],
    places: Mapping[str, Mapping[str, Any]],
    ledger: Mapping[str, PartitionRecord],
    until: datetime,
    snapshot: int,
) -> Differences:
    available, keys = quote(str(group.available_at)), [one.key for one in partitions]
    stored = relation_name(lake.rows(group.table, snapshot=snapshot, partitions=keys, with_partition=True))
    as_stored = [key for key in keys if not places[key]]
    parts = [f"FROM {stored} WHERE {in_partitions(as_stored)}"] if as_stored else []
    for key in keys:
        if place := places[key]:
            then = relation_name(
                lake.rows(group.table, snapshot=place["snapshot"], partitions=[key], with_partition=True)
            )
            later = timestamp(from_microseconds(place["until"]))
            parts += [f"FROM {then}", f"FROM {stored} WHERE {PARTITION} = {literal(key)} AND {available} > {later}"]
    stream = f"({' UNION ALL BY NAME '.join(f'({part})' for part in parts)})"
    now, never, ahead = clock.now(), [f"{available} > {timestamp(until)}"], list[str]()
    if (first := _first_streamed(group, ledger)) in keys:
        # Of the partition in which the stream began, the archive may have what was before it.
        its = f"{PARTITION} = {literal(first)}"
        never.append(f"({its} AND {available} < (SELECT min({available}) FROM {stream} WHERE {its}))")
    for one in partitions:
        if one.end is not None and one.end > now:  # of an open partition, an archive is behind its stream
            newest = f"(SELECT max({available}) FROM {quote(staging)} WHERE {PARTITION} = {literal(one.key)})"
            ahead.append(f"({PARTITION} = {literal(one.key)} AND ({newest} IS NULL OR {available} > {newest}))")
    return differences(
        lake.connection,
        f"(FROM {quote(staging)} WHERE {in_partitions(keys)})",
        stream,
        lake.staged_types(staging),
        group.identity,
        batch_counts=f"NOT ({' OR '.join(never)})",
        stream_counts=f"NOT ({' OR '.join(ahead)})" if ahead else "true",
    )


def _newest_flushed(
    lake: Lake, group: FeatureGroup, ledger: Mapping[str, PartitionRecord], keys: Sequence[str], snapshot: int
) -> datetime:
    """How far the service had come: the newest instant of the broker among what it flushed last and the partitions of the run."""
    streamed = {key: record for key, record in ledger.items() if has_appends(record)}
    last = max((record.committed_at for record in streamed.values()), default=None)
    newest = [key for key, record in streamed.items() if last is not None and record.committed_at >= last - _ONE_FLUSH]
    chosen = list(dict.fromkeys([*keys, *newest]))
    rows = lake.rows(group.table, snapshot=snapshot, partitions=chosen)
    [(until,)] = rows.aggregate(f"max({quote(str(group.available_at))})").fetchall()
    return until if until is not None else datetime.min


def _rows_after(lake: Lake, group: FeatureGroup, staging: str, keys: Sequence[str], until: datetime) -> int:
    """How many rows of the run are newer than all that the service has flushed, and so are not judged."""
    available = quote(str(group.available_at))
    [(number,)] = lake.connection.execute(
        f"SELECT count(*) FROM {quote(staging)} WHERE {in_partitions(keys)} AND {available} > {timestamp(until)}"
    ).fetchall()
    return int(number)


def _first_streamed(group: FeatureGroup, ledger: Mapping[str, PartitionRecord]) -> str:
    streamed = [key for key, record in ledger.items() if _place(record) is not None]
    return min(partitions_of(group.partitions_def, streamed), key=lambda one: one.start or datetime.min).key


def _problem(group: FeatureGroup, differences: Differences) -> str:
    batch, stream, values = differences.totals
    counts = [
        f"{number} {what}"
        for number, what in (
            (batch, "only in the batch"),
            (stream, "only in the stream"),
            (values, "with other values"),
        )
        if number
    ]
    rows = [
        f"{record['difference']}: {record['row']}{', ' if record['values'] else ''}{record['values']}"
        for record in differences.sample[:3]
    ]
    return (
        f"{group.table_name} {list_some(differences.counts)}: the rows of the run are not those of the stream, {', '.join(counts)}. "
        f"{'; '.join(rows)}"
    )
