"""The join of a group to a spine on Spark: the points go there, the group's files are read there, the features come back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from fti_assets.core.manifest import JoinedGroup
from fti_assets.core.sql import quote
from fti_assets.core.times import back_from
from fti_assets.engines.choice import JOIN_SPEED, Choice, PlanSize
from fti_assets.engines.running import RunningEngine
from fti_assets.engines.spark.columns import unfit
from fti_assets.engines.spark.lake_files import Bounds, LakeTable
from fti_assets.features.point_in_time.asof import ROW
from fti_assets.stores.duckdb.relations import relation_name

if TYPE_CHECKING:
    import duckdb
    from pyspark.sql import DataFrame


class SparkJoins:
    """The joins of a step that may run on Spark.

    Args:
        engine: what runs the step's plans.
        connection: the connection that the spine and all rows belong to.
        files: the files of a group, as far as some bounds ask for them, or None where its rows lie in none: then DuckDB sends them.
    """

    def __init__(
        self,
        engine: RunningEngine,
        connection: duckdb.DuckDBPyConnection,
        files: Callable[[JoinedGroup, Sequence[Bounds]], LakeTable | None],
    ) -> None:
        self._engine, self._connection, self._files = engine, connection, files
        self._points: dict[tuple[str, ...], DataFrame] = {}

    def join(
        self, spine: str, group: JoinedGroup, rows: duckdb.DuckDBPyRelation, prediction_time: str | None
    ) -> str | None:
        """The SQL of the join: the spine's row numbers with the group's features, in no order; None if DuckDB is to make it.

        Args:
            spine: the table of the spine, its rows numbered by ``ROW``.
            group: how the group is joined.
            rows: the group's rows.
            prediction_time: the spine's column; None for a lookup.

        Raises:
            EngineError: Spark is asked for, and fails, or would change a column.
        """
        if not self._engine.may_use_spark:
            return None
        what = group.table_name
        if group.windows is not None:
            self._engine.note(Choice(what, "duckdb", "windows at the time of a request are DuckDB's"))
            return None
        bounds = [] if prediction_time is None else self._bounds(spine, group, prediction_time)
        if bounds is None:  # no row has a time
            return None
        types = dict(zip(rows.columns, map(str, rows.types), strict=True))
        columns = _read_columns(group)
        strange = unfit({name: types[name] for name in columns})
        if strange and self._engine.is_chosen:
            named = ", ".join(f"{name} ({kind})" for name, kind in strange.items())
            self._engine.note(Choice(what, "duckdb", f"Spark would change {named}"))
            return None
        table = self._files(group, bounds)
        if not self._engine.is_on_spark(lambda: self._size(spine, group, table, rows), what=what):
            return None
        from fti_assets.engines.spark.join import feature_name, joined_by_key, joined_in_time

        tables = self._engine.tables()
        points = self._sent_points(spine, group, types, prediction_time)
        if table is None:
            frame = tables.send(rows.project(", ".join(map(quote, columns))), what=what, of=what)
        else:
            frame = table.frame(tables, columns)
            self._engine.note_files(what, table.files)
        if prediction_time is None:
            joined = joined_by_key(points, frame, group)
        else:
            joined = joined_in_time(points, frame, group, is_validated=not group.external)
        names = {feature_name(number): one for number, one in enumerate(group.columns)}
        result_types = {ROW: "UINTEGER", **{name: types[one.column] for name, one in names.items()}}
        result = relation_name(tables.receive(joined, what=f"{what}_joined", of=what, types=result_types))
        features = ", ".join(f"{name} AS {quote(one.feature)}" for name, one in names.items())
        keys, complete = self._key_items(spine, group, types)
        nothing = ", ".join(f"NULL AS {quote(one.feature)}" for one in names.values())
        # A row that has no point there: a null among its keys, or no time.
        at = "" if prediction_time is None else f" AND {quote(prediction_time)} IS NOT NULL"
        alone = f"SELECT {ROW}, {nothing} FROM (SELECT *, {keys} FROM {spine}) WHERE NOT ({complete}{at})"
        return f"SELECT {ROW}, {features} FROM {result} UNION ALL ({alone})"

    def _sent_points(
        self, spine: str, group: JoinedGroup, types: dict[str, str], prediction_time: str | None
    ) -> DataFrame:
        """The spine's keys and times as a frame of Spark; of groups with the same keys it is sent once."""
        from fti_assets.engines.spark.join import AT

        keys, complete = self._key_items(spine, group, types)
        items = [f"{ROW}::BIGINT AS {ROW}", keys]
        if prediction_time is not None:
            items.append(f"epoch_us({quote(prediction_time)}::TIMESTAMP) AS {AT}")
            complete += f" AND {AT} IS NOT NULL"
        key = (spine, *items)
        if key not in self._points:
            query = f"FROM (SELECT {', '.join(items)} FROM {spine}) WHERE {complete}"
            relation = self._connection.sql(query)
            self._points[key] = self._engine.tables().send(relation, what="points", of="the spine")
        return self._points[key]

    def _key_items(self, spine: str, group: JoinedGroup, types: dict[str, str]) -> tuple[str, str]:
        """The SQL of the spine's keys in the types of the group's, null where no key of the group can be equal, and of whether all are
        there."""
        from fti_assets.engines.spark.join import key_name

        table = self._connection.table(spine)
        own_types = dict(zip(table.columns, map(str, table.types), strict=True))
        items, complete = [], []
        for number, key in enumerate(group.keys):
            own, kind, value = own_types[key.spine], types[key.group], quote(key.spine)
            if own != kind:
                cast = f"TRY_CAST({value} AS {kind})"
                value = f"CASE WHEN TRY_CAST({cast} AS {own}) = {value} THEN {cast} END"
            items.append(f"{value} AS {key_name(number)}")
            complete.append(f"{key_name(number)} IS NOT NULL")
        return ", ".join(items), " AND ".join(complete)

    def _bounds(self, spine: str, group: JoinedGroup, prediction_time: str) -> list[Bounds] | None:
        """What can win for any of the spine's rows: visible by the last, not outlived at the first; None without a time."""
        at = f"{quote(prediction_time)}::TIMESTAMP"
        [(first, last)] = self._connection.execute(f"SELECT min({at}), max({at}) FROM {spine}").fetchall()
        if last is None:
            return None
        since = None if group.ttl_us is None else back_from(first, timedelta(microseconds=group.ttl_us))
        bounds = [Bounds(str(group.event_time), since=since, until=last)]
        if group.available_at is not None:
            bounds.append(Bounds(group.available_at, until=last))
        return bounds

    def _size(self, spine: str, group: JoinedGroup, table: LakeTable | None, rows: duckdb.DuckDBPyRelation) -> PlanSize:
        [(points,)] = self._connection.execute(f"SELECT count(*) FROM {spine}").fetchall()
        count = int(rows.aggregate("count(*)").fetchall()[0][0]) if table is None else table.rows()
        return PlanSize(group.table_name, int(points) + count, len(group.columns), JOIN_SPEED)


def _read_columns(group: JoinedGroup) -> list[str]:
    """The columns that the join reads of the group."""
    names = [*(key.group for key in group.keys), *(one.column for one in group.columns), *group.times.columns]
    return list(dict.fromkeys(names))
