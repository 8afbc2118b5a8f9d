"""What a Pandera schema declares, read before any row is there: columns, types, rules."""

from __future__ import annotations

import inspect
import re
from typing import TYPE_CHECKING, Any

from fti_assets.core.rules import Rule
from fti_assets.core.types import ColumnType
from fti_assets.errors import DeclarationError, excerpt

if TYPE_CHECKING:
    import pandera.pandas as pa


def pandera_schema(schema: Any, *, what: str) -> pa.DataFrameSchema:
    """The ``DataFrameSchema`` of a schema or of a ``DataFrameModel``.

    Raises:
        DeclarationError: it is neither.
    """
    import pandera.pandas as pa

    if isinstance(schema, pa.DataFrameSchema):
        return schema
    if isinstance(schema, type) and issubclass(schema, pa.DataFrameModel):
        result: pa.DataFrameSchema = schema.to_schema()  # type: ignore[attr-defined]
        return result
    raise DeclarationError(
        f"schema of {what} is {excerpt(schema)}, not a pandera DataFrameModel or DataFrameSchema (import pandera.pandas as pa)"
    )


def column_types(schema: pa.DataFrameSchema) -> dict[str, ColumnType | None]:
    """The column type of each column, in order; None for one that the schema leaves open or that has no such type."""
    return {str(name): column_type(column.dtype) for name, column in schema.columns.items()}


def decimal_types(schema: pa.DataFrameSchema | None) -> dict[str, str]:
    """The DuckDB type of each column that is declared a decimal with digits after the point.

    Pandera's Decimal without arguments has none, which says nothing: it is its default.
    """
    from pandera import dtypes

    types = {} if schema is None else {str(name): column.dtype for name, column in schema.columns.items()}
    return {
        name: f"DECIMAL({dtype.precision},{dtype.scale})"
        for name, dtype in types.items()
        if isinstance(dtype, dtypes.Decimal) and 0 < dtype.scale <= dtype.precision <= _MOST_DIGITS
    }


def vector_types(schema: pa.DataFrameSchema | None) -> dict[str, str]:
    """The DuckDB type of each column that is declared a list of floats: ``FLOAT[]`` for those of 16 and 32 bits, else ``DOUBLE[]``."""
    return {
        name: f"{'DOUBLE' if kind.value_type.bit_width > 32 else 'FLOAT'}[]" for name, kind in _lists(schema).items()
    }


def vector_dims(schema: pa.DataFrameSchema | None) -> dict[str, int]:
    """How many numbers each row of a column has, of those that are declared lists of floats of one length.

    >>> import pandas, pandera.pandas as pa, pyarrow
    >>> vector_dims(pa.DataFrameSchema({"image": pa.Column(pandas.ArrowDtype(pyarrow.list_(pyarrow.float32(), 384)))}))
    {'image': 384}
    """
    return {name: kind.list_size for name, kind in _lists(schema).items() if getattr(kind, "list_size", -1) >= 0}


def _lists(schema: pa.DataFrameSchema | None) -> dict[str, Any]:
    """The Arrow type of each column that is declared a list of floats."""
    types = {} if schema is None else {str(name): _numbers_of(column.dtype) for name, column in schema.columns.items()}
    return {name: kind for name, kind in types.items() if kind is not None}


def _numbers_of(dtype: Any) -> Any:
    """The Arrow type of a type of Pandera that is a list of floats, else None."""
    kind = getattr(getattr(dtype, "type", None), "pyarrow_dtype", None)
    if kind is None:
        return None
    import pyarrow as pa  # whose type it is

    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    return kind if is_list and pa.types.is_floating(kind.value_type) else None


_MOST_DIGITS = 38
"""That a decimal has in DuckDB."""


def column_type(dtype: Any) -> ColumnType | None:
    """The column type of a type of Pandera."""
    from pandera import dtypes

    kinds: list[tuple[Any, ColumnType]] = [
        (dtypes.is_bool, "boolean"),
        (dtypes.is_int, "integer"),
        (dtypes.is_float, "number"),
        (dtypes.is_datetime, "timestamp"),
        (dtypes.is_string, "text"),
    ]
    if dtype is None:
        return None
    if _numbers_of(dtype) is not None:
        return "vector"
    return next((kind for is_kind, kind in kinds if is_kind(dtype)), None)


def schema_demands(schema: pa.DataFrameSchema | None) -> tuple[object, ...]:
    """All that a schema demands, the same in every process; ``repr`` leaves out the checks of its columns."""
    if schema is None:
        return ()
    columns = [
        (name, str(column.dtype), column.nullable, column.unique, column.coerce, column.required, _checks(column))
        for name, column in schema.columns.items()
    ]
    return (columns, _checks(schema), schema.unique, schema.coerce, schema.strict)


def _checks(owner: Any) -> list[tuple[object, ...]]:
    return [
        (check.name, str(check.error), check.raise_warning, _source(check._check_fn), _stable(check.statistics or {}))
        for check in owner.checks
    ]


def _source(function: Any) -> str:
    try:
        return inspect.getsource(function)
    except (TypeError, OSError):  # one of Pandera's own, told apart by its name and statistics
        return ""


def _stable(statistics: dict[str, Any]) -> list[tuple[str, str]]:
    """Sets are shown in an order of their own, which differs between processes."""
    return [
        (name, str(sorted(map(repr, value))) if isinstance(value, set | frozenset) else repr(value))
        for name, value in sorted(statistics.items())
    ]


def constraints(column: Any) -> list[str]:
    """The checks of one Pandera column in words, for the columns tab."""
    return [str(check.error or check.name) for check in column.checks]


RuleKey = tuple[str | None, Any]
"""What tells a rule of a schema: its column and the check's number, or the kind of failure."""

COLUMNS_KEY: RuleKey = (None, "columns")

COLUMNS = Rule("columns", "Every declared column is there with its type")


def rules_of(schema: pa.DataFrameSchema | None) -> list[Rule]:
    """The rules of a schema: its columns and types, each column that may not be null or must be unique, each check."""
    return [] if schema is None else [*rules_by_key(schema).values(), COLUMNS]


def rules_by_key(schema: pa.DataFrameSchema) -> dict[RuleKey, Rule]:
    """The rules of a schema without that of its columns, each by what tells it."""
    rules: dict[RuleKey, Rule] = {}
    names: set[str] = {COLUMNS.name}

    def add(key: RuleKey, name: str, description: str, blocking: bool = True) -> None:
        name = re.sub(r"\W+", "_", name).strip("_")
        while name in names:
            name += "_"
        names.add(name)
        rules[key] = Rule(name, description, blocking)

    for column_name, column in schema.columns.items():
        if not column.nullable:
            add((column_name, "not_nullable"), f"{column_name}_not_null", f"{column_name} is never null")
        if column.unique:
            add((column_name, "field_uniqueness"), f"{column_name}_unique", f"{column_name} is unique")
        for number, check in enumerate(column.checks):
            text = str(check.error or check.name)
            add((column_name, number), f"{column_name}_{check.name}", f"{column_name}: {text}", not check.raise_warning)
    for number, check in enumerate(schema.checks):
        add((None, number), str(check.name), str(check.error or check.name), not check.raise_warning)
    if schema.unique:
        unique = [schema.unique] if isinstance(schema.unique, str) else list(schema.unique)
        add(
            (None, "multiple_fields_uniqueness"),
            f"unique_{'_'.join(map(str, unique))}",
            f"{', '.join(map(str, unique))} are unique together",
        )
    return rules
