"""Sinks of predictions: copies of partitions of the lake, which are asked for a key and written again without it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fti_assets.core.names import TableName
from fti_assets.forget.carriers import Values, spine_values
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.orchestration.declaration import Declaration
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.upkeep.occurrences import columns_of
from fti_assets.stores.sinks.sink import Sink, StoredPartition, reason_of

_NO_TABLE = "the lake has no such table to tell its rows by"


@dataclass(frozen=True)
class SinkReport:
    """What a sink of a table held of the key, what was written there, and what it holds now."""

    table: str
    place: str
    rows: Mapping[str, int] | None
    """By partition; None if it cannot be asked."""
    written: Sequence[str] = ()
    """The partitions that were written to it again."""
    left: int | None = None
    """The rows that a search finds afterwards; None if there was none."""
    problem: str = ""
    """Why it could not be searched or written."""
    unasked: str = "it cannot be asked what it keeps"
    """Why it is not searched at all."""

    @property
    def may_hold(self) -> bool:
        """Whether the command, run again, may yet take the key out of it."""
        return bool(self.problem or self.left)


def forget_in_sinks(
    lake: Lake,
    declarations: Sequence[Declaration],
    group: str,
    key: Values,
    predicates: Mapping[TableName, tuple[str, frozenset[str]]],
    changes: Mapping[TableName, Sequence[str]],
    *,
    write: bool,
) -> list[SinkReport]:
    """Ask each sink of predictions, and write to it again what holds the key, or what the lake took it out of.

    Args:
        lake: after it has forgotten.
        declarations: the system's.
        group: the name of the key's group.
        key: its columns and their values.
        predicates: of each table that may hold the key, what finds its rows, and the columns that it may name.
        changes: the partitions of each table that the key was taken out of.
        write: whether to write; else only look.
    """
    reports = []
    for one in declarations:
        if not isinstance(one, BatchPredictions) or not one.sinks:
            continue
        if one.table not in predicates:
            if any(True for model in one.models for _ in spine_values(model.view, group, key)):
                reports += [SinkReport(one.table.full_name, sink.place, None, unasked=_NO_TABLE) for sink in one.sinks]
            continue
        predicate, names = predicates[one.table]
        columns = {name: kind for name, kind in columns_of(lake, one.table).items() if name in names}
        for sink in one.sinks:
            partitions = [*changes.get(one.table, ())] if write else []
            reports.append(_forget_in(lake, sink, one.table, predicate, columns, partitions, write=write))
    return reports


def _forget_in(
    lake: Lake,
    sink: Sink,
    table: TableName,
    predicate: str,
    columns: Mapping[str, str],
    changes: Sequence[str],
    *,
    write: bool,
) -> SinkReport:
    rows, rows_after, rewrites, problem = None, None, list[str](), ""
    try:
        rows = sink.holding(lake, table, predicate, columns)
    except Exception as error:  # of the sink's own libraries
        problem = reason_of(error, sink)
    try:
        for partition in dict.fromkeys([*changes, *((rows or {}) if write else ())]):
            sink.write(StoredPartition(lake, table, partition))
            rewrites.append(partition)
        if write and rows is not None:
            after = sink.holding(lake, table, predicate, columns)
            rows_after = None if after is None else sum(after.values())
    except Exception as error:  # and a user's function raises what it likes
        problem = problem or reason_of(error, sink)
    return SinkReport(table.full_name, sink.place, rows, rewrites, rows_after, problem)
