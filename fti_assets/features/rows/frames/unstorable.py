"""What to say of a result that no table can hold: a type that the lake has not, or something that is no frame."""

from __future__ import annotations

import inspect
import re
from typing import Any

from fti_assets.core.sql import quote
from fti_assets.errors import DataError, class_name, excerpt

FRAMES = "a pandas, polars or narwhals frame, a pyarrow Table, a DuckDB relation or an fti.Table"
_CASTS = (
    ("period", "frame[{name}].dt.to_timestamp() for times, or .astype(str) for text"),
    ("interval[", "frame[{name}].array.left and .right, a column each"),
    ("sparse", "frame[{name}].sparse.to_dense()"),
    ("complex", "frame[{name}].to_numpy().real and .imag, a column each"),
    ("float128", "frame[{name}].astype('float64')"),
    ("longdouble", "frame[{name}].astype('float64')"),
    ("decimal256", "table[{name}].cast(pa.decimal128(38, 2)), which holds 38 digits"),
    ("int128", "pl.col({name}).cast(pl.Int64), or .cast(pl.String) for text"),
)
"""What a type is cast with, by how its name begins."""


def type_problem(column: str, kind: object, what: str) -> str:
    """What to say of a column of a type that cannot be stored.

    >>> type_problem("votes", "Sparse[int64, 0]", "rates_v1").partition(": ")[2]
    "column 'votes' is Sparse[int64, 0]. Cast the column before, as in frame['votes'].sparse.to_dense()"
    """
    type_text = str(kind)[:80]
    casts = [cast for start, cast in _CASTS if type_text.lower().startswith(start)]
    hint = f", as in {casts[0].format(name=repr(column))}" if casts else " to numbers, text, times, lists or structs"
    return f"{what} gave a type that cannot be stored: column {column!r} is {type_text}. Cast the column before{hint}"


def has_lost(kind: Any) -> bool:
    """Whether Arrow would lose what values of a DuckDB type are: it is BIT or has it inside, or has times of day with offsets inside.

    >>> import duckdb
    >>> [has_lost(duckdb.sqltype(one)) for one in ("STRUCT(flags BIT)[]", "TIMETZ[]", "TIMETZ", "BLOB")]
    [True, True, False, False]
    """
    return bool(kind.id == "bit") or has_offsets_inside(kind) or any(has_lost(one) for one in _children(kind))


def has_offsets_inside(kind: Any) -> bool:
    """Whether a DuckDB type has times of day with offsets within lists, structs or maps."""
    return any(one.id == "time with time zone" or has_offsets_inside(one) for one in _children(kind))


def _children(kind: Any) -> list[Any]:
    if kind.id not in ("list", "array", "struct", "map", "union"):
        return []
    return [child for name, child in kind.children if (kind.id, name) != ("array", "size")]


def lost_problem(column: str, kind: str, what: str) -> str:
    """What to say of bits, which would come as DuckDB's own bytes, and of times of day, which would come without their offsets."""
    cast = f"{quote(column)}::{re.sub(r'BIT(?![A-Za-z])|TIME WITH TIME ZONE', 'VARCHAR', kind)}"
    return f"{what} gave a type that cannot be stored: column {column!r} is {kind[:80]}. Cast it to text before, as in {excerpt(cast)}"


def failed_relation(error: Exception, what: str) -> str:
    """What to say of a relation that DuckDB computes only when its rows are read, where that fails."""
    return (
        f"the relation that {what} returned fails when its rows are read: {first_line(error)}. It is computed after the "
        "function has returned: mend its SQL"
    )


def first_line(error: Exception) -> str:
    """DuckDB's first line of an error, without the query that follows it."""
    return str(error).partition("\n")[0][:1000]


def no_frame(result: Any, what: str) -> DataError:
    """The error for a result that is no frame."""
    if inspect.iscoroutine(result):
        result.close()  # else Python warns that nobody waited for it
        return DataError(f"{what} gave a coroutine: write its function with def, not async def, and return {FRAMES}")
    if isinstance(result, type):
        return DataError(f"{what} gave the class {result.__name__} itself: return one of its objects, or {FRAMES}")
    if result is None:
        return DataError(f"{what} gave None: end its function with return, and {FRAMES}")
    if isinstance(result, list | tuple) or inspect.isgenerator(result):
        hint = "make one frame of it, as pd.concat(frames) does of frames and pd.DataFrame(rows) of dicts, or "
    elif isinstance(result, dict) or class_name(result) == "ndarray":
        hint = "make a frame of it, as pd.DataFrame(...) does, or "
    else:
        hint = ""
    name = class_name(result)
    article = "an" if isinstance(result, int) else "a"
    example = f", {excerpt(result)}" if isinstance(result, str | int | float) else ""
    return DataError(f"{what} gave {article} {name}{example}: {hint}return {FRAMES}")
