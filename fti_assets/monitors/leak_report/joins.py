"""The rows of a dataset as leaky joins have them, beside the rows as they are stored."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from fti_assets.core.manifest import Column, JoinedGroup, ViewRecord
from fti_assets.core.sql import quote, temporary_name
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.point_in_time.assemble import assemble
from fti_assets.monitoring.leak_report.report import JoinKind
from fti_assets.monitors.leak_report.event_time_rows import EventTimeRows, spans_sql
from fti_assets.orchestration.partitions import is_timed, partitions_between
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.freshness.rows import NUMBER, DatasetRows

_END = "_fti_day_end"


@dataclass(frozen=True)
class LeakyJoins:
    """Joins the rows of a dataset again, with rows that are known as soon as they have happened.

    Args:
        lake: the open lake.
        rows: the dataset's.
        spine: the group that the rows are of.
        happened: gives the groups' rows.
        groups: the groups of the view's joins, by table.
    """

    lake: Lake
    rows: DatasetRows
    spine: FeatureGroup
    happened: EventTimeRows
    groups: dict[str, FeatureGroup]

    def features(self, join: JoinKind) -> str:
        """The quoted name of a table with the stored rows, and with other features where that join brings others."""
        view = self.rows.dataset.view
        if join == "honest":
            return self.rows.stored
        spine = f"SELECT * FROM {self.rows.spine}"
        if join == "same_day":
            view, spine = self._by_day(view)
        leaky = replace(view, joins=tuple(map(_by_event_time, view.joins)))
        connection = self.lake.connection
        joined = assemble(
            self.lake,
            leaky,
            connection.sql(spine),
            snapshot=self.rows.dataset.snapshot,
            rows=lambda one: self.happened.rows(self.groups[one.table_name]),
        )
        own = {column.name for column in view.request}
        columns = [quote(one.name) for one in view.features if one.name not in own]
        table = quote("temp", temporary_name("leaky"))
        connection.execute(
            f"CREATE TEMP TABLE {table} AS SELECT stored.* EXCLUDE ({', '.join(columns)}), "
            f"{', '.join(f'joined.{column}' for column in columns)} "
            f"FROM {self.rows.stored} stored JOIN {relation_name(joined)} joined USING ({NUMBER})"
        )
        return table

    def _by_day(self, view: ViewRecord) -> tuple[ViewRecord, str]:
        """The view and its spine with the end of each row's partition, of its UTC day without partitions, as the prediction time."""
        time = str(view.prediction_time)
        [(first, last)] = self.lake.connection.execute(
            f"SELECT min({quote(time)}), max({quote(time)}) FROM {self.rows.spine}"
        ).fetchall()
        end = f"date_trunc('day', {quote(time)}) + INTERVAL 1 DAY"
        spine = f"SELECT *, {end} AS {_END} FROM {self.rows.spine}"
        if is_timed(self.spine.partitions_def):
            spans = spans_sql(partitions_between(self.spine.partitions_def, first, _after(last)))
            spine = (
                f"SELECT rows.*, coalesce(spans.ended, {end}) AS {_END} FROM {self.rows.spine} rows "
                f"ASOF LEFT JOIN {spans} ON rows.{quote(time)} >= spans.started"
            )
        request = view.request
        if time not in {column.name for column in request}:
            request = (*request, Column(time, "timestamp"))  # on-demand functions still take the real one
        return replace(view, prediction_time=_END, request=request), spine


def _after(moment: datetime) -> datetime:
    return moment.replace(year=moment.year + 1, day=1)


def _by_event_time(join: JoinedGroup) -> JoinedGroup:
    return join if join.event_time is None else replace(join, available_at=None, serving_delay_us=0, tie_break=None)
