"""Tables of requests: of any library, told by what they can do, so that none is imported."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from fti_assets.errors import RequestError, excerpt


def columns_of(table: Any) -> dict[Any, list[Any]]:
    """The columns of a mapping of name to values, an Arrow table or record batch, or a pandas or polars frame, as lists.

    Raises:
        RequestError: it is none of these, or its columns differ in length.
    """
    names: Iterable[Any] | None
    if isinstance(table, Mapping):
        names = list(table)
    else:
        names = getattr(table, "column_names", None)  # Arrow
        if names is None and hasattr(table, "schema") and hasattr(table, "num_columns"):
            names = table.schema.names  # an older record batch
        if names is None:
            names = getattr(table, "columns", None)  # pandas and polars
    if names is None or isinstance(names, str) or not isinstance(names, Iterable):
        raise RequestError(
            f"the requests are {excerpt(table)}, a {type(table).__name__}: a mapping of field to its values, an Arrow table or a "
            "frame is expected"
        )
    named = list(names)
    if len(set(map(str, named))) < len(named):
        raise RequestError("the requests have two columns of one name")
    columns = {name: _values(name, table[name]) for name in named}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise RequestError(f"the columns of the requests differ in length: {lengths}"[:500])
    return columns


def _values(name: Any, column: Any) -> list[Any]:
    """A column as a list of values that a request could bring."""
    if isinstance(column, np.ndarray):
        if column.ndim != 1:
            raise RequestError(f"the column {excerpt(name)} has the shape {list(column.shape)}: [n] is expected")
        # numpy's own times and long floats lose by becoming Python's; a request takes them as they are
        return column.tolist() if column.dtype.kind in "biufSUO" and column.dtype.char != "g" else list(column)
    for method in ("to_pylist", "to_list"):
        if callable(listed := getattr(column, method, None)):
            return list(listed())
    if isinstance(column, Sequence) and not isinstance(column, str | bytes):
        return list(column)
    raise RequestError(
        f"the column {excerpt(name)} is {excerpt(column)}, a {type(column).__name__}: the values of all requests are expected"
    )
