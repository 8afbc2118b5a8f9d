"""The column types: a value is the same on every side. Vectors, which are no single values, have tests of their own."""

import json
from datetime import datetime
from functools import cache
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import helper

from fti_assets.core.manifest import Column, GraphInput, JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.core.times import microseconds
from fti_assets.core.types import INPUTS, KEY_TYPES, SIDES, ColumnType, type_of_dtype_kind, type_of_sql
from fti_assets.core.types.columns import canonical, whole_numbers
from fti_assets.features.online.rows import blobs_of, online_schema
from fti_assets.features.point_in_time.arrays import as_table, fetch_columns
from fti_assets.features.rows.layout import Layout
from fti_assets.features.rows.staging import stage
from fti_assets.inference.serving.requests.values import CONVERTERS
from fti_assets.orchestration.partitions import UNPARTITIONED
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.stores.online.blobs import BlobFormat
from fti_assets.stores.online.keys import key_encoder
from tests.features.oracles import connection_to_shared
from tests.support.examples import examples

PLAIN: dict[ColumnType, st.SearchStrategy[Any]] = {
    "text": st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6),
    "integer": st.integers(-(2**63), 2**63 - 1),
    "number": st.floats(allow_nan=False),
    "boolean": st.booleans(),
    "timestamp": st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)),
}
KINDS = sorted(PLAIN)
ROW = Column("row", "integer")


def stored(duck: Any, kind: ColumnType, values: list[Any]) -> Any:
    """The values as a run stages them for the lake, in their order."""
    table = as_table([ROW, Column("x", kind)], [range(len(values)), values])
    layout = Layout("values_v1", (), (), None, types={"row": "integer", "x": kind})
    return duck.table(stage(duck, table, layout, [UNPARTITIONED]).table).order("row")


@cache
def identity(kind: str) -> Graph:
    """A graph that answers what it is given."""
    element = getattr(onnx.TensorProto, INPUTS[kind].element)  # type: ignore[index]
    ends = [helper.make_tensor_value_info(name, element, ["n", 1]) for name in ("x", "y")]
    graph = helper.make_graph([helper.make_node("Identity", ["x"], ["y"])], "identity", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    inputs = (GraphInput("x", kind, ("x",)),)  # type: ignore[arg-type]
    return Graph.from_bytes(model.SerializeToString(), inputs, what="identity")


def lists(kind: ColumnType) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.none() | PLAIN[kind], min_size=1, max_size=6)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=examples(200), deadline=None)
@given(data=st.data())
def test_a_value_is_the_same_on_every_side(kind: ColumnType, data: st.DataObject) -> None:
    values, sides, column = data.draw(lists(kind)), SIDES[kind], Column("x", kind)
    with connection_to_shared() as duck:
        rows = stored(duck, kind, values)
        assert str(rows.types[rows.columns.index("x")]) == sides.sql
        assert [value for (value,) in rows.project("x").fetchall()] == values
        assert rows.project("x").to_arrow_table().column("x").to_pylist() == values
        array = fetch_columns(rows, [column])["x"]
        whole = JoinedGroup("g", 1, (JoinedKey("row", "row", "integer"),), (JoinedColumn("x", "x", kind),))
        blobs = dict(blobs_of(duck, rows, whole))
    assert array.dtype == sides.array
    np.testing.assert_array_equal(array, canonical(values, kind))

    schema, encode = online_schema(whole), key_encoder(["integer"], "g_v1")
    blob_format = BlobFormat(schema.columns, event_time=schema.event_time)
    packed = [microseconds(value) if isinstance(value, datetime) else value for value in values]
    for number, value in enumerate(packed):
        key = encode((number,))
        assert blob_format.pack(key, [(None, None, (value,))]) == blobs[key]
        winner = blob_format.winner(key, blobs[key], 0)
        assert winner is not None
        assert winner.values == (value,)
        assert value is None or type(winner.values[0]) is sides.packs[0]

    texts = [value.isoformat() if isinstance(value, datetime) else value for value in values]
    requests = [CONVERTERS[kind](value) for value in json.loads(json.dumps(texts))]
    assert requests == values
    assert {type(value) for value in requests} <= {sides.plain, type(None)}

    for input_type in sides.inputs:
        with np.errstate(over="ignore"):
            offline, online = (
                identity(input_type).run({"x": one})["y"][:, 0] for one in (array, canonical(requests, kind))
            )
        np.testing.assert_array_equal(offline, online)
        is_whole = input_type == "int64" and kind != "timestamp"
        expected = whole_numbers(array) if is_whole else array
        with np.errstate(over="ignore"):
            np.testing.assert_array_equal(offline, expected.astype(INPUTS[input_type].array))


@pytest.mark.parametrize("kind", KEY_TYPES)
@settings(max_examples=examples(200), deadline=None)
@given(data=st.data())
def test_a_key_has_the_same_bytes_on_both_sides(kind: ColumnType, data: st.DataObject) -> None:
    """Loaded in SQL from the lake, and asked for with what a request brings."""
    values = data.draw(st.lists(PLAIN[kind], min_size=1, max_size=4, unique=True))
    whole = JoinedGroup("g", 1, (JoinedKey("x", "x", kind),), (JoinedColumn("row", "row", "integer"),))
    with connection_to_shared() as duck:
        blobs = dict(blobs_of(duck, stored(duck, kind, values), whole))
    encode = key_encoder([kind], "g_v1")
    assert sorted(blobs) == sorted(
        encode((CONVERTERS[kind](value),)) for value in json.loads(json.dumps(values, default=datetime.isoformat))
    )


@pytest.mark.parametrize("kind", KINDS)
def test_what_counts_as_a_type_is_not_another(kind: ColumnType) -> None:
    sides = SIDES[kind]
    assert {type_of_sql(sql_type) for sql_type in (*sides.same, *sides.further)} == {kind}
    assert {type_of_dtype_kind(code) for code in sides.pandas} == {kind}
    assert sides.sql in sides.same
    assert sides.sql in sides.subtypes
    with connection_to_shared() as duck:
        for sql_type in (*sides.same, *sides.subtypes, *sides.further):
            made = duck.sql(
                f"SELECT CAST({sides.nothing} AS {sql_type})::{sides.sql} AS x"
                if sql_type != "UUID"
                else f"SELECT uuid()::{sides.sql} AS x"
            )
            assert str(made.types[0]) == sides.sql
            assert made.fetchall()[0][0] is not None
