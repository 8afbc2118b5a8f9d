"""What a schema that coerces changed of the rows that it was given; pandas holds it, and must not round it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fti_assets.errors import DataError
from fti_assets.features.validation.schema import column_type
from fti_assets.features.validation.schema_sql import coerces

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pa


@dataclass(frozen=True)
class Coerced:
    """What a coercing schema made of a table.

    Args:
        frame: the columns that it changed or added; the index says of which row of the table each row is.
        columns: all columns, in order.
    """

    frame: pd.DataFrame
    columns: tuple[str, ...]


def coerced_rows(given: pd.DataFrame, validated: pd.DataFrame, schema: pa.DataFrameSchema) -> Coerced | None:
    """What a schema changed of the rows that it was given, None if it changed none."""
    columns = tuple(map(str, validated.columns))
    if _parses(schema):  # a parser may have moved the rows
        return Coerced(validated.reset_index(drop=True), columns)
    same_rows = len(validated) == len(given)
    kept = given if same_rows else given.loc[validated.index]
    changed = [name for name in columns if name not in kept or not validated[name].equals(kept[name])]
    if not changed and same_rows and columns == tuple(given.columns):
        return None
    return Coerced(validated[changed], columns)


def exact_columns(schema: pa.DataFrameSchema, types: Mapping[str, str]) -> list[str]:
    """The decimals that a schema coerces to whole numbers, text or Decimals: pandas gets them as ``Decimal``, since the float
    that it holds them in otherwise has 15 digits."""
    return [
        name
        for name, kind in types.items()
        if kind.startswith("DECIMAL") and kind.endswith(")") and _exactly(schema, name)
    ]


def refuse_rounded(schema: pa.DataFrameSchema, types: Mapping[str, str], *, what: str) -> None:
    """Refuse columns that pandas rounds, of a schema that coerces and whose parsers put pandas' rows in the place of all.

    Raises:
        DataError: there is such a column.
    """
    for name, kind in types.items() if coerces(schema) and _parses(schema) else ():
        wide = [int(digits) for digits in re.findall(r"DECIMAL\((\d+),", kind) if int(digits) > 15]
        if wide and name not in exact_columns(schema, types):
            raise DataError(
                f"{what}: column {name!r} is {kind}, which pandas holds in floats of 15 digits, and the schema's parsers give all rows "
                "anew: cast the column before, or parse in the function"
            )


def _exactly(schema: pa.DataFrameSchema, name: str) -> bool:
    dtype, coerced = _declared(schema, name)
    return coerced and dtype is not None and (column_type(dtype) in ("integer", "text") or "Decimal" in str(dtype))


def _declared(schema: pa.DataFrameSchema, name: str) -> tuple[Any, bool]:
    """The type that a schema declares of a column, and whether it coerces to it."""
    patterns = [one for pattern, one in schema.columns.items() if one.regex and re.match(str(pattern), name)]
    column = schema.columns.get(name) or next(iter(patterns), None)
    if schema.dtype is not None:
        return schema.dtype, bool(schema.coerce)
    if column is None:
        return None, False
    return column.dtype, bool(schema.coerce or column.coerce)


def _parses(schema: pa.DataFrameSchema) -> bool:
    return bool(schema.parsers or any(column.parsers for column in schema.columns.values()))
