"""Who judges each rule of a Pandera schema: SQL over the stored types, or Pandera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa

from fti_assets.core.sql import literal, quote
from fti_assets.core.types import WIDE, type_of_sql
from fti_assets.features.validation.checks import SqlCheck, SqlColumn, in_sql, is_of_single_values
from fti_assets.features.validation.pandera_run import TOGETHER, TYPE
from fti_assets.features.validation.schema import RuleKey, column_type


@dataclass
class Division:
    """The rules of a schema by who judges them.

    Args:
        checks: rules that are a condition in SQL.
        unique: values, in SQL, that no two rows share.
        misfits: of a column that is stored wider than declared: the condition in SQL of a value that its declared type lacks.
        wrong: what is wrong with the columns that are stored in a type of another sort.
        by_row: checks of single values or rows: Pandera's, on batches.
        whole: checks that see columns whole: Pandera's too, by column, and of the whole frame under None.
    """

    checks: dict[RuleKey, SqlCheck] = field(default_factory=dict)
    unique: dict[RuleKey, tuple[str, ...]] = field(default_factory=dict)
    misfits: dict[str, str] = field(default_factory=dict)
    wrong: dict[str, str] = field(default_factory=dict)
    by_row: list[RuleKey] = field(default_factory=list)
    whole: dict[str | None, list[RuleKey]] = field(default_factory=dict)


def can_be_divided(schema: pa.DataFrameSchema) -> bool:
    """Whether each rule can be judged by itself: nothing changes the rows or names columns by a pattern."""
    owners = [schema, *schema.columns.values()]
    has_names = all(isinstance(name, str) for name in [*schema.columns, *(schema.unique or ())])
    plain = all(
        getattr(owner, name) == usual for owner in owners for name, usual in _PLAIN.get(type(owner), _NEVER).items()
    )
    return has_names and plain and schema.strict != "filter"


_PLAIN: dict[type, dict[str, object]] = {
    pa.DataFrameSchema: {
        "index": None,
        "dtype": None,
        "parsers": [],
        "add_missing_columns": False,
        "on_missing_columns": None,
    }
    | {"drop_invalid_rows": False, "report_duplicates": "all"},
    pa.Column: {"regex": False, "parsers": [], "default": None, "on_missing": None}
    | {"drop_invalid_rows": False, "report_duplicates": "all"},
}
_NEVER: dict[str, object] = {"name": object()}
"""A class of the user's own may do anything."""


def divide(schema: pa.DataFrameSchema, types: Mapping[str, str]) -> Division:
    """Say who judges each rule of a schema that can be divided, of columns of these DuckDB types."""
    division = Division()
    # A decimal is judged as the double nearest to it, as which models and checks of the user's own see it.
    decimals = {name for name, kind in types.items() if kind.startswith("DECIMAL") and type_of_sql(kind) == "number"}
    values = {name: f"CAST({quote(name)} AS DOUBLE)" if name in decimals else quote(name) for name in types}
    for name, column in schema.columns.items():
        if name not in types:
            continue
        column_sql = _divide_type(division, name, values[name], types[name], column.dtype)
        if not column.nullable:
            division.checks[name, "not_nullable"] = SqlCheck(f"{quote(name)} IS NULL")
        if column.unique:
            division.unique[name, "field_uniqueness"] = (values[name],)
        for number, check in enumerate(column.checks):
            _divide_check(division, (name, number), check, column_sql)
    for number, check in enumerate(schema.checks):
        _divide_check(division, (None, number), check, SqlColumn("", None))
    unique = [schema.unique] if isinstance(schema.unique, str) else schema.unique or []
    if any(name in types for name in unique):
        division.unique[None, TOGETHER] = tuple(values[name] for name in unique if name in types)
    return division


def _divide_type(division: Division, name: str, value: str, sql_type: str, dtype: Any) -> SqlColumn:
    """Say who judges that a column is of its declared type, and how its checks see it."""
    column_kind = None if sql_type in WIDE or sql_type.endswith("]") else type_of_sql(sql_type)
    if dtype is None:
        return SqlColumn(value, column_kind, single=sql_type == "FLOAT")
    pandas_type, kind = getattr(dtype, "type", None), column_type(dtype)
    text = str(pandas_type).lower()
    misfits = []
    if kind == "vector":  # of floats of either width, in the frame's own lists; the length is a rule of the layout
        if type_of_sql(sql_type) != kind:
            expectation = "a list of floats, as numpy's float32 arrays are" if sql_type.endswith("]") else dtype
            division.wrong[name] = f"column {name!r} should be {expectation}, there was {sql_type}"
        return SqlColumn(value, None)
    column = SqlColumn(value, kind, single=text == "float32", aware=getattr(pandas_type, "tz", None) is not None)
    if isinstance(pandas_type, pd.CategoricalDtype) and column_kind == "text":
        column = SqlColumn(value, None)  # ordered categories have an order of their own, which Pandera knows
        texts = (
            [one for one in pandas_type.categories if isinstance(one, str)]
            if pandas_type.categories is not None
            else None
        )
        if texts is not None:
            misfits.append(f"{value} NOT IN ({', '.join(map(literal, texts))})" if texts else f"{value} IS NOT NULL")
    elif column_kind is None or kind is None or isinstance(pandas_type, pd.ArrowDtype) or text == "float16":
        division.by_row.append((name, TYPE))
        column = SqlColumn(value, None)
    elif column_kind != kind:
        division.wrong[name] = f"column {name!r} should be {dtype}, there was {sql_type}"
        column = SqlColumn(value, None)
    if text == "bool" or (column.kind == "integer" and str(pandas_type) == text != "int64"):
        misfits.append(f"{value} IS NULL")  # numpy's type has no null, unlike pandas' boolean and Int8
    if column.kind == "integer" and text != "int64":
        misfits.append(f"{value} NOT BETWEEN {np.iinfo(text).min} AND {np.iinfo(text).max}")
    if column.kind == "number" and text == "float32" and sql_type != "FLOAT":
        # There and back: a number that 32 bits round is not the one that the schema's type holds.
        misfits.append(f"({value} IS NOT NULL AND CAST(TRY_CAST({value} AS FLOAT) AS DOUBLE) IS DISTINCT FROM {value})")
    if misfits and name not in division.wrong:
        division.misfits[name] = " OR ".join(misfits)
    return column


def _divide_check(division: Division, key: RuleKey, check: pa.Check, column: SqlColumn) -> None:
    sql_check = in_sql(check, column)
    if sql_check is not None:
        division.checks[key] = sql_check
    elif type(check) is not pa.Check or check.groupby is not None:  # it sees more than the values of its own column
        division.whole.setdefault(None, []).append(key)
    elif is_of_single_values(check):
        division.by_row.append(key)
    else:
        division.whole.setdefault(key[0], []).append(key)
