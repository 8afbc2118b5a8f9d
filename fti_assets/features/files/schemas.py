"""The columns of several files as one schema: each in the type that holds its values in every file, or an error that names it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from fti_assets.core.sql import names_alike
from fti_assets.errors import DataError
from fti_assets.features.files.floats import Values, no_one_type
from fti_assets.features.rows.frames.halves import without_half

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_DIGITS = {8: 3, 16: 5, 32: 10, 64: 20}


def one_schema(
    schemas: Mapping[Path, pa.Schema],
    floats: Mapping[Path, list[str]],
    values: Values,
    name: str,
    connection: duckdb.DuckDBPyConnection,
) -> pa.Schema:
    """The columns of all files. What a cast could change or refuse is read once, so that reading the rows does not fail.

    Args:
        schemas: the columns of each file, in order.
        floats: those columns of each file that take the type of the other files.
        values: the values of a file's column, in parts.
        name: what the files are for, for errors.
        connection: what is to read the rows.

    Raises:
        DataError: no one type holds the values of a column; the files are named.
    """
    _refuse_names(schemas, name)
    whole = _unify(schemas, floats, name).remove_metadata()
    for field in whole:
        kinds = {file: schema.field(field.name).type for file, schema in schemas.items() if field.name in schema.names}
        if not _is_readable(field, connection):
            raise _unreadable(field, kinds, name)
        for file, kind in kinds.items():
            is_same = without_half(kind) == field.type or field.name in floats[file]
            if not is_same and not _always_fits(kind, field.type):
                _refuse_change(file, field, kinds, values, name)
    return whole


def _refuse_names(schemas: Mapping[Path, pa.Schema], name: str) -> None:
    spellings: dict[str, tuple[str, Path]] = {}
    if not any(schema.names for schema in schemas.values()):
        raise DataError(
            f"{next(iter(schemas))} of {name} has no columns: write it with those of its rows, if with no rows. Nothing was stored"
        )
    for file, schema in schemas.items():
        for column in schema.names:
            if schema.names.count(column) > 1:
                raise DataError(
                    f"{file} of {name} has two columns {column!r}: write it with one of them. Nothing was stored"
                )
        if alike := names_alike(schema.names):
            raise DataError(
                f"{file} of {name} has columns {alike[0]!r} and {alike[1]!r}, which SQL takes for one: write it with other names, or "
                "rename one with reader=. Nothing was stored"
            )
        for column in schema.names:
            other, first = spellings.setdefault(column.lower(), (column, file))
            if other != column:
                raise DataError(
                    f"column {other!r} of {name} in {first} is {column!r} in {file}, and SQL takes both for one: write the files with "
                    "one name, or rename it with reader=. Nothing was stored"
                )


def _unify(schemas: Mapping[Path, pa.Schema], floats: Mapping[Path, list[str]], name: str) -> pa.Schema:
    import pyarrow as pa

    kinds: dict[str, list[pa.DataType]] = {}
    for schema in schemas.values():
        for field in schema:
            kinds.setdefault(field.name, []).append(field.type)
    readable = {
        file: pa.schema([field.with_type(_before_joined(field, kinds[field.name], floats[file])) for field in schema])
        for file, schema in schemas.items()
    }
    files = list(schemas)
    whole = readable[files[0]]
    for file in files[1:]:
        try:
            whole = pa.unify_schemas([whole, readable[file]], promote_options="permissive")
        except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
            # Arrow's error does not name the column.
            column = next(one for one in readable[file].names if not _fit(whole, readable[file], one))
            first = next(
                one for one in files if column in schemas[one].names and not _fit(readable[one], readable[file], column)
            )
            raise DataError(
                f"column {column!r} of {name} is {schemas[first].field(column).type} in {first} and "
                f"{schemas[file].field(column).type} in {file}: write the files with one type, or cast it with reader=. Nothing "
                "was stored"
            ) from error
    return whole


def _fit(one: pa.Schema, other: pa.Schema, column: str) -> bool:
    import pyarrow as pa

    if column not in one.names:
        return True
    try:
        pa.unify_schemas(
            [pa.schema([one.field(column)]), pa.schema([other.field(column)])], promote_options="permissive"
        )
    except (pa.ArrowTypeError, pa.ArrowInvalid):
        return False
    return True


def _before_joined(field: pa.Field, kinds: list[pa.DataType], float_columns: list[str]) -> pa.DataType:
    """What a column's type is taken for, so that Arrow's type of several holds all values and DuckDB can read it."""
    import pyarrow as pa

    kind = without_half(field.type)
    if field.name in float_columns:
        return pa.null()
    if pa.types.is_dictionary(kind) and any(other != kind for other in kinds):
        kind = kind.value_type
    if pa.types.is_integer(kind) and any(map(pa.types.is_decimal, kinds)):
        # Arrow adds the decimals of the other file to these digits, not to those of the integers.
        return pa.decimal128(_DIGITS[kind.bit_width], 0)
    return kind


def _is_readable(field: pa.Field, connection: duckdb.DuckDBPyConnection) -> bool:
    import duckdb
    import pyarrow as pa

    try:
        connection.from_arrow(pa.schema([field]).empty_table())
    except (duckdb.Error, pa.ArrowException):
        return False
    return True


def _unreadable(field: pa.Field, kinds: Mapping[Path, pa.DataType], name: str) -> DataError:
    one = next((file for file, kind in kinds.items() if kind == field.type), None)
    if one is not None:
        return DataError(
            f"column {field.name!r} of {name} is {field.type} in {one}, which SQL cannot hold: write the file with another type, as a "
            "decimal of at most 38 digits, or cast it with reader=. Nothing was stored"
        )
    first, *other_kinds = kinds
    return no_one_type(
        field.name, kinds, first, next(file for file in other_kinds if kinds[file] != kinds[first]), name
    )


def _always_fits(kind: pa.DataType, target: pa.DataType) -> bool:
    """Whether a flat type's values are all of another's: both are as :func:`_unify` joins them, and floats have been looked at."""
    import pyarrow as pa

    if pa.types.is_null(kind):
        return True
    if pa.types.is_dictionary(kind):
        return bool(kind.value_type == target)
    if pa.types.is_uint64(kind):
        return not pa.types.is_int64(target)
    is_number = [
        pa.types.is_integer(one) or pa.types.is_floating(one) or pa.types.is_decimal(one) for one in (kind, target)
    ]
    return all(is_number)


def _refuse_change(file: Path, field: pa.Field, kinds: Mapping[Path, pa.DataType], values: Values, name: str) -> None:
    """Refuse values of a file that are none of a type.

    Raises:
        DataError: there is one.
    """
    import pyarrow as pa

    other = next(one for one, kind in kinds.items() if kind != kinds[file])
    own = kinds[file].value_type if pa.types.is_dictionary(kinds[file]) else kinds[file]
    if _is_text(own) and not _is_text(field.type):
        raise no_one_type(field.name, kinds, file, other, name)
    for part in values(file, field.name):
        try:
            part.cast(field.type)
        except (pa.ArrowException, NotImplementedError) as error:
            value = f" ({str(error).splitlines()[0]})"
            raise no_one_type(field.name, kinds, file, other, name, value) from error


def _is_text(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))
