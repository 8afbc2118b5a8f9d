"""Tables of requests: of any library, told by what they can do, so that none is imported."""

from collections.abc import Collection, Iterable, Sequence
from itertools import islice
from typing import Any

import numpy as np

from fti_assets.errors import RequestError, class_name, excerpt
from fti_assets.inference.serving.requests.form import is_mapping, unreadable


def columns_of(table: Any, vectors: Collection[str] = ()) -> dict[Any, list[Any]]:
    """The columns of a mapping of name to values, an Arrow table or record batch, or a pandas or polars frame, as lists; the arrays of
    ``vectors`` may be ``[n, dim]``.

    Raises:
        RequestError: it is none of these, cannot be read, or its columns differ in length.
    """
    try:
        return _columns(table, vectors)
    except RequestError:
        raise
    except Exception as error:  # whatever a client's value raises when it is looked at
        raise RequestError(
            f"the requests are {unreadable(table, error)}: columns of plain values are expected"
        ) from None


def _columns(table: Any, vectors: Collection[str]) -> dict[Any, list[Any]]:
    names: Iterable[Any] | None
    if is_mapping(table):
        names = list(table)
    else:
        names = getattr(table, "column_names", None)  # Arrow
        if names is None and hasattr(table, "schema") and hasattr(table, "num_columns"):
            names = table.schema.names  # an older record batch
        if names is None:
            names = getattr(table, "columns", None)  # pandas and polars
    if names is None or isinstance(names, str) or not isinstance(names, Iterable):
        raise RequestError(
            f"the requests are {excerpt(table)}, a {class_name(table)}: a mapping of field to its values, an Arrow table or a "
            "frame is expected"
        )
    own_names = list(names)
    if len(set(map(str, own_names))) < len(own_names):
        raise RequestError("the requests have two columns of one name")
    # What is no list may be endless, so no more is read of it than shows that it is longer than those that are.
    sizes = (
        [len(table[name]) for name in own_names if type(table[name]) in (list, tuple)] if type(table) is dict else []
    )
    most = max(sizes) + 1 if sizes else None
    columns = {name: _read(name, table, most, is_vector=str(name) in vectors) for name in own_names}
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise RequestError(f"the columns of the requests differ in length: {lengths}"[:500])
    return columns


def _read(name: Any, table: Any, most: int | None, *, is_vector: bool) -> list[Any]:
    try:
        column = table[name]
        if is_vector and isinstance(column, np.ndarray) and column.ndim == 2:
            return list(column)
        return _values(name, column, most)
    except RequestError:
        raise
    except Exception as error:
        raise RequestError(
            f"the column {excerpt(name)} of the requests cannot be read, since it raises a {class_name(error)}: plain values are expected"
        ) from None


def _values(name: Any, column: Any, most: int | None) -> list[Any]:
    """A column as a list of values that a request could bring."""
    if type(column) is list:
        return [*column]
    if isinstance(column, np.ndarray):
        if column.ndim != 1:
            raise RequestError(f"the column {excerpt(name)} has the shape {list(column.shape)}: [n] is expected")
        # numpy's own times and long floats lose by becoming Python's; a request takes them as they are
        return column.tolist() if column.dtype.kind in "biufSUO" and column.dtype.char != "g" else list(column)
    for method in ("to_pylist", "to_list"):
        if callable(to_list := getattr(column, method, None)):
            return list(to_list())
    if isinstance(column, Sequence) and not isinstance(column, str | bytes):
        return [one for one in islice(column, most)]  # noqa: C416 - list() asks for a length, which may be any
    raise RequestError(
        f"the column {excerpt(name)} is {excerpt(column)}, a {class_name(column)}: the values of all requests are expected"
    )
