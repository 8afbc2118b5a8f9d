"""The features of a view for rows that somebody brings: the training join, without a dataset."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import duckdb

from fti_assets.core.manifest import Column, ViewRecord
from fti_assets.core.sql import quoted, timestamp
from fti_assets.core.types import SIDES, ColumnType
from fti_assets.errors import DataError, NotMaterializedError, listed, one_of
from fti_assets.features.external.rows import read_external
from fti_assets.features.point_in_time.assemble import assemble
from fti_assets.features.rows.frame_kinds import Kind, as_arrow, as_kind, checked_kind, kind_of
from fti_assets.features.rows.to_lake import FLOATS, can_be, misfits, without_nan
from fti_assets.features.spine_rows import LATE, stored_spine
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.duckdb.iso_text import try_instant_sql
from fti_assets.stores.duckdb.relations import view_of
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
    at: datetime | str | None = None,
    snapshot: int | str | datetime | None = None,
    stores: Stores | None = None,
    as_: Kind | None = None,
) -> Any:
    """Join a view's features to rows of any kind; ``FeatureView.features_for`` says it all."""
    what = f"the spine given to view {view.name!r}"
    kind = checked_kind(as_ or kind_of(spine, what=what))
    given = as_arrow(spine, what=what)
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
        columns = dict(zip(given.column_names, given.columns, strict=True))
        _refuse_names(list(columns), record, what)
        rows = connection.from_arrow(given)
        moment = None if at is None else moment_of(at, what="at")
        stored = _stored_columns(lake, record, rows.columns, moment)
        needed = _needed(record, [*rows.columns, *stored], moment, what)
        order = f"row_number() OVER () AS {_ORDER}"
        questions: list[_Question] = []
        selected = [_cast(connection, rows, needed.get(name), name, questions) for name in rows.columns]
        _refuse(rows, questions, what)
        if moment is not None and record.prediction_time is not None:
            selected.append(f"{timestamp(moment)} AS {quoted(record.prediction_time)}")
        numbered = connection.sql(f"SELECT {', '.join([*selected, order])} FROM {view_of(rows)}")
        if stored:
            numbered = _with_stored(lake, record, numbered, stored, number)
            if numbered.filter(f"{_UNKNOWN}").limit(1).fetchall():
                _needed(record, rows.columns, moment, what)  # says what the rows lack
            numbered = numbered.project(f"* EXCLUDE ({_UNKNOWN})")
        assembled = assemble(lake, record, numbered, snapshot=number)
        features = [column.name for column in record.features]
        own = [name for name in numbered.columns if name != _ORDER and (name in needed or name not in features)]
        kept = ", ".join(map(quoted, dict.fromkeys([*own, *features])))
        result = as_kind(connection.sql(f"SELECT {kept} FROM {view_of(assembled)} ORDER BY {_ORDER}"), kind)
    if kind == "pandas" and kind_of(spine, what=what) == "pandas":
        result.index = spine.index
    return result


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
    same = " AND ".join(f"given.{quoted(name)} = spine.{quoted(name)}" for name in record.identity)
    selected = ", ".join(f"spine.{quoted(name)}" for name in columns)
    return lake.connection.sql(
        f"SELECT given.*, {selected}, spine.{LATE} IS NULL AS {_UNKNOWN} FROM {view_of(rows)} given "
        f"LEFT JOIN {view_of(stored_spine(lake, record, snapshot=snapshot))} spine ON {same}"
    )


def _refuse_names(names: Sequence[str], record: ViewRecord, what: str) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    kept = [name for name in names if name.lower().startswith(("_fti_", "__fti_"))]
    if twice or kept:
        problem = (
            f"two columns {listed(twice)}"
            if twice
            else f"a column {listed(kept)}, a name that plans keep for themselves"
        )
        raise DataError(f"{what} has {problem}: give each a name of its own")


def _needed(record: ViewRecord, names: Sequence[str], at: datetime | None, what: str) -> dict[str, Column]:
    """The columns that the spine must bring, by name."""
    time = record.prediction_time
    if at is not None and (time is None or time in names):
        problem = "its view has no times" if time is None else f"it has a column {time!r}, a time for each row"
        raise DataError(f"{what} was given at={at}, but {problem}: leave at= out")
    needed = {column.name: column for column in record.request}
    if time is not None and at is None:
        needed[time] = Column(time, "timestamp")
    missing = [name for name in needed if name not in names]
    if missing:
        hint = f"; at=... gives every row one {time!r}" if time in missing else ""
        raise DataError(
            f"{what} has no column {listed(missing)}: it needs {one_of(needed)} and has {one_of(names)}{hint}"
        )
    return needed


@dataclass(frozen=True)
class _Question:
    """What no value of a column may be, and what to say of one that is."""

    column: str
    sql_type: str
    wrong: str
    expected: str
    of_value: bool = True


def _cast(
    connection: duckdb.DuckDBPyConnection,
    rows: duckdb.DuckDBPyRelation,
    needed: Column | None,
    name: str,
    questions: list[_Question],
) -> str:
    """A column in the type that the groups have it in, without loss; one that the view does not need as it is."""
    column = quoted(name)
    if needed is None:
        return column
    sql_type = str(rows.types[rows.columns.index(name)])
    wanted = SIDES[needed.type].sql
    column = without_nan(column, sql_type)
    times_as_text = needed.type == "timestamp" and sql_type == "VARCHAR"
    fits = can_be(sql_type, needed.type) or times_as_text or (needed.type == "integer" and sql_type in FLOATS)
    if not fits:
        questions.append(_Question(name, sql_type, f"{quoted(name)} IS NOT NULL", needed.type, of_value=False))
    if needed.type == "integer":  # a whole number that a float rounds is taken, as a request's is
        result = misfits(column, sql_type, wanted)
        questions += [_Question(name, sql_type, wrong, expected) for wrong, expected in result]
    if times_as_text:
        parsed = try_instant_sql(connection, column)
        questions.append(_Question(name, sql_type, f"{column} IS NOT NULL AND {parsed} IS NULL", "ISO text"))
        column = parsed
    return f"CAST({column if fits else 'NULL'} AS {wanted}) AS {quoted(name)}"


def _refuse(rows: duckdb.DuckDBPyRelation, questions: Sequence[_Question], what: str) -> None:
    """Ask all questions in one pass, and show a value of the first column that is wrong."""
    if not questions:
        return
    answers = rows.aggregate(", ".join(f"bool_or({one.wrong})" for one in questions)).fetchall()[0]
    for question, wrong in zip(questions, answers, strict=True):
        if not wrong:
            continue
        name, sql_type = question.column, question.sql_type
        if not question.of_value:
            raise DataError(f"{what} has {name!r} as {sql_type}, {question.expected} is expected")
        records = rows.filter(question.wrong).project(quoted(name)).limit(1).fetchall()
        raise DataError(f"{what} has {name!r} with {records[0][0]!r}, a {sql_type}: {question.expected} is expected")
