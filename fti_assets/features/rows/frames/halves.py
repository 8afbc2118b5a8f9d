"""Floats of 16 bits, which DuckDB has not, as those of 32, which hold all of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def without_halves(rows: Any) -> Any:
    """An Arrow table, or a stream of batches, with float32 in place of float16, inside lists and structs too."""
    import pyarrow as pa

    schema = pa.schema([field.with_type(without_half(field.type)) for field in rows.schema], rows.schema.metadata)
    return rows if schema.equals(rows.schema) else rows.cast(schema)


def without_half(kind: pa.DataType) -> pa.DataType:
    """An Arrow type with float32 in place of float16.

    >>> import pyarrow as pa
    >>> without_half(pa.list_(pa.float16()))
    ListType(list<item: float>)
    """
    import pyarrow as pa

    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(without_half(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(kind.key_type, without_half(kind.item_type))
    if pa.types.is_list(kind):
        return pa.list_(kind.value_field.with_type(without_half(kind.value_type)))
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(without_half(kind.value_type)), kind.list_size)
    if pa.types.is_large_list(kind):
        return pa.large_list(kind.value_field.with_type(without_half(kind.value_type)))
    return kind
