"""What a Pandera schema asks of rows that SQL can answer, and what is left to Pandera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pandas as pd
import pandera.pandas as pa

from fti_assets.core.types import ColumnType, compared_type
from fti_assets.features.validation.checks_sql import SqlCheck, SqlColumn, in_sql, is_own
from fti_assets.features.validation.schema import column_types
from fti_assets.features.validation.schema_rules import RuleKey


@dataclass
class Division:
    """The rules of a schema by who answers them.

    Args:
        checks: rules that are a condition in SQL.
        unique: columns that no two rows share.
        by_row: checks of single values or rows, by rule: any part of the rows can be checked by itself.
        by_column: checks that see a column whole.
        columns: columns of which Pandera answers everything.
        by_frame: checks that see all columns whole.
    """

    checks: dict[RuleKey, SqlCheck] = field(default_factory=dict)
    unique: dict[RuleKey, tuple[str, ...]] = field(default_factory=dict)
    by_row: list[RuleKey] = field(default_factory=list)
    by_column: list[RuleKey] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    by_frame: list[RuleKey] = field(default_factory=list)


def can_be_divided(schema: pa.DataFrameSchema) -> bool:
    """Whether each rule can be answered by itself: nothing changes the rows or names columns by a pattern."""
    whole = (
        schema.index is not None
        or schema.dtype is not None
        or schema.parsers
        or schema.strict == "filter"
        or schema.add_missing_columns
        or schema.drop_invalid_rows
        or schema.on_missing_columns is not None
        or schema.report_duplicates != "all"
        or not _is_one_list(schema.unique)
    )
    return not whole and type(schema) is pa.DataFrameSchema and all(map(_is_plain, schema.columns.values()))


def is_grouped(check: pa.Check) -> bool:
    """Whether a check sees more than the values of its own column."""
    return type(check) is not pa.Check or check.groupby is not None


def coerces(schema: pa.DataFrameSchema) -> bool:
    """Whether the schema gives columns another type than they came with."""
    return bool(schema.coerce or any(column.coerce for column in schema.columns.values()))


def divided(schema: pa.DataFrameSchema, types: Mapping[str, str]) -> Division:
    """Say who answers each rule.

    Args:
        schema: one that can be divided.
        types: the DuckDB type of each column that is there.
    """
    division = Division()
    declared = column_types(schema)
    for name, column in schema.columns.items():
        if name not in types:
            continue
        held = _held(name, types[name], column.dtype, declared[name])
        if held is None:
            division.columns.append(name)
            grouped = [(name, number) for number, check in enumerate(column.checks) if is_grouped(check)]
            division.by_frame += grouped
            continue
        if not column.nullable:
            division.checks[(name, "not_nullable")] = SqlCheck(f"{held.sql} IS NULL")
        if column.unique:
            division.unique[(name, "field_uniqueness")] = (name,)
        for number, check in enumerate(column.checks):
            _divide_check(division, (name, number), check, in_sql(check, held))
    for number, check in enumerate(schema.checks):
        _divide_check(division, (None, number), check, _of_every_column(check, types))
    unique = [name for name in _names(schema.unique) if name in types]
    if unique:
        comparable = all(compared_type(types[name]) is not None for name in unique)
        key: RuleKey = (None, "multiple_fields_uniqueness")
        if comparable:
            division.unique[key] = tuple(unique)
        else:
            division.by_frame.append(key)
    return division


def _divide_check(division: Division, key: RuleKey, check: pa.Check, said: SqlCheck | None) -> None:
    if said is not None:
        division.checks[key] = said
    elif is_grouped(check):
        division.by_frame.append(key)
    elif check.element_wise or (is_own(check) and key[0] is not None):
        division.by_row.append(key)
    elif key[0] is not None:
        division.by_column.append(key)
    else:
        division.by_frame.append(key)


def _of_every_column(check: pa.Check, types: Mapping[str, str]) -> SqlCheck | None:
    """A check of Pandera's own on the frame: each column has to keep it."""
    if not all(compared_type(sql_type) in ("integer", "number") and sql_type != "FLOAT" for sql_type in types.values()):
        return None
    message = [in_sql(check, SqlColumn(name, compared_type(sql_type))) for name, sql_type in types.items()]
    if not all(one is not None and one.unsure is None and not one.of_column for one in message):
        return None
    return SqlCheck(" OR ".join(f"coalesce({one.fails}, false)" for one in message if one is not None))


def _held(name: str, sql_type: str, dtype: object, declared: ColumnType | None) -> SqlColumn | None:
    """The column as pandas will hold it, or None if that cannot be told from its type alone."""
    kind = compared_type(sql_type)
    if dtype is None:
        return None if kind is None else SqlColumn(name, kind, single=sql_type == "FLOAT")
    if kind is None or kind != declared:
        return None
    pandas_type = getattr(dtype, "type", None)
    text = str(pandas_type)
    if isinstance(pandas_type, pd.CategoricalDtype | pd.ArrowDtype):
        return None
    if kind == "timestamp":
        zone = getattr(pandas_type, "tz", None)
        unit = getattr(pandas_type, "unit", None) or text.partition("[")[2].rstrip("]")
        return SqlColumn(name, kind, aware=zone is not None) if unit in ("us", "ns") else None
    if kind == "number" and text.lower() not in ("float64", "float32"):
        return None
    return SqlColumn(name, kind, single=text.lower() == "float32" or sql_type == "FLOAT")


def _is_plain(column: pa.Column) -> bool:
    return (
        type(column) is pa.Column
        and not column.regex
        and not column.parsers
        and column.default is None
        and not column.drop_invalid_rows
        and column.on_missing is None
        and column.report_duplicates == "all"
        and isinstance(column.name, str)
    )


def _is_one_list(unique: object) -> bool:
    return all(isinstance(name, str) for name in _names(unique))


def _names(unique: object) -> list[str]:
    return [unique] if isinstance(unique, str) else list(unique or ())  # type: ignore[call-overload]
