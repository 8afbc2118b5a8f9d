"""The six types that a column can have, and what each is on every side: lake, pandas, Arrow, array, blob, request and graph.

What a type is called on disk is its name here. A side that needs a library of its own, as Arrow does, is named by text, which the
room that has the library looks up there.
"""

from datetime import datetime
from typing import Any, Literal

import numpy as np

from fti_assets.core.records import record

ColumnType = Literal["text", "integer", "number", "boolean", "timestamp", "vector"]
InputType = Literal["float32", "float64", "string", "int64"]

WHOLE = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "UTINYINT", "USMALLINT", "UINTEGER")
"""DuckDB's types of whole numbers that 64 bits hold."""
WIDE = ("UBIGINT", "HUGEINT")
"""Those that it takes more for."""


@record(frozen=True)
class Sides:
    """What one column type is on each side.

    Args:
        sql: the DuckDB type in which the lake stores it.
        same: the DuckDB types whose values SQL and pandas compare alike, as values of this type.
        further: the DuckDB types that count as this type besides; one with digits is named without them.
        subtypes: the DuckDB types that are stored as ``sql``; the cast refuses a value that would change.
        nothing: the SQL of some value, the same for all.
        pandas: the kinds of numpy's dtypes that hold it.
        arrow: Arrow's name of its type.
        array: the dtype of its canonical array.
        plain: the class of a plain value.
        blob: the code of ``struct`` for its value in a blob; of a text and a vector its bytes, of a time its microseconds.
        dtype: the numpy dtype of the same bytes.
        packs: the classes of a value that a blob takes.
        request_form: what a request is to bring.
        result_form: what an on-demand function is to give.
        inputs: the graph inputs that it can fill.
    """

    sql: str
    same: tuple[str, ...]
    further: tuple[str, ...]
    subtypes: tuple[str, ...]
    nothing: str
    pandas: str
    arrow: str
    array: np.dtype[Any]
    plain: type
    blob: str
    dtype: str
    packs: tuple[type, ...]
    request_form: str
    result_form: str
    inputs: tuple[InputType, ...]


SIDES: dict[ColumnType, Sides] = {
    "text": Sides(
        sql="VARCHAR",
        same=("VARCHAR",),
        further=(),
        subtypes=("VARCHAR", "UUID"),
        nothing="''",
        pandas="O",
        arrow="string",
        array=np.dtype("object"),
        plain=str,
        blob="I",
        dtype="<u4",
        packs=(str,),
        request_form="text",
        result_form="str, text,",
        inputs=("string",),
    ),
    "integer": Sides(
        sql="BIGINT",
        same=WHOLE,
        further=WIDE,
        subtypes=WHOLE,
        nothing="0",
        pandas="iu",
        arrow="int64",
        array=np.dtype("float64"),
        plain=int,
        blob="q",
        dtype="<i8",
        packs=(int,),
        request_form="a whole number of 64 bits",
        result_form="int, a whole number,",
        inputs=("float32", "float64", "int64"),
    ),
    "number": Sides(
        sql="DOUBLE",
        same=("DOUBLE", "FLOAT"),
        further=("DECIMAL",),
        subtypes=(*WHOLE, "FLOAT", "DOUBLE"),
        nothing="0",
        pandas="f",
        arrow="float64",
        array=np.dtype("float64"),
        plain=float,
        blob="d",
        dtype="<f8",
        packs=(float, int),
        request_form="a number",
        result_form="float, a number,",
        inputs=("float32", "float64", "int64"),
    ),
    "boolean": Sides(
        sql="BOOLEAN",
        same=("BOOLEAN",),
        further=(),
        subtypes=("BOOLEAN",),
        nothing="false",
        pandas="b",
        arrow="bool",
        array=np.dtype("float64"),
        plain=bool,
        blob="?",
        dtype="u1",
        packs=(bool,),
        request_form="true or false",
        result_form="bool, true or false,",
        inputs=("float32", "float64", "int64"),
    ),
    "timestamp": Sides(
        sql="TIMESTAMP",
        same=("TIMESTAMP",),
        further=("DATE",),
        subtypes=("TIMESTAMP", "DATE"),
        nothing="'1970-01-01'",
        pandas="M",
        arrow="timestamp[us]",
        array=np.dtype("datetime64[us]"),
        plain=datetime,
        blob="q",
        dtype="<i8",
        packs=(int,),
        request_form="a datetime or ISO text",
        result_form="datetime, as datetime64,",
        inputs=("int64",),
    ),
    "vector": Sides(
        sql="FLOAT[]",
        same=(),
        further=("FLOAT[]", "DOUBLE[]"),
        subtypes=(),
        nothing="[]",
        pandas="",
        arrow="list",
        array=np.dtype("object"),
        plain=np.ndarray,
        blob="I",
        dtype="<u4",
        packs=(np.ndarray,),
        request_form="a list of numbers",
        result_form="a list of numbers,",
        inputs=("float32",),
    ),
}

NUMERIC: tuple[ColumnType, ...] = ("number", "integer", "boolean")
"""The types whose canonical array is of numbers."""
CATEGORY_TYPES: tuple[ColumnType, ...] = ("text", "integer", "boolean")
"""The types whose values can be categories."""
KEY_TYPES: tuple[ColumnType, ...] = (*CATEGORY_TYPES, "timestamp")
"""The types that rows can be joined on: no two values of them are nearly equal."""

_SAME: dict[str, ColumnType] = {sql_type: kind for kind, sides in SIDES.items() for sql_type in sides.same}
_FURTHER: dict[str, ColumnType] = {sql_type: kind for kind, sides in SIDES.items() for sql_type in sides.further}
_PANDAS: dict[str, ColumnType] = {code: kind for kind, sides in SIDES.items() for code in sides.pandas}


def type_of_sql(sql_type: str) -> ColumnType | None:
    """The column type of a DuckDB type, or None for a struct, a list of other things or another type that no feature can have.

    >>> type_of_sql("DECIMAL(18,3)"), type_of_sql("UBIGINT"), type_of_sql("FLOAT[384]"), type_of_sql("BIGINT[]")
    ('number', 'integer', 'vector', None)
    """
    if sql_type.endswith("]"):
        return _FURTHER.get(f"{sql_type.rstrip('0123456789[]')}[]") if sql_type.count("[") == 1 else None
    return compared_type(sql_type) or _FURTHER.get(sql_type.partition("(")[0])


def type_held_by(sql_type: str) -> ColumnType | None:
    """The column type of a DuckDB type outside the lake, where text may be an enum, and a time of any unit or zone.

    >>> type_held_by("TIMESTAMP WITH TIME ZONE"), type_held_by("UUID"), type_held_by("TIMESTAMP[]")
    ('timestamp', 'text', None)
    """
    if sql_type.endswith("]"):
        return type_of_sql(sql_type)
    if sql_type.startswith("TIMESTAMP"):
        return "timestamp"
    return "text" if sql_type == "UUID" or sql_type.startswith("ENUM") else type_of_sql(sql_type)


def compared_type(sql_type: str) -> ColumnType | None:
    """The column type of a DuckDB type whose values SQL and pandas compare alike, or None.

    >>> compared_type("BIGINT"), compared_type("UBIGINT")
    ('integer', None)
    """
    return _SAME.get(sql_type)


def type_of_dtype_kind(kind: str) -> ColumnType | None:
    """The column type of the kind of a numpy dtype; objects are text, if anything.

    >>> type_of_dtype_kind("u"), type_of_dtype_kind("c")
    ('integer', None)
    """
    return _PANDAS.get(kind)


@record(frozen=True)
class InputSides:
    """What one type of a graph's input is on each side.

    Args:
        tensor: what onnxruntime calls it.
        element: the name of the element type in ``onnx.TensorProto``.
        array: the dtype of the array that fills it.
        blank: a value without meaning.
    """

    tensor: str
    element: str
    array: np.dtype[Any]
    blank: Any


EXACT = 2**53
"""From here on a float64 stands for several whole numbers."""

MISSING_INTEGER = -(2**63)
"""What an integer input holds where the value is missing, and where it is no whole number that int64 can hold."""

INPUTS: dict[InputType, InputSides] = {
    "float32": InputSides("tensor(float)", "FLOAT", np.dtype("float32"), 0.0),
    "float64": InputSides("tensor(double)", "DOUBLE", np.dtype("float64"), 0.0),
    "string": InputSides("tensor(string)", "STRING", np.dtype("object"), ""),
    "int64": InputSides("tensor(int64)", "INT64", np.dtype("int64"), MISSING_INTEGER),
}
