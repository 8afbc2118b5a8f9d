"""The features of a view for rows that somebody brings: the training join, without a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import duckdb

from fti_assets.core.manifest import Column, ViewRecord
from fti_assets.core.sql import names_alike, quote, timestamp
from fti_assets.core.types import SIDES, WHOLE, ColumnType, type_of_sql
from fti_assets.errors import DataError, NotMaterializedError, list_some, one_of
from fti_assets.features.external.rows import read_external
from fti_assets.features.point_in_time.assemble import assemble
from fti_assets.features.point_in_time.equal_keys import check_equal_keys, is_exact
from fti_assets.features.rows.frames.kinds import Kind, as_arrow, as_kind, checked_kind, kind_of
from fti_assets.features.rows.to_lake import FLOATS, can_be, to_lake
from fti_assets.features.spine_rows import LATE, stored_spine
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.duckdb.nul_texts import equal_columns
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.lasting import lasting_lake
from fti_assets.stores.lake.snapshots import moment_of, snapshot_of
from fti_assets.training.views.record import view_record
from fti_assets.training.views.terms import ViewTerms

if TYPE_CHECKING:
    from fti_assets.features.groups.group import FeatureGroup

_ORDER, _UNKNOWN = "_fti_given", "_fti_unknown"


def features_for(
    view: ViewTerms,
    spine: Any,
    *,
    at: datetime | str | None,
    snapshot: int | str | datetime | None,
    stores: Stores | None,
    as_: Kind | None,
) -> Any:
    """Join a view's features to rows of any kind; ``FeatureView.features_for`` says it all."""
    what = f"the spine given to view {view.name!r}"
    kind = checked_kind(as_ or kind_of(spine, what=what))
    table = as_arrow(spine, what=what)
    store = (stores or Stores()).offline_store()
    if not store.exists():
        raise NotMaterializedError(
            f"there is no offline store at {store.root} that has the groups of view {view.name!r}: materialize them first"
        )
    with nullcontext(lasting_lake(store)) if kind == "relation" else store.connect() as lake:
        read_external(lake, view.groups)
        number = snapshot_of(lake, snapshot)
        record = view_record(view, lambda group: _types(lake, view, group))
        connection = lake.connection
        _refuse_names(table.column_names, record, what)
        rows = connection.from_arrow(table)
        moment = None if at is None else moment_of(at, what="at")
        from_spine = _stored_columns(lake, record, rows.columns, moment)
        columns = _request_columns(record, [*rows.columns, *from_spine], moment, what)
        questions: list[_Question] = []
        as_they_are = _exact_keys(record, rows)
        selection = [
            quote(name) if name in as_they_are else _cast(connection, rows, columns.get(name), name, questions)
            for name in rows.columns
        ]
        _refuse(rows, questions, what)
        if moment is not None and record.prediction_time is not None:
            selection.append(f"{timestamp(moment)} AS {quote(record.prediction_time)}")
        order = f"row_number() OVER () AS {_ORDER}"
        rows = connection.sql(f"SELECT {', '.join([*selection, order])} FROM {relation_name(rows)}")
        if from_spine:
            rows = _with_stored(lake, record, rows, from_spine, number)
            if rows.filter(f"{_UNKNOWN}").limit(1).fetchall():
                _request_columns(record, table.column_names, moment, what)  # says what the rows lack
            rows = rows.project(f"* EXCLUDE ({_UNKNOWN})")
        features = [column.name for column in record.features]
        own = [name for name in rows.columns if name != _ORDER and (name in columns or name not in features)]
        result = ", ".join(map(quote, dict.fromkeys([*own, *features])))
        rows_with_features = relation_name(assemble(lake, record, rows, snapshot=number))
        frame = as_kind(connection.sql(f"SELECT {result} FROM {rows_with_features} ORDER BY {_ORDER}"), kind)
    if kind == "pandas" and kind_of(spine, what=what) == "pandas":
        frame.index = spine.index
    return frame


def _types(lake: Lake, view: ViewTerms, group: FeatureGroup) -> Mapping[str, ColumnType | None]:
    """The types of a group's columns as they are stored; of a spine that is not stored, as its schema declares them."""
    if group is view.spine and group.columns is not None and not lake.has(group.table):
        return group.columns
    return lake.column_types(group.table)


def _stored_columns(lake: Lake, record: ViewRecord, names: Sequence[str], at: datetime | None) -> list[str]:
    """The spine's own columns that the rows leave out and that a stored spine may have."""
    time = record.prediction_time
    if not set(record.spine_keys) <= set(names) or (time is not None and time not in names and at is None):
        return []
    if not lake.has(record.spine_table):
        return []
    return [column.name for column in record.request if column.name not in (*names, *record.spine_keys)]


def _with_stored(
    lake: Lake, record: ViewRecord, rows: duckdb.DuckDBPyRelation, columns: Sequence[str], snapshot: int
) -> duckdb.DuckDBPyRelation:
    """The rows with columns of the stored spine as of their prediction time, and whether the spine lacks the row."""
    table, own = relation_name(rows), {name: name for name in record.identity}
    spine = stored_spine(lake, record, snapshot=snapshot)
    check_equal_keys(rows, spine, own.items(), what="the spine given", of=record.spine_table.name)
    same = equal_columns(lake.connection, table, own, rows="rows", target="spine")
    selection = ", ".join(f"spine.{quote(name)}" for name in columns)
    return lake.connection.sql(
        f"SELECT rows.*, {selection}, spine.{LATE} IS NULL AS {_UNKNOWN} FROM {table} rows "
        f"LEFT JOIN {relation_name(spine)} spine ON {same}"
    )


def _refuse_names(names: Sequence[str], record: ViewRecord, what: str) -> None:
    problem = ""
    if twice := sorted({name for name in names if names.count(name) > 1}):
        problem = f"two columns {list_some(twice)}"
    elif alike := names_alike(names):
        problem = f"columns {alike[0]!r} and {alike[1]!r}, which SQL takes for one"
    elif clashes := [name for name in names if name.lower().startswith(("_fti_", "__fti_"))]:
        problem = f"a column {list_some(clashes)}, a name that plans keep for themselves"
    if problem:
        raise DataError(f"{what} has {problem}: give each a name of its own")


def _request_columns(record: ViewRecord, names: Sequence[str], at: datetime | None, what: str) -> dict[str, Column]:
    """The columns that the spine must bring, by name."""
    time = record.prediction_time
    if at is not None and (time is None or time in names):
        problem = "its view has no times" if time is None else f"it has a column {time!r}, a time for each row"
        raise DataError(f"{what} was given at={at}, but {problem}: leave at= out")
    columns = {column.name: column for column in record.request}
    if time is not None and at is None:
        columns[time] = Column(time, "timestamp")
    missing = [name for name in columns if name not in names]
    if missing:
        hint = f"; at=... gives every row one {time!r}" if time in missing else ""
        raise DataError(
            f"{what} has no column {list_some(missing)}: it needs {one_of(columns)} and has {one_of(names)}{hint}"
        )
    return columns


def _exact_keys(record: ViewRecord, rows: duckdb.DuckDBPyRelation) -> set[str]:
    """The keys that are numbers to the view and exact in the rows, such as decimals: as floats some would be one key."""
    types = {column.name: column.type for column in record.request}
    keys = {*record.spine_keys, *(key.spine for join in record.joins for key in join.keys)}
    return {
        name
        for name, sql_type in zip(rows.columns, map(str, rows.types), strict=True)
        if name in keys and types.get(name) == "number" and is_exact(sql_type)
    }


@dataclass(frozen=True)
class _Question:
    """What no value of a column may be, and what to say of one that is."""

    column: str
    sql_type: str
    wrong: str
    expectation: str
    of_value: bool = True


def _cast(
    connection: duckdb.DuckDBPyConnection,
    rows: duckdb.DuckDBPyRelation,
    target: Column | None,
    name: str,
    questions: list[_Question],
) -> str:
    """A column in the type that the groups have it in, without loss; one that the view does not need as it is."""
    if target is None:
        return quote(name)
    sql_type, target_type = str(rows.types[rows.columns.index(name)]), SIDES[target.type].sql
    if target.type == "vector" and (type_of_sql(sql_type) == "vector" or _is_list_of_numbers(sql_type)):
        return f"{quote(name)}::{'DOUBLE[]' if _is_list_of_numbers(sql_type) else sql_type} AS {quote(name)}"
    is_iso_text = target.type == "timestamp" and sql_type == "VARCHAR"
    has_whole = sql_type in FLOATS or (sql_type.startswith("DECIMAL(") and sql_type.endswith(")"))
    is_whole = target.type == "integer" and has_whole
    if not (can_be(sql_type, target.type) or is_iso_text or is_whole):
        expectation = SIDES["vector"].request_form if target.type == "vector" else target.type
        questions.append(_Question(name, sql_type, f"{quote(name)} IS NOT NULL", expectation, of_value=False))
        return f"NULL::{target_type} AS {quote(name)}"
    column = to_lake(connection, name, sql_type, target_type).finite
    if target.type == "number":  # a whole number that a float rounds is taken, as a request's is
        return f"CAST({column.value} AS {target_type}) AS {quote(name)}"
    questions += [_Question(name, sql_type, *misfit) for misfit in column.misfits]
    return f"{column.sql} AS {quote(name)}"


def _is_list_of_numbers(sql_type: str) -> bool:
    """Whether a DuckDB type is a list of whole numbers or decimals, as a request may bring a vector."""
    element = sql_type.rstrip("0123456789[]")
    return sql_type.count("[") == 1 and (element in WHOLE or element.startswith("DECIMAL("))


def _refuse(rows: duckdb.DuckDBPyRelation, questions: Sequence[_Question], what: str) -> None:
    """Ask all questions in one pass, and show a value of the first column that is wrong."""
    if not questions:
        return
    answers = rows.aggregate(", ".join(f"bool_or({one.wrong})" for one in questions)).fetchall()[0]
    question = next((question for question, wrong in zip(questions, answers, strict=True) if wrong), None)
    if question is None:
        return
    problem = f"{what} has {question.column!r}"
    if not question.of_value:
        raise DataError(f"{problem} as {question.sql_type}, {question.expectation} is expected")
    [(value,)] = rows.filter(question.wrong).project(quote(question.column)).limit(1).fetchall()
    raise DataError(f"{problem} with {value!r}, a {question.sql_type}: {question.expectation} is expected")
