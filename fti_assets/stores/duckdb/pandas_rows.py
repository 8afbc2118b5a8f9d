"""Rows as a pandas frame in which whole numbers keep every digit."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from fti_assets.core.sql import literal, quote
from fti_assets.errors import DataError

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

_OVERFLOW = "is beyond the 64 bits of pandas' whole numbers"


def pandas_rows(rows: duckdb.DuckDBPyRelation) -> pd.DataFrame:
    """Fetch a relation as a pandas frame.

    Whole numbers are ``int64``, or ``Int64`` beside a null, those of 128 bits and of decimals without digits after the point
    too, which DuckDB itself gives as rounded floats. Decimals with such digits are float64.

    Raises:
        DataError: a whole number is beyond 64 bits.

    >>> import duckdb
    >>> pandas_rows(duckdb.sql("SELECT 9007199254740993::DECIMAL(38,0) AS id"))["id"].tolist()
    [9007199254740993]
    """
    import duckdb

    kinds = dict(zip(rows.columns, map(str, rows.types), strict=True))
    # With two columns of one name, a projection by name would be ambiguous.
    if len(kinds) < len(rows.columns) or not any(map(_is_whole, kinds.values())):
        return rows.df()
    message = (_in_64_bits(name) if _is_whole(kind) else quote(name) for name, kind in kinds.items())
    try:
        return rows.project(", ".join(message)).df()
    except duckdb.InvalidInputException as error:
        if _OVERFLOW not in str(error):
            raise
        raise DataError(str(error).removeprefix("Invalid Input Error: ")) from None


def _is_whole(kind: str) -> bool:
    return kind in ("HUGEINT", "UHUGEINT") or re.fullmatch(r"DECIMAL\(\d+,0\)", kind) is not None


def _in_64_bits(column: str) -> str:
    name = quote(column)
    cast, complaint = (
        f"TRY_CAST({name} AS BIGINT)",
        f", which {_OVERFLOW}: take Arrow or polars, or cast it to text or DOUBLE before",
    )
    message = f"{literal(f'{column} is ')} || {name}::VARCHAR || {literal(complaint)}"
    return f"CASE WHEN {name} IS NOT NULL AND {cast} IS NULL THEN error({message}) ELSE {cast} END AS {name}"
