"""The type in which the lake keeps a column, and what a cast to it changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fti_assets.core.sql import literal, names_alike, quote
from fti_assets.core.types import EXACT, SIDES, WHOLE, ColumnType
from fti_assets.features.rows.huge import WITH_OFFSET, without_offset
from fti_assets.features.rows.to_lake import to_lake

if TYPE_CHECKING:
    import duckdb

_BEYOND = ("hugeint", "uhugeint", "ubigint", "bignum")
_STORED_AS = {
    "hugeint": "BIGINT",
    "uhugeint": "BIGINT",
    "ubigint": "BIGINT",
    "enum": "VARCHAR",
    "bit": "VARCHAR",
    "bignum": "BIGINT",
    "time_ns": "TIME",
    WITH_OFFSET: "TIME",
    "timestamp_ns": "TIMESTAMP",
    "timestamp_ms": "TIMESTAMP",
    "timestamp_s": "TIMESTAMP",
    "timestamp with time zone": "TIMESTAMP",
    "interval": "BIGINT",
    '"null"': "VARCHAR",
}
_SCALARS = {sides.sql for sides in SIDES.values()}
_REASONS = {
    "interval": "microseconds",
    "time_ns": "whole microseconds",
    "timestamp_ns": "whole microseconds",
}
_SILENT_CASTS = {"timestamp_ms", "timestamp_s", "timestamp with time zone", '"null"'}
"""Casts that every table makes: naive UTC microseconds."""

PLACEHOLDER_TYPES = frozenset({"INTEGER", '"NULL"'})
"""What DuckDB takes a pandas or Arrow column for that has no value."""


@dataclass(frozen=True)
class StoredColumn:
    """How a column is stored.

    Args:
        sql_type: the type that is stored.
        sql: the column in that type.
        word: what to tell of the cast, or nothing.
    """

    sql_type: str
    sql: str
    word: str = ""


def storage_of(
    connection: duckdb.DuckDBPyConnection, column: str, kind: Any, column_type: ColumnType | None
) -> StoredColumn:
    """Say in which type a column is stored: one that the lake has and, where that loses nothing, the declared one.

    Args:
        connection: where the rows are.
        column: the column's name.
        kind: the DuckDB type that it came with.
        column_type: its declared type, or None.
    """
    sql_type, name = str(kind), quote(column)
    own_type = lake_type(kind)
    target = _declared_type(sql_type, column_type) or own_type
    if kind.id == "interval":
        return StoredColumn(own_type, _microseconds(name, column), _word(column, kind))
    if kind.id == WITH_OFFSET:
        return StoredColumn(own_type, without_offset(column), _word(column, kind))
    if kind.id == "bignum":  # of which TRY_CAST itself fails, without the column's name
        message = f"{literal(f'{column} is ')} || left({name}::VARCHAR, 60) || ', which is out of range for BIGINT: give text, or null'"
        value = f"coalesce(TRY_CAST({name}::VARCHAR AS BIGINT), error({message}))"
        return StoredColumn(own_type, f"CASE WHEN {name} IS NOT NULL THEN {value} END", _word(column, kind))
    word = _word(column, kind) if target == own_type else ""
    if target == own_type and target not in _SCALARS and any(one.id in _BEYOND for one in _inner(kind)):
        # TRY_CAST of them fails itself, or nulls the one value; through text it tells which rows it changes.
        text = lake_type(kind, beyond="VARCHAR")
        value = f"TRY_CAST({name}::{text} AS {own_type})"
        message = f"{literal(f'{column} has a number in ')} || left({name}::VARCHAR, 60) || ', which is out of range for BIGINT: give text'"
        lost = f"{value}::{text} IS DISTINCT FROM {name}::{text}"
        return StoredColumn(own_type, f"CASE WHEN {lost} THEN error({message}) ELSE {value} END", word)
    if target != sql_type and target not in _SCALARS:
        value = _with_microseconds(kind, name, column)
        return StoredColumn(target, f"CAST({value} AS {target})", word)
    problem = (
        "a float64 rounds: declare it int, or str for an id"
        if target == "DOUBLE"
        else f"is out of range for {target}: give text, or null"
    )
    lake_column = to_lake(connection, column, sql_type, target).finite
    if target in ("TIMESTAMP", "DATE"):
        problem = "is no instant: give null where there is none"
    return StoredColumn(target, lake_column.or_error(f"{column} is ", f", which {problem}"), word)


def _microseconds(value: str, column: str) -> str:
    """The SQL of a duration in microseconds, an error if it has months, which epoch_us() would take for 30 days each."""
    months = f"datepart('year', {value}) * 12 + datepart('month', {value})"
    message = f"{column} has a duration of months, which are of no one length"
    return f"CASE WHEN {months} <> 0 THEN error({literal(message)}) ELSE epoch_us({value}) END"


def _with_microseconds(kind: Any, value: str, column: str, depth: int = 0) -> str:
    """The SQL of a value whose durations are microseconds wherever they stand in it: no cast makes a number of one."""
    if kind.id == "interval":
        return _microseconds(value, column)
    if all(one.id != "interval" for one in _inner(kind)):
        return value
    item = f"__fti_{depth}"
    if kind.id in ("list", "array"):
        element = _with_microseconds(kind.children[0][1], item, column, depth + 1)
        return f"list_transform({value}, lambda {item}: {element})"
    if kind.id == "struct":
        fields = [
            f"{quote(name)} := {_with_microseconds(child, f'struct_extract({value}, {literal(name)})', column, depth + 1)}"
            for name, child in kind.children
        ]
        return f"CASE WHEN {value} IS NOT NULL THEN struct_pack({', '.join(fields)}) END"
    (_, key), (_, of_key) = kind.children
    keys = _with_microseconds(key, f"{item}.key", column, depth + 1)
    values = _with_microseconds(of_key, f"{item}.value", column, depth + 1)
    entry = f"struct_pack(k := {keys}, v := {values})"
    entries = f"map_from_entries(list_transform(map_entries({value}), lambda {item}: {entry}))"
    return f"CASE WHEN {value} IS NOT NULL THEN {entries} END"


def storage_of_iso_text(connection: duckdb.DuckDBPyConnection, column: str) -> StoredColumn:
    """A time that came as ISO text, stored in naive UTC microseconds; other text is an error, since 01/02 is two days of a year."""
    problem = (
        f", which is no ISO time such as 2024-05-01 or 2024-05-01T09:30:00Z: give timestamps, as "
        f"pd.read_csv(..., parse_dates=[{column!r}]) and pd.to_datetime(frame[{column!r}], format='%d/%m/%Y') do"
    )
    word = f"{column} came as text and is stored as TIMESTAMP (ISO times, those without an offset in UTC)"
    instants = to_lake(connection, column, "VARCHAR", "TIMESTAMP")
    return StoredColumn("TIMESTAMP", instants.or_error(f"{column} is ", problem), word)


def lake_type(sql_type: Any, *, beyond: str = "BIGINT") -> str:
    """The type that the lake keeps values of a DuckDB type in; ``beyond`` for whole numbers that may be beyond 64 bits.

    >>> import duckdb
    >>> lake_type(duckdb.sqltype('STRUCT("at" TIMESTAMPTZ, "of" FLOAT[3])'))
    'STRUCT("at" TIMESTAMP, "of" FLOAT[])'
    """
    if sql_type.id in ("list", "array"):
        return f"{lake_type(sql_type.children[0][1], beyond=beyond)}[]"
    if sql_type.id == "struct":
        fields = ", ".join(f"{quote(name)} {lake_type(kind, beyond=beyond)}" for name, kind in sql_type.children)
        return str(sql_type) if not _changes_values(sql_type) else f"STRUCT({fields})"
    if sql_type.id == "map":
        (_, key), (_, value) = sql_type.children
        return f"MAP({lake_type(key, beyond=beyond)}, {lake_type(value, beyond=beyond)})"
    if sql_type.id == "interval":
        return "BIGINT"
    return beyond if sql_type.id in _BEYOND else _STORED_AS.get(sql_type.id, str(sql_type))


def wider_decimal(sql_type: str, stored_type: str | None) -> bool:
    """Whether a stored DECIMAL is to take a given one: it holds every value of it, or it has the digits after the point and those
    before it are the room that a type without a width of its own has; a value beyond the stored ones is then an error.

    >>> wider_decimal("DECIMAL(18,0)", "DECIMAL(18,2)"), wider_decimal("DECIMAL(12,1)", "DECIMAL(10,3)")
    (True, False)
    """
    if stored_type is None or not (_is_decimal(sql_type) and _is_decimal(stored_type)):
        return False
    (width, scale), (stored_width, stored_scale) = (_digits(one) for one in (sql_type, stored_type))
    return scale <= stored_scale and (width in (18, 38) or width - scale <= stored_width - stored_scale)


def holds_all(column: str, kind: str, stored_type: str) -> str | None:
    """The SQL of whether a stored type holds every value of a column, None where types are of different sorts."""
    value = quote(column)
    fits = f"TRY_CAST({value} AS {stored_type}) IS NOT NULL"
    if kind in WHOLE and stored_type == "DOUBLE":
        condition = f"{value} BETWEEN {-EXACT} AND {EXACT}"
    elif (kind in WHOLE and (stored_type in WHOLE or _is_decimal(stored_type))) or (kind, stored_type) == (
        "DATE",
        "TIMESTAMP",
    ):
        condition = fits
    elif (kind, stored_type) == ("FLOAT[]", "DOUBLE[]"):
        condition = "true"
    elif (kind, stored_type) == ("DOUBLE[]", "FLOAT[]"):
        condition = f"CAST(TRY_CAST({value} AS FLOAT[]) AS DOUBLE[]) IS NOT DISTINCT FROM {value}"
    elif kind == "DOUBLE" and stored_type in WHOLE:
        condition = f"{value} = floor({value}) AND abs({value}) < {EXACT} AND {fits}"
    elif _is_decimal(kind) and stored_type in WHOLE:
        condition = f"{value} = trunc({value}) AND {fits}"  # a cast rounds
    elif _is_decimal(kind) and _is_decimal(stored_type):
        condition = f"TRY_CAST(TRY_CAST({value} AS {stored_type}) AS {kind}) IS NOT DISTINCT FROM {value}"
    else:
        return None
    return f"coalesce(bool_and({value} IS NULL OR ({condition})), true)"


def _is_decimal(sql_type: str) -> bool:
    return sql_type.startswith("DECIMAL(") and sql_type.endswith(")")


def _digits(decimal: str) -> tuple[int, int]:
    width, scale = decimal.removeprefix("DECIMAL(").rstrip(")").split(",")
    return int(width), int(scale)


def _declared_type(sql_type: str, column_type: ColumnType | None) -> str | None:
    """The declared type if it holds every value of the given one."""
    if column_type is None:
        return None
    return SIDES[column_type].sql if sql_type in SIDES[column_type].subtypes else None


def _changes_values(sql_type: Any) -> bool:
    return any(_cast_message(kind, for_log=False) for kind in _inner(sql_type))


def has_union(sql_type: Any) -> bool:
    """Whether a DuckDB type is a union, or has one inside.

    >>> import duckdb
    >>> has_union(duckdb.sqltype("UNION(n BIGINT)[]")), has_union(duckdb.sqltype("BIGINT[]"))
    (True, False)
    """
    return any(kind.id == "union" for kind in _inner(sql_type))


def fields_alike(sql_type: Any) -> list[str]:
    """The first two fields of a struct in a DuckDB type whose names differ in capitals alone, which SQL takes for one."""
    for kind in _inner(sql_type):
        if kind.id == "struct" and (alike := names_alike(name for name, _ in kind.children)):
            return alike
    return []


def _inner(sql_type: Any) -> list[Any]:
    """A type and all types within it."""
    if sql_type.id not in ("list", "array", "struct", "map"):
        return [sql_type]
    within = [child for name, child in sql_type.children if (sql_type.id, name) != ("array", "size")]
    return [sql_type, *(inner for child in within for inner in _inner(child))]


def _cast_message(kind: Any, *, for_log: bool) -> bool:
    return kind.id == "array" or (kind.id in _STORED_AS and not (for_log and kind.id in _SILENT_CASTS))


def _word(column: str, sql_type: Any) -> str:
    casts = [kind for kind in _inner(sql_type) if _cast_message(kind, for_log=True)]
    if not casts:
        return ""
    why = " and ".join(dict.fromkeys(_REASONS[kind.id] for kind in casts if kind.id in _REASONS))
    type_text = str(sql_type) if len(str(sql_type)) <= 60 else f"{sql_type.id.upper()}(...)"
    return f"{column} came as {type_text} and is stored as {lake_type(sql_type)}" + (f" ({why})" if why else "")
