"""Values of foreign rows on their way to the lake's types: staged frames, external tables and rows that somebody brings."""

from __future__ import annotations

from fti_assets.core.types import SIDES, WIDE, ColumnType, given_type

FLOATS = SIDES["number"].same


def can_be(given: str, wanted: ColumnType) -> bool:
    """Whether values of a DuckDB type, or some of them, are values of a column type: whole numbers are numbers, too.

    >>> can_be("BIGINT", "number"), can_be("DECIMAL(9,2)", "integer"), can_be("DATE", "timestamp")
    (True, False, True)
    """
    kind = given_type(given)
    return kind == wanted or (kind, wanted) == ("integer", "number")


def without_nan(value: str, given: str) -> str:
    """The SQL of a value whose NaN is missing, as it is in pandas.

    >>> without_nan("x", "DOUBLE"), without_nan("x", "BIGINT")
    ('CASE WHEN isnan(x) THEN NULL ELSE x END', 'x')
    """
    return f"CASE WHEN isnan({value}) THEN NULL ELSE {value} END" if given in FLOATS else value


def misfits(value: str, given: str, target: str) -> list[tuple[str, str]]:
    """The SQL of which values of a DuckDB type a type of the lake does not hold, each with what it takes.

    >>> [expected for _, expected in misfits("x", "DOUBLE", "BIGINT")]
    ['a whole number', 'a whole number of 64 bits']
    """
    if target == "BIGINT" and given in (*FLOATS, *WIDE):
        whole = [(f"{value} <> trunc({value})", "a whole number")] if given in FLOATS else []
        return [*whole, (f"{value} IS NOT NULL AND TRY_CAST({value} AS BIGINT) IS NULL", SIDES["integer"].asked)]
    if target == "DOUBLE" and given in ("BIGINT", *WIDE):  # as with an id that was taken for a number
        back = f"TRY_CAST(TRY_CAST({value} AS DOUBLE) AS HUGEINT)"
        return [(f"{value} IS NOT NULL AND {back} IS DISTINCT FROM {value}", "a number that float64 does not round")]
    return []
