"""A table of the lake as a frame of Spark: the files of a snapshot that may hold rows within some bounds, without rows that are deleted."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fti_assets.core.names import TableName
from fti_assets.core.sql import literal, quote, timestamp
from fti_assets.engines.spark.columns import column, refuse_unfit, spark_type
from fti_assets.engines.spark.tables import SparkTables, typed
from fti_assets.stores.lake.connection import own_table
from fti_assets.stores.lake.files.current_files import current_files

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame

    from fti_assets.stores.lake.reader import LakeReader


@dataclass(frozen=True)
class Bounds:
    """What is asked of a time column: not null, and within these instants.

    Args:
        column: the column.
        since: the first instant that is asked for.
        until: the last one.
        before: the first one after all that are asked for.
    """

    column: str
    since: datetime | None = None
    until: datetime | None = None
    before: datetime | None = None

    def condition(self) -> Column | None:
        """What Spark filters by; None if all is asked for."""
        from pyspark.sql import functions as f

        value, conditions = column(self.column), []
        if self.since is not None:
            conditions.append(value >= _literal(self.since))
        if self.until is not None:
            conditions.append(value <= _literal(self.until))
        if self.before is not None:
            conditions.append(value < _literal(self.before))
        result = None
        for one in conditions:
            result = one if result is None else result & one
        return None if result is None else f.coalesce(result, f.lit(False))

    def sql(self) -> str:
        """What DuckDB filters by."""
        value = quote(self.column)
        terms = [
            *([f"{value} >= {timestamp(self.since)}"] if self.since is not None else []),
            *([f"{value} <= {timestamp(self.until)}"] if self.until is not None else []),
            *([f"{value} < {timestamp(self.before)}"] if self.before is not None else []),
        ]
        return " AND ".join(terms) or "true"

    def outside(self, least: str, greatest: str) -> str:
        """The SQL of whether a file with these values has none that is asked for."""
        terms = [
            *([f"{greatest} < {timestamp(self.since)}"] if self.since is not None else []),
            *([f"{least} > {timestamp(self.until)}"] if self.until is not None else []),
            *([f"{least} >= {timestamp(self.before)}"] if self.before is not None else []),
        ]
        return " OR ".join(terms) or "false"


@dataclass(frozen=True)
class FilesRead:
    """How many files of a table are read, of how many that it has at the snapshot, and how many of these go by way of DuckDB."""

    read: int
    total: int
    by_duckdb: int = 0


class LakeTable:
    """A table of the lake at a snapshot, as far as some bounds ask for it.

    Args:
        lake: the open lake.
        table: the table.
        snapshot: the snapshot.
        bounds: what is asked of its time columns; a file whose values are all outside is not read.
        partitions: the partitions that are read; all by default.
    """

    def __init__(
        self,
        lake: LakeReader,
        table: TableName,
        *,
        snapshot: int,
        bounds: Sequence[Bounds] = (),
        partitions: Collection[str] | None = None,
    ) -> None:
        self._lake, self._table, self._snapshot, self._bounds = lake, table, snapshot, bounds
        self.partitions = None if partitions is None else list(partitions)
        files = current_files(lake, table, snapshot=snapshot, partitions=partitions)
        data = [file for file in files if not file.deletes]
        self._table_id = self._id()
        far = self._outside()
        near = [file for file in data if file.number not in far]
        deleted = {file.number for file in files if file.deletes}
        by_duckdb = {file.partition for file in near if file.number in deleted}  # it applies deletes of every kind
        inlined = self._has_inlined_rows() or self._has_defaults()
        self._by_duckdb = {file.partition for file in near} if inlined else by_duckdb
        self._by_spark = [file for file in near if file.partition not in self._by_duckdb]
        self._all_by_duckdb = inlined
        self.files = FilesRead(len(near), len(data), sum(file.partition in self._by_duckdb for file in near))

    def rows(self) -> int:
        """How many rows the files hold that are read, deleted ones included."""
        numbers = [file.number for file in self._by_spark]
        keys = ", ".join(map(str, numbers)) or "NULL"
        [(count,)] = self._lake.connection.execute(
            f"SELECT coalesce(sum(record_count), 0) FROM {own_table('data_file')} WHERE data_file_id IN ({keys})"
        ).fetchall()
        return int(count) + self._rows_by_duckdb()

    def frame(self, tables: SparkTables, columns: Sequence[str]) -> DataFrame:
        """The rows within the bounds, with some columns.

        Raises:
            EngineError: a column has a type that Spark would change.
        """
        types = self._lake.types(self._table)
        refuse_unfit(types, columns, of=self._table.name)
        own_types = {name: types[name] for name in columns}
        parts = [typed(tables.read(*paths).select(*items), own_types) for paths, items in self._by_schema(own_types)]
        if self._by_duckdb or not parts:
            rows = self._lake.rows(
                self._table,
                snapshot=self._snapshot,
                partitions=self.partitions if self._all_by_duckdb else sorted(self._by_duckdb) or ["none of them"],
            ).project(", ".join(map(quote, columns)))
            parts.append(tables.send(rows, what=self._table.name, of=self._table.name))
        frame = parts[0]
        for part in parts[1:]:
            frame = frame.unionByName(part)
        for bound in self._bounds:
            if (condition := bound.condition()) is not None:
                frame = frame.filter(condition)
        return frame

    def _rows_by_duckdb(self) -> int:
        ledger = self._lake.ledger(self._table, snapshot=self._snapshot)
        return sum(ledger[key].rows for key in self._by_duckdb if key in ledger)

    def _by_schema(self, types: Mapping[str, str]) -> Iterable[tuple[list[str], list[Column]]]:
        """The files whose columns are alike, and how these become the table's: a column is known by its number, not by its name."""
        from pyspark.sql import functions as f

        paths = [file.path for file in self._by_spark]
        if not paths:
            return
        if not self._has_changed():
            yield paths, [column(name) for name in types]
            return
        numbers = dict(
            self._ask(
                f"SELECT column_name, column_id FROM {own_table('column')} WHERE table_id = {self._table_id} AND parent_column IS NULL "
                f"AND {_is_read(self._snapshot)}"
            )
        )
        names_of: dict[str, dict[int, str]] = {path: {} for path in paths}
        listed = ", ".join(map(literal, paths))
        for path, name, number in self._ask(
            f"SELECT file_name, name, field_id FROM parquet_schema([{listed}]) WHERE field_id IS NOT NULL"
        ):
            names_of[path][number] = name
        alike: dict[tuple[str | None, ...], list[str]] = {}
        for path, names in names_of.items():
            alike.setdefault(tuple(names.get(numbers[name]) for name in types), []).append(path)
        for own_names, files in alike.items():
            yield (
                files,
                [
                    (f.lit(None) if own is None else column(own)).cast(spark_type(kind)).alias(name)
                    for own, (name, kind) in zip(own_names, types.items(), strict=True)
                ],
            )

    def _ask(self, query: str) -> list[tuple[Any, ...]]:
        rows: list[tuple[Any, ...]] = self._lake.connection.execute(query).fetchall()
        return rows

    def _id(self) -> int:
        [(number,)] = self._ask(
            f"SELECT t.table_id FROM {own_table('table')} t JOIN {own_table('schema')} s USING (schema_id) "
            f"WHERE t.table_name = {literal(self._table.name)} AND s.schema_name = {literal(self._table.schema)} "
            f"AND {_is_read(self._snapshot, 't')} AND {_is_read(self._snapshot, 's')}"
        )
        return int(str(number))

    def _outside(self) -> set[int]:
        """The numbers of the files that hold nothing within the bounds, as the catalog knows."""
        files: set[int] = set()
        for bound in self._bounds:
            outside = bound.outside("TRY_CAST(f.min_value AS TIMESTAMP)", "TRY_CAST(f.max_value AS TIMESTAMP)")
            rows = self._ask(
                f"SELECT f.data_file_id FROM {own_table('file_column_stats')} f JOIN {own_table('column')} c USING (table_id, column_id) "
                f"WHERE f.table_id = {self._table_id} AND c.column_name = {literal(bound.column)} AND c.parent_column IS NULL "
                f"AND {_is_read(self._snapshot, 'c')} AND ({outside})"
            )
            files |= {int(str(number)) for (number,) in rows}
        return files

    def _has_changed(self) -> bool:
        """Whether the table ever had other columns, so that a file's column of a name may be another one."""
        [(changed,)] = self._ask(
            f"SELECT count(*) FILTER (end_snapshot IS NOT NULL) > 0 OR count(DISTINCT begin_snapshot) > 1 FROM {own_table('column')} "
            f"WHERE table_id = {self._table_id}"
        )
        return bool(changed)

    def _has_defaults(self) -> bool:
        """Whether a column has a value in files that lack it."""
        [(number,)] = self._ask(
            f"SELECT count(*) FROM {own_table('column')} WHERE table_id = {self._table_id} AND coalesce(initial_default, 'NULL') <> 'NULL'"
        )
        return bool(number)

    def _has_inlined_rows(self) -> bool:
        """Whether rows of the table are in the catalog itself."""
        [(number,)] = self._ask(
            f"SELECT count(*) FROM {own_table('inlined_data_tables')} WHERE table_id = {self._table_id}"
        )
        return bool(number)


def _is_read(snapshot: int, alias: str = "") -> str:
    """The SQL of whether a row of the catalog holds at a snapshot."""
    before = f"{alias}." if alias else ""
    return f"{before}begin_snapshot <= {snapshot} AND coalesce({before}end_snapshot > {snapshot}, true)"


def _literal(instant: datetime) -> Column:
    from pyspark.sql import functions as f

    return f.lit(instant.isoformat(sep=" ")).cast("timestamp_ntz")
