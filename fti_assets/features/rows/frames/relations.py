"""What a function may give: frames of any library, as a lazy DuckDB relation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb
import narwhals as nw
import pandas as pd
import pyarrow as pa

from fti_assets.core.sql import names_alike, temporary_name
from fti_assets.errors import DataError, one_of
from fti_assets.features.rows.frames.halves import without_halves
from fti_assets.features.rows.frames.object_columns import arrow_table, union_problem, with_objects
from fti_assets.features.rows.frames.unstorable import failed_relation, has_lost, lost_problem, no_frame, type_problem
from fti_assets.features.rows.huge import within_decimals
from fti_assets.features.rows.table import Table
from fti_assets.stores.duckdb.relations import name_relation

_A_SERIES: Any = {"allow_series": True, "pass_through": True}


def relation_of(connection: duckdb.DuckDBPyConnection, result: Any, *, what: str) -> duckdb.DuckDBPyRelation:
    """The rows of a function's result, lazily; a lazy frame of another engine is collected.

    Args:
        connection: the connection that reads the rows.
        result: an ``fti.Table``, a DuckDB relation, a frame of pandas, polars, Arrow or narwhals, or one that narwhals knows or
            that gives an Arrow stream. A stream of record batches is read once.
        what: the table that the rows are for, for errors.

    Raises:
        DataError: it is none of these, has two columns of one name or of names that differ in capitals alone, or holds a type that
            DuckDB does not know.
    """
    _refuse_twice(result, what)
    if isinstance(result, Table):
        return _on(connection, result.relation, what)
    if isinstance(result, duckdb.DuckDBPyRelation):
        return _on(connection, result, what)
    if isinstance(result, type):
        raise no_frame(result, what)
    try:
        if isinstance(result, pd.DataFrame):
            return _of_pandas(connection, result, what)
        if isinstance(result, pa.Table | pa.RecordBatch | pa.RecordBatchReader):
            return _of_arrow(connection, result, what)
        frame = nw.from_native(result, pass_through=True)
        if isinstance(frame, nw.LazyFrame):
            native = frame.to_native()
            frame = native if isinstance(native, duckdb.DuckDBPyRelation) else frame.collect().to_native()
            return relation_of(connection, frame, what=what)
        if isinstance(frame, nw.DataFrame):
            if isinstance(frame.to_native(), pd.DataFrame):
                return _of_pandas(connection, frame.to_native(), what)
            return _of_arrow(connection, with_objects(frame, what), what)
        if hasattr(result, "__arrow_c_stream__") and not isinstance(nw.from_native(result, **_A_SERIES), nw.Series):
            return _of_arrow(connection, pa.RecordBatchReader.from_stream(result), what)
    except (duckdb.NotImplementedException, duckdb.InvalidInputException, pa.ArrowException) as error:
        message = str(error).splitlines()[0]
        raise DataError(f"{what} gave a type that cannot be stored: {message}. Cast the column before") from error
    raise no_frame(result, what)


def naive_times(result: Any) -> list[str]:
    """The columns of a frame that hold times without a zone; none of a relation, whose times are in UTC as the lake's are."""
    if isinstance(result, Table | duckdb.DuckDBPyRelation | type):
        return []
    if isinstance(result, pa.RecordBatch | pa.RecordBatchReader):
        return [field.name for field in result.schema if pa.types.is_timestamp(field.type) and field.type.tz is None]
    frame = nw.from_native(result, pass_through=True)
    if not isinstance(frame, nw.DataFrame | nw.LazyFrame) or isinstance(frame.to_native(), duckdb.DuckDBPyRelation):
        return []
    kinds = frame.collect_schema().items()
    return [name for name, kind in kinds if isinstance(kind, nw.Datetime) and kind.time_zone is None]


def has_no_columns(result: Any) -> bool:
    """Whether a frame has neither columns nor rows, which is what libraries make of a list of no rows.

    >>> has_no_columns(pd.DataFrame([])), has_no_columns(pd.DataFrame({"speed": []}))
    (True, False)
    """
    if isinstance(
        result, pd.DataFrame | pa.Table
    ):  # of which narwhals refuses two columns of one name, without the table's
        return bool(result.shape == (0, 0))
    if isinstance(result, type):
        return False
    frame = nw.from_native(result, pass_through=True)
    return isinstance(frame, nw.DataFrame) and frame.shape == (0, 0)


def column_names(result: Any) -> list[str] | None:
    """The names of a pandas frame, which may have one twice; None for what cannot, or tells them itself."""
    return list(result.columns) if isinstance(result, pd.DataFrame) else None


def _refuse_twice(result: Any, what: str) -> None:
    if isinstance(result, duckdb.DuckDBPyRelation | pd.DataFrame):
        names = list(map(str, result.columns))
    elif isinstance(result, pa.Table | pa.RecordBatch | pa.RecordBatchReader):
        names = result.schema.names
    else:
        return
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{what} gave two columns {one_of(twice)}: keep one of them")
    refuse_alike(names, what)


def refuse_alike(names: Sequence[str], what: str) -> None:
    """DuckDB gives the second of two such columns a name of its own, ``a_1``, or reads the first for both."""
    if alike := names_alike(names):
        raise DataError(
            f"{what} gave columns {alike[0]!r} and {alike[1]!r}, which SQL takes for one: rename one of them in what it gives"
        )


def _on(connection: duckdb.DuckDBPyConnection, relation: duckdb.DuckDBPyRelation, what: str) -> duckdb.DuckDBPyRelation:
    """The relation, or a stream of its rows if it is one of another connection, such as that of ``duckdb.sql``."""
    name = temporary_name("own")
    try:
        # A relation can be read through a view of its own connection only; where ours does not see it, it belongs to another.
        name_relation(relation, name)
    except duckdb.Error as error:
        raise DataError(
            f"{what} gave a relation of DuckDB that cannot be read: {error}. Return one whose connection is open"
        ) from error
    try:
        connection.view(name)
    except duckdb.CatalogException:
        for column, kind in zip(relation.columns, relation.types, strict=True):
            if has_lost(kind):
                raise DataError(lost_problem(column, str(kind), what)) from None
        try:
            reader = within_decimals(relation).to_arrow_reader()
        except duckdb.Error as error:
            raise DataError(failed_relation(error, what)) from error
        return connection.from_arrow(reader)
    return relation


def _of_pandas(connection: duckdb.DuckDBPyConnection, frame: pd.DataFrame, what: str) -> duckdb.DuckDBPyRelation:
    if any(kind == "object" or isinstance(kind, pd.ArrowDtype | pd.CategoricalDtype) for kind in frame.dtypes):
        # DuckDB types objects from some of them, rounds the rest to it, and makes whole numbers in categories floats
        return _of_arrow(connection, arrow_table(frame, what=what), what)
    frame = frame.reset_index(drop=True)
    try:
        return connection.from_df(frame)
    except duckdb.NotImplementedException as error:
        name = next(name for name in frame.columns if not _is_read(connection, frame[[name]]))
        raise DataError(type_problem(name, frame.dtypes[name], what)) from error
    except duckdb.Error:  # it cannot read memory from its end to its start, as of a reversed frame
        return connection.from_df(frame.copy())


def _is_read(connection: duckdb.DuckDBPyConnection, column: pd.DataFrame) -> bool:
    try:
        connection.from_df(column)
    except duckdb.NotImplementedException:
        return False
    return True


def _of_arrow(
    connection: duckdb.DuckDBPyConnection, table: pa.Table | pa.RecordBatch | pa.RecordBatchReader, what: str
) -> duckdb.DuckDBPyRelation:
    refuse_alike(table.schema.names, what)
    for field in table.schema:
        if _has_union(field.type):
            raise DataError(union_problem(field.name, what))
    if isinstance(table, pa.RecordBatch):
        table = pa.Table.from_batches([table])
    table = without_halves(table)
    try:
        return connection.from_arrow(table)
    except (duckdb.NotImplementedException, duckdb.InvalidInputException) as error:
        for field in table.schema:
            try:
                connection.from_arrow(pa.table({field.name: pa.array([], field.type)}))
            except (duckdb.Error, pa.ArrowException):
                raise DataError(type_problem(field.name, field.type, what)) from error
        raise


def _has_union(kind: pa.DataType) -> bool:
    """Whether an Arrow type is a union, or has one inside."""
    if isinstance(kind, pa.BaseExtensionType):
        return _has_union(kind.storage_type)
    if pa.types.is_dictionary(kind):
        return _has_union(kind.value_type)
    return pa.types.is_union(kind) or any(_has_union(kind.field(at).type) for at in range(kind.num_fields))
