"""Rows as what people hold in a notebook: pandas, polars and Arrow frames, DuckDB relations, lists of dicts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, get_args

from fti_assets.core.extras import named_extras
from fti_assets.errors import DataError, MissingExtraError, StoreError, excerpt, one_of
from fti_assets.features.rows.frames.halves import without_halves
from fti_assets.features.rows.frames.object_columns import arrow_array, arrow_table, with_objects
from fti_assets.stores.duckdb.pandas_rows import pandas_rows

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

Kind = Literal["pandas", "polars", "arrow", "relation", "dicts"]
"""How rows are given back: a pandas or polars ``DataFrame``, a ``pyarrow.Table``, a DuckDB relation, a list of dicts."""


def checked_kind(kind: str) -> Kind:
    """Return ``kind``, if rows can be given so.

    Raises:
        StoreError: it is no kind of rows.
        MissingExtraError: pandas or polars is not installed.
    """
    if kind not in get_args(Kind):
        raise StoreError(f"as_ is {excerpt(kind)}: rows come as {one_of(get_args(Kind))}")
    if kind == "pandas":
        with named_extras("as_='pandas'"):
            import pandas  # noqa: F401
    if kind == "polars":
        try:
            import polars  # noqa: F401
        except ModuleNotFoundError as error:
            raise MissingExtraError("polars is not installed: pip install polars, or take as_='pandas'") from error
    return kind  # type: ignore[return-value]


def as_kind(rows: duckdb.DuckDBPyRelation, kind: Kind) -> Any:
    """Fetch a relation's rows as one kind; as a relation they stay where they are.

    Raises:
        DataError: a value cannot be read as what it is declared to be; pandas is to have a whole number beyond 64 bits.
    """
    import duckdb

    try:
        match kind:
            case "pandas":
                return pandas_rows(rows)
            case "polars":
                return rows.pl()
            case "arrow":
                return rows.to_arrow_table()
            case "dicts":
                return rows.to_arrow_table().to_pylist()
    except duckdb.InvalidInputException as error:
        raise DataError(str(error).removeprefix("Invalid Input Error: ")) from error
    return rows


def kind_of(rows: Any, *, what: str) -> Kind:
    """Which kind of rows somebody gives.

    Raises:
        DataError: it is none of them.
    """
    # By name, not by isinstance: that would import libraries of which the caller may have none.
    results = {(base.__module__.partition(".")[0], base.__name__) for base in type(rows).__mro__}
    kinds: dict[tuple[str, str], Kind] = {
        ("pandas", "DataFrame"): "pandas",
        ("polars", "DataFrame"): "polars",
        ("pyarrow", "Table"): "arrow",
        ("_duckdb", "DuckDBPyRelation"): "relation",
        ("duckdb", "DuckDBPyRelation"): "relation",
    }
    for one, kind in kinds.items():
        if one in results:
            return kind
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        return "dicts"
    raise DataError(
        f"{what} is a {type(rows).__name__}: give a pandas or polars DataFrame, a pyarrow Table, a DuckDB relation or a list of "
        "dicts"
    )


def as_arrow(rows: Any, *, what: str) -> pa.Table:
    """Rows of any kind as an Arrow table, in their order; a pandas index is left out.

    Raises:
        DataError: they are of no kind, or a column's values have no one type.
    """
    import pyarrow as pa

    kind = kind_of(rows, what=what)
    try:
        match kind:
            case "pandas":
                table = arrow_table(rows, what=what)
            case "polars":
                import narwhals as nw

                table = with_objects(nw.from_native(rows, eager_only=True), what)
            case "relation":
                table = rows.to_arrow_table()
            case "dicts":
                names = dict.fromkeys(name for row in rows for name in row)
                table = pa.table(
                    {name: arrow_array([row.get(name) for row in rows], column=str(name), what=what) for name in names}
                )
            case _:
                table = rows
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        raise DataError(f"{what} has a column whose values have no one type: {error}") from error
    except ValueError as error:  # a pandas frame with one name twice
        raise DataError(f"{what} cannot be taken: {error}") from error
    return without_halves(table)
