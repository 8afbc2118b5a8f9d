"""Columns of Spark that mean what they mean in the lake: their names, their values where they are compared, their types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from fti_assets.errors import EngineError

if TYPE_CHECKING:
    from pyspark.sql import Column

_WIDER = {"UTINYINT": "smallint", "USMALLINT": "int", "UINTEGER": "bigint"}
_SPARK = {
    "UTINYINT": "smallint", "USMALLINT": "int", "UINTEGER": "bigint", "INTEGER": "int", "VARCHAR": "string", "BLOB": "binary",
    "TIMESTAMP": "timestamp_ntz",
}  # fmt: skip
_SAFE = re.compile(
    r"(BOOLEAN|U?TINYINT|U?SMALLINT|U?INTEGER|BIGINT|FLOAT|DOUBLE|DECIMAL\(\d+,\d+\)|VARCHAR|BLOB|DATE|TIMESTAMP)(\[\])*"
)
"""The types whose values come back from Spark as they went there. A time of day, a UUID and a map do not, on one Spark or another."""


def column(name: str) -> Column:
    """A column by its name, whatever characters are in it."""
    from pyspark.sql import functions as f

    return f.col("`" + name.replace("`", "``") + "`")


def microseconds(time: Column) -> Column:
    """A naive UTC time as whole microseconds since 1970; the session runs in UTC."""
    from pyspark.sql import functions as f

    return f.unix_micros(time.cast("timestamp"))


def equal_value(value: Column, kind: str) -> Column:
    """A value that is equal, bit by bit, wherever DuckDB takes two for equal: zeros of either sign are one, and so are all NaN.

    Args:
        value: the column.
        kind: Spark's name of its type.
    """
    from pyspark.sql import functions as f

    if kind not in ("float", "double"):
        return value
    number = value.cast("double")
    return f.when(f.isnan(number), f.lit(float("nan"))).when(number == f.lit(0.0), f.lit(0.0)).otherwise(number)


def read_type(sql_type: str) -> str | None:
    """The type to which Spark must bring a column of the lake before anything is done with it; None if it reads it as it is.

    >>> read_type("UINTEGER"), read_type("BIGINT")
    ('bigint', None)
    """
    return _WIDER.get(sql_type)


def spark_type(sql_type: str) -> str:
    """Spark's name of a type of the lake that it reads as it is, or in more bits.

    >>> spark_type("FLOAT[]"), spark_type("DECIMAL(18,3)"), spark_type("VARCHAR")
    ('array<float>', 'decimal(18,3)', 'string')
    """
    if sql_type.endswith("[]"):
        return f"array<{spark_type(sql_type.removesuffix('[]'))}>"
    return _SPARK.get(sql_type, sql_type.lower())


def unfit(types: Mapping[str, str]) -> dict[str, str]:
    """The columns whose type Spark would change, of DuckDB's types by column.

    >>> unfit({"id": "UUID", "temp": "DOUBLE", "image": "FLOAT[]"})
    {'id': 'UUID'}
    """
    return {name: kind for name, kind in types.items() if _SAFE.fullmatch(kind) is None}


def refuse_unfit(types: Mapping[str, str], names: Iterable[str], *, of: str) -> None:
    """Refuse columns whose type Spark would change.

    Raises:
        EngineError: it names them.
    """
    if strange := unfit({name: types[name] for name in names if name in types}):
        columns = ", ".join(f"{name} ({kind})" for name, kind in strange.items())
        raise EngineError(
            f"{of} has columns of types that Spark does not read as they are: {columns}. Store them as text or numbers in another "
            "version of the group, or let this run on DuckDB: engine='duckdb'"
        )
