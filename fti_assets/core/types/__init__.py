"""The types of columns: what each is on every side, the arrays in which columns reach functions and graphs, and vectors."""

from fti_assets.core.types.column_types import (
    CATEGORY_TYPES,
    EXACT,
    INPUTS,
    KEY_TYPES,
    MISSING_INTEGER,
    NUMERIC,
    SIDES,
    WHOLE,
    WIDE,
    ColumnType,
    InputType,
    compared_type,
    type_held_by,
    type_of_dtype_kind,
    type_of_sql,
)

__all__ = [
    "CATEGORY_TYPES",
    "EXACT",
    "INPUTS",
    "KEY_TYPES",
    "MISSING_INTEGER",
    "NUMERIC",
    "SIDES",
    "WHOLE",
    "WIDE",
    "ColumnType",
    "InputType",
    "compared_type",
    "type_held_by",
    "type_of_dtype_kind",
    "type_of_sql",
]
