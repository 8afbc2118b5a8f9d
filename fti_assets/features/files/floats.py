"""Float columns of files beside other files that have them in another type: what pandas makes of columns with nulls or without values."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fti_assets.core.types import EXACT
from fti_assets.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

Values = Callable[["Path", str], Iterator["pa.Array"]]
_NONE, _WHOLE, _FLOAT = "none", "whole", "float"


def fitted_floats(schemas: Mapping[Path, pa.Schema], values: Values, name: str) -> dict[Path, list[str]]:
    """The float columns of each file that are to take the type of the other files, which holds all their values.

    They are those without a value, and those of whole numbers below 2**53 beside whole numbers, unless the first file has floats
    and floats hold all.

    Args:
        schemas: the columns of each file, in order.
        values: the values of a file's column, in parts.
        name: what the files are for, for errors.

    Raises:
        DataError: no one type holds the values of two files.
    """
    import pyarrow as pa

    results: dict[Path, list[str]] = {file: [] for file in schemas}
    columns: dict[str, dict[Path, pa.DataType]] = {}
    for file, schema in schemas.items():
        for field in schema:
            if not pa.types.is_null(field.type):
                columns.setdefault(field.name, {})[file] = field.type
    for column, kinds in columns.items():
        not_floats = [file for file, kind in kinds.items() if not pa.types.is_floating(kind)]
        if not not_floats or len(not_floats) == len(kinds):
            continue
        sorts = {file: _sort(values(file, column)) for file in kinds if file not in not_floats}
        floats = [file for file, sort in sorts.items() if sort != _NONE]
        if floats and all(pa.types.is_integer(kinds[file]) for file in not_floats):
            may_be_whole = _FLOAT not in sorts.values()
            prefers_float = next(iter(file for file in kinds if file in not_floats or file in floats)) in floats
            loss = _first_loss(not_floats, column, values) if prefers_float or not may_be_whole else None
            if may_be_whole and (loss or not prefers_float):
                floats = []
            elif loss:
                other = next(file for file in floats if sorts[file] == _FLOAT)
                raise no_one_type(column, kinds, loss[0], other, name, f", with {loss[1]}")
        elif floats and (decimal := next((file for file in not_floats if pa.types.is_decimal(kinds[file])), None)):
            raise no_one_type(column, kinds, decimal, floats[0], name)
        for file in sorts:
            if file not in floats:
                results[file].append(column)
    return results


def fit_table(table: pa.Table, columns: list[str], schema: pa.Schema) -> pa.Table:
    """A table in a schema that holds its values; the named columns of floats are fitted, and what it has not is null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    arrays = []
    for field in schema:
        if field.name not in table.column_names or (field.name in columns and not pa.types.is_integer(field.type)):
            arrays.append(pa.nulls(len(table), field.type))
        else:
            values = table.column(field.name)
            values = pc.if_else(pc.is_nan(values), None, values) if field.name in columns else values
            arrays.append(values.cast(field.type))
    return pa.table(arrays, schema=schema)


def _sort(parts: Iterator[pa.Array]) -> str:
    """Whether floats are whole numbers, or none at all: read as far as the first that is another."""
    import pyarrow.compute as pc

    result = _NONE
    for part in parts:
        values = part.cast("float64").drop_null()
        values = values.filter(pc.invert(pc.is_nan(values)))
        if len(values):
            # From 2**53 on a float may be one of several whole numbers, so it is none.
            is_whole = pc.and_(pc.equal(values, pc.trunc(values)), pc.less(pc.abs(values), float(EXACT)))
            if not pc.all(is_whole).as_py():
                return _FLOAT
            result = _WHOLE
    return result


def _first_loss(files: list[Path], column: str, values: Values) -> tuple[Path, int] | None:
    """A whole number that float64 may round, with its file."""
    import pyarrow.compute as pc

    for file in files:
        for part in values(file, column):
            ends: dict[str, Any] = pc.min_max(part).as_py()
            for end in ends.values():
                if end is not None and abs(end) > EXACT:
                    return file, end
    return None


def no_one_type(
    column: str, kinds: Mapping[Path, pa.DataType], one: Path, other: Path, name: str, value: str = ""
) -> DataError:
    """That a column of two files has no one type that holds the values of both."""
    return DataError(
        f"column {column!r} of {name} is {kinds[one]} in {one}{value}, and {kinds[other]} in {other}, and no one type holds the values "
        "of both: write the files with one type, as frame.astype({...: 'Int64'}) makes of whole numbers beside a null, or cast it "
        "with reader=. Nothing was stored"
    )
