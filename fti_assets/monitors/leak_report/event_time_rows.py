"""The rows of groups as somebody has them who asks only when things happened, not when they were known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import duckdb

from fti_assets.core.names import PARTITION
from fti_assets.core.sql import quote, temporary_name, timestamp
from fti_assets.core.times import Partition
from fti_assets.errors import FtiError
from fti_assets.features.groups.group import FeatureGroup, layout_of
from fti_assets.features.groups.timed_table import TimedTable
from fti_assets.features.rows.layout import Layout
from fti_assets.features.rows.staging import stage
from fti_assets.features.rows.table import Table
from fti_assets.features.rows.visibility import available_sql
from fti_assets.features.steps.inputs import table_of, within_reach
from fti_assets.orchestration.partitions import is_timed, partitions_of
from fti_assets.orchestration.signature import parameters_of
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.views.view import FeatureView


@dataclass
class EventTimeRows:
    """Gives the rows of each group that a view rests on, as if each were known as soon as it happened.

    Available-at and serving delays count for nothing. The outcome of a spine row, a row of another group with the spine's keys, has
    the spine row's prediction time, just after which it is said to have happened, as in a table that has one line for both; if it
    happened before, it keeps its time. Groups that are computed from others are computed again from such rows, if their function
    takes nothing but tables; else their own rows stay, and ``left`` names them.

    Args:
        lake: the open lake.
        view: the view.
        snapshot: at which all is read.
        first, last: the first and the last prediction time.
    """

    lake: Lake
    view: FeatureView
    snapshot: int
    first: datetime
    last: datetime
    outcomes: list[str] = field(default_factory=list)
    computed: list[str] = field(default_factory=list)
    left: dict[str, str] = field(default_factory=dict)
    _tables: dict[TimedTable, str] = field(default_factory=dict)

    def rows(self, group: TimedTable) -> duckdb.DuckDBPyRelation:
        """A group's rows, one a key and event time."""
        if isinstance(group, FeatureGroup) and group.windows is not None:
            [source] = group.inputs.values()
            return self.rows(source)
        if group.event_time is None:
            return self.lake.rows(group.table, snapshot=self.snapshot)
        if group not in self._tables:
            self._tables[group] = self._made(group)
        return self.lake.connection.sql(f"FROM {self._tables[group]}")

    def _made(self, group: TimedTable) -> str:
        again = self._computed(group) if isinstance(group, FeatureGroup) and group.inputs else None
        rows = self.lake.rows(group.table, snapshot=self.snapshot) if again is None else again
        event = quote(str(group.event_time))
        # Corrections of one row are told apart by when they became known alone: the last one is what a table without history has.
        available = available_sql(group.times) if isinstance(group, FeatureGroup) else event
        tie = group.tie_break if isinstance(group, FeatureGroup) else None
        order = ", ".join([f"{available} DESC", *([f"{quote(tie)} DESC NULLS LAST"] if tie else [])])
        keys = ", ".join([*map(quote, group.keys), event])
        return self._table(
            f"SELECT * FROM {self._moved(group, rows)} QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {order}) = 1"
        )

    def _moved(self, group: TimedTable, rows: duckdb.DuckDBPyRelation) -> str:
        """The rows with the event time that an outcome is said to have."""
        spine, name = self.view.spine, relation_name(rows)
        keys = self._spine_keys(group)
        if not keys or spine.event_time is None:
            return name
        if group.table_name not in self.outcomes:
            self.outcomes.append(group.table_name)
        # Not at the prediction time itself: nobody's model learns from its own row's outcome.
        later = self.outcomes.index(group.table_name) + 1
        event, at = quote(str(group.event_time)), quote(spine.event_time)
        columns = ", ".join(quote(of_spine) for of_spine in keys.values())
        spine_rows = relation_name(self.lake.rows(spine.table, snapshot=self.snapshot))
        of_spine = self._table(f"SELECT {columns}, min({at}) AS __fti_at FROM {spine_rows} GROUP BY ALL")
        same = " AND ".join(f"spine.{quote(theirs)} = own.{quote(mine)}" for mine, theirs in keys.items())
        moved = f"CASE WHEN own.{event} >= spine.__fti_at THEN spine.__fti_at + to_microseconds({later}) ELSE own.{event} END"
        return self._table(
            f"SELECT own.* REPLACE ({moved} AS {event}) FROM {name} own LEFT JOIN {of_spine} spine ON {same}"
        )

    def _spine_keys(self, group: TimedTable) -> dict[str, str]:
        """The spine's column of each key of a group whose rows are of a spine row each; none of another group."""
        spine, label = self.view.spine, self.view.only_label
        if group is spine:
            return {}
        if group is label.group and label.horizon is None:
            return {key: label.column.spine_keys.get(key, key) for key in group.keys}
        return dict(zip(group.keys, group.keys, strict=True)) if set(group.keys) == set(spine.keys) else {}

    def _computed(self, group: FeatureGroup) -> duckdb.DuckDBPyRelation | None:
        """The group's rows from inputs by their event times; None if it cannot be computed here."""
        if not group.is_owned:
            self.left[group.table_name] = "another code location has its function"
            return None
        others = [name for name in parameters_of(group.function) if name not in group.inputs]
        if others:
            self.left[group.table_name] = f"its function takes {others[0]!r} besides"
            return None
        partitions = self._partitions(group)
        if not partitions:
            self.left[group.table_name] = "none of its partitions is stored"
            return None
        try:
            tables = {name: self._input(source, group, partitions) for name, source in group.inputs.items()}
            whole = layout_of(group)
            layout = Layout(group.table_name, whole.not_null, (), None, types=whole.types, times=whole.times)
            staged = stage(self.lake.connection, group.function(**tables), layout, [Partition("all")]).table
        except (FtiError, duckdb.Error) as error:
            self.left[group.table_name] = str(error).partition("\n")[0]
            return None
        self.computed.append(group.table_name)
        return self.lake.connection.sql(f"SELECT * EXCLUDE ({PARTITION}) FROM {quote(staged)}")

    def _input(self, source: TimedTable, group: FeatureGroup, partitions: Sequence[Partition]) -> Table:
        table = table_of(self.lake.connection, self.rows(source), source)
        if source.event_time is None:
            return within_reach(table, source, group, partitions)
        moved = replace(table, available_at=None, serving_delay=timedelta(0))
        return within_reach(moved, source, group, partitions)

    def _partitions(self, group: FeatureGroup) -> list[Partition]:
        """The stored partitions of a group in the time of the spine's rows, and as long before as its values last."""
        keys = list(self.lake.ledger(group.table, snapshot=self.snapshot))
        if not is_timed(group.partitions_def):
            return [Partition("all")] if keys else []
        stored = partitions_of(group.partitions_def, keys)
        since = datetime.min if group.ttl is None else self.first - group.ttl
        until = self.last + timedelta(days=1)
        return [one for one in stored if one.start and one.end and one.end > since and one.start <= until]

    def _table(self, select: str) -> str:
        name = quote("temp", temporary_name("happened"))
        self.lake.connection.execute(f"CREATE TEMP TABLE {name} AS {select}")
        return name


def spans_sql(partitions: Sequence[Partition]) -> str:
    """The SQL of the spans of partitions, ``started`` and ``ended``."""
    spans = [f"({timestamp(one.start)}, {timestamp(one.end)})" for one in partitions if one.start and one.end]
    return f"(VALUES {', '.join(spans)}) spans(started, ended)"
