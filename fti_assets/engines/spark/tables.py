"""Rows on their way between DuckDB and Spark, as Parquet that both can reach."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import quote as url_quote

from fti_assets.core.sql import literal, names_alike, quote, temporary_name
from fti_assets.engines.spark.columns import column, read_type, refuse_unfit
from fti_assets.engines.spark.scratch import Scratch
from fti_assets.errors import DataError, EngineError
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.places import Place

if TYPE_CHECKING:
    import duckdb
    from pyspark.sql import DataFrame, SparkSession

_ROWS_OF_GROUP = 122_880
_PATTERN, _ESCAPED = re.compile(r"([{}\[\]*?\\])"), r"\\\1"
_NO_PARQUET = (
    "NullType",
    "VariantType",
    "CalendarIntervalType",
    "YearMonthIntervalType",
    "GeometryType",
    "GeographyType",
)


class SparkTables:
    """A session, and the folder through which its rows go.

    Args:
        session: the session.
        connection: the DuckDB connection that the rows come from and go to.
        folder: what both can reach.
    """

    def __init__(self, session: SparkSession, connection: duckdb.DuckDBPyConnection, folder: Scratch) -> None:
        self.session = session
        self._connection = connection
        self._scratch = folder
        # Sail reads a path as a URL, Spark as a pattern; and Sail names no application.
        self._is_sail = session.conf.get("spark.app.id", None) is None

    def place(self, what: str) -> Place:
        """A new folder, which the workers reach too."""
        return self._scratch.place(what)

    def read(self, *paths: str | Place) -> DataFrame:
        """Files of Parquet as a frame, whatever letters are in their paths."""
        return self.session.read.parquet(*(self._readable(str(path)) for path in paths))

    def _readable(self, path: str) -> str:
        if self._is_sail or "://" in path:
            return self._writable(path)
        return f"file://{_PATTERN.sub(_ESCAPED, os.path.abspath(path))}"

    def _writable(self, path: str) -> str:
        """A path as a place to write to, whatever file system Spark's own default is."""
        if "://" in path:  # Spark's own client of buckets goes by another name
            return path if self._is_sail else path.replace("s3://", "s3a://", 1)
        return f"file://{url_quote(os.path.abspath(path)) if self._is_sail else os.path.abspath(path)}"

    def send(self, relation: duckdb.DuckDBPyRelation, *, what: str, of: str) -> DataFrame:
        """The rows of a relation as a frame of Spark.

        Args:
            what: names the folder.
            of: what they are, for errors.

        Raises:
            EngineError: a column has a type that Spark would change.
        """
        types = dict(zip(relation.columns, map(str, relation.types), strict=True))
        refuse_unfit(types, types, of=of)
        place = self._scratch.place(what)
        file = place / "rows.parquet"
        self._connection.execute(
            f"COPY (FROM {relation_name(relation)}) TO {literal(str(file))} (FORMAT parquet, ROW_GROUP_SIZE {_ROWS_OF_GROUP})"
        )
        return typed(self.read(file), types)

    def receive(
        self, frame: DataFrame, *, what: str, of: str, types: Mapping[str, str] | None = None
    ) -> duckdb.DuckDBPyRelation:
        """The rows of a frame of Spark, once it has written all of them.

        Args:
            what: names the folder.
            of: what they are, for errors.
            types: DuckDB's types of the columns; by default those that Spark gives.

        Raises:
            DataError: two columns have one name, or Parquet has no form for one.
            EngineError: Spark failed.
        """
        _refuse_columns(frame, of)
        place = self._scratch.place(what)
        frame.write.mode("overwrite").parquet(self._writable(str(place)))
        pattern = literal(f"{glob_free(place)}/*.parquet")
        [(written,)] = self._connection.execute(f"SELECT count(*) FROM glob({pattern})").fetchall()
        if not written:  # of no rows Sail writes no file
            return self._typed(self._connection.from_arrow(frame.limit(0).toArrow()), types)
        rows = f"FROM read_parquet({pattern})"
        if isinstance(place, BucketPath):  # read once: a relation lists and opens its files whenever it is looked at
            table = quote("temp", temporary_name("received"))
            self._connection.execute(f"CREATE TEMP TABLE {table} AS {rows}")
            rows = f"FROM {table}"
        return self._typed(self._connection.sql(rows), types)

    @staticmethod
    def _typed(rows: duckdb.DuckDBPyRelation, types: Mapping[str, str] | None) -> duckdb.DuckDBPyRelation:
        if types is None:
            return rows
        return rows.project(", ".join(f"{quote(name)}::{kind} AS {quote(name)}" for name, kind in types.items()))


def typed(frame: DataFrame, types: Mapping[str, str]) -> DataFrame:
    """A frame of Parquet of DuckDB's, whose unsigned numbers become signed ones of more bits, since Spark has no others."""
    wider = {name: kind for name, sql_type in types.items() if (kind := read_type(sql_type)) is not None}
    return frame.withColumns({name: column(name).cast(kind) for name, kind in wider.items()}) if wider else frame


def glob_free(path: Place) -> str:
    """A path in whose text DuckDB sees no pattern."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in str(path))


def _refuse_columns(frame: DataFrame, of: str) -> None:
    if twice := [name for name in dict.fromkeys(frame.columns) if frame.columns.count(name) > 1]:
        raise DataError(
            f"{of}: the frame of Spark has two columns {twice[0]!r}: drop or rename one. Nothing was stored"
        )
    if alike := names_alike(frame.columns):
        raise DataError(
            f"{of}: the frame of Spark has the columns {alike[0]!r} and {alike[1]!r}, which differ in capitals alone: rename one. Nothing "
            "was stored"
        )
    for field in frame.schema.fields:
        if type(field.dataType).__name__ in _NO_PARQUET:
            raise EngineError(
                f"{of}: the column {field.name!r} is {field.dataType.simpleString()} on Spark, for which the lake has no form: cast it, as "
                f"to text with .cast('string'). Nothing was stored"
            )
