"""Vectors: a list column of floats is the same numbers on every side, offline and online."""

import json
import sqlite3
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pandera
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.core.manifest import Column, JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.core.times import EPOCH
from fti_assets.core.types import SIDES
from fti_assets.core.types.columns import canonical
from fti_assets.core.types.vectors import are_vectors, matrix, plain_vector, vectors
from fti_assets.errors import DataError
from fti_assets.features.online.rows import blobs_of, online_schema, winners_since
from fti_assets.features.point_in_time.arrays import as_table, fetch_columns
from fti_assets.features.point_in_time.join import point_in_time
from fti_assets.features.rows.layout import Layout
from fti_assets.features.rows.staging import stage
from fti_assets.features.rows.to_lake import to_lake
from fti_assets.features.validation.schema import column_types, vector_types
from fti_assets.inference.serving.requests.values import CONVERTERS
from fti_assets.orchestration.partitions import UNPARTITIONED
from fti_assets.stores.online.blobs import BlobFormat
from fti_assets.stores.online.keys import key_encoder
from fti_assets.stores.online.store import SqliteOnlineStore
from tests.features.oracles import connection_to_shared, relation
from tests.stores.online_stores import KINDS, online_store_of
from tests.support.examples import examples

NUMBERS = st.none() | st.floats(width=32) | st.floats(-1e3, 1e3)
VECTORS = st.none() | st.lists(NUMBERS, max_size=4)


def single(value: list[float | None] | None) -> np.ndarray | None:
    """What numpy makes of a vector."""
    if value is None:
        return None
    with np.errstate(over="ignore"):
        return np.array([np.nan if one is None else one for one in value], dtype=np.float64).astype(np.float32)


def assert_same(one: np.ndarray | None, other: np.ndarray | None) -> None:
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert one.dtype == other.dtype == np.float32
        np.testing.assert_array_equal(one, other)


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(VECTORS, min_size=1, max_size=5), st.sampled_from([pa.float32(), pa.float64()]))
def test_a_vector_is_the_same_on_every_side(values: list[Any], width: pa.DataType) -> None:
    column, expected = Column("x", "vector"), [single(value) for value in values]
    frame = pa.table({"row": range(len(values)), "x": pa.array(values, pa.list_(width))})
    whole = JoinedGroup("g", 1, (JoinedKey("row", "row", "integer"),), (JoinedColumn("x", "x", "vector"),))
    with connection_to_shared() as duck:
        layout = Layout("values_v1", (), (), None, types={"row": "integer"})
        rows = duck.table(stage(duck, frame, layout, [UNPARTITIONED]).table).order("row")
        assert str(rows.types[rows.columns.index("x")]) == ("FLOAT[]" if width == pa.float32() else "DOUBLE[]")
        array = fetch_columns(rows, [column])["x"]
        blobs = dict(blobs_of(duck, rows, whole))
        again = fetch_columns(duck.from_arrow(as_table([column], [values])), [column])["x"]
    assert array.dtype == SIDES["vector"].array
    encode, schema = key_encoder(["integer"], "g_v1"), online_schema(whole)
    blob_format = BlobFormat(schema.columns, event_time=False)
    requests = canonical([CONVERTERS["vector"](plain_vector(one)) for one in expected], "vector")
    for number, one in enumerate(expected):
        key = encode((number,))
        assert blob_format.pack(key, [(None, None, (one,))]) == blobs[key]
        winner = blob_format.winner(key, blobs[key], 0)
        assert winner is not None
        for other in (array[number], again[number], winner.values[0], canonical(values, "vector")[number]):
            assert_same(one, other)
        # JSON has no infinity, which a model gets as missing, as it does NaN.
        finite = None if one is None else np.where(np.isinf(one), np.float32(np.nan), one)
        asked_finite = (
            requests[number]
            if requests[number] is None
            else np.where(np.isinf(requests[number]), np.float32(np.nan), requests[number])
        )
        assert_same(finite, asked_finite)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=examples(25), deadline=None)
@given(data=st.data())
def test_online_reads_are_the_offline_joins(kind: str, data: st.DataObject) -> None:
    names = data.draw(st.permutations(["v", "w", "t", "n"]))
    types = {"v": "FLOAT[]", "w": "DOUBLE[]", "t": "VARCHAR", "n": "DOUBLE"}
    kinds: dict[str, Any] = {"v": "vector", "w": "vector", "t": "text", "n": "number"}
    values = {
        "v": VECTORS,
        "w": VECTORS,
        "t": st.none() | st.sampled_from(["", "é", "abc"]),
        "n": st.none() | st.floats(-9, 9),
    }
    times = data.draw(
        st.lists(
            st.tuples(st.integers(0, 2), st.integers(0, 9), st.integers(0, 4)), unique=True, min_size=1, max_size=8
        )
    )
    rows = [
        {"k": key, "e": EPOCH + timedelta(seconds=event), "a": EPOCH + timedelta(seconds=event + late)}
        | {name: data.draw(of_column) for name, of_column in values.items()}
        for key, event, late in times
    ]
    whole = JoinedGroup(
        "g",
        1,
        (JoinedKey("k", "k", "integer"),),
        tuple(JoinedColumn(name, name, kinds[name]) for name in names),
        event_time="e",
        available_at="a",
    )
    requests = [
        (key, at)
        for key in range(3)
        for at in data.draw(st.lists(st.integers(0, 14), min_size=1, max_size=3, unique=True))
    ]
    columns = [Column(name, kinds[name]) for name in names]
    with ExitStack() as stack:
        duck, store = stack.enter_context(connection_to_shared()), stack.enter_context(online_store_of(kind))
        stored = relation(duck, {"k": "BIGINT", "e": "TIMESTAMP", "a": "TIMESTAMP"} | types, rows)
        spine = [
            {"row": number, "k": key, "p": EPOCH + timedelta(seconds=at)} for number, (key, at) in enumerate(requests)
        ]
        spine_rows = relation(duck, {"row": "BIGINT", "k": "BIGINT", "p": "TIMESTAMP"}, spine)
        joined = point_in_time(duck, spine_rows, [whole], lambda group: stored, prediction_time="p").order("row")
        offline = fetch_columns(joined, columns)
        with store.writing("g_v1") as writer:
            versions = winners_since(duck, stored, whole, 0)
            writer.load(
                online_schema(whole), blobs_of(duck, versions, whole), answers_from=EPOCH, snapshot=1, origin=""
            )
        reader = store.readers([("g_v1", names)], [[0]])
        for number, (key, at) in enumerate(requests):
            [one] = reader.find([key], at * 1_000_000)
            [(many, places)] = reader.find_many([[key, key]], at * 1_000_000)
            for place, column in enumerate(columns):
                expected = offline[column.name][number]
                result = None if one is None else one[2][place]
                if column.type != "vector":
                    np.testing.assert_array_equal(canonical([result], column.type)[0], expected)
                    continue
                assert_same(expected, result)
                is_there = many.won is None or bool(many.won[0])
                is_null = many.nulls is not None and bool(many.nulls[0, place])
                assert_same(expected, many.values(place)[0] if is_there and not is_null else None)  # type: ignore[arg-type]
                assert places is None or places.tolist() == [0, 0]


def declared(width: pa.DataType, size: int = -1) -> Layout:
    schema = pandera.DataFrameSchema(
        {"k": pandera.Column(int), "x": pandera.Column(pd.ArrowDtype(pa.list_(width, size)), nullable=True)}
    )
    types = column_types(schema)
    return Layout("v_v1", ("k",), ("k",), None, schema=schema, types=types, stored_types=vector_types(schema))


@pytest.mark.parametrize(
    ("width", "sql_type"), [(pa.float16(), "FLOAT[]"), (pa.float32(), "FLOAT[]"), (pa.float64(), "DOUBLE[]")]
)
def test_a_declared_width_is_stored_whatever_comes(width: pa.DataType, sql_type: str) -> None:
    comes: list[list[Any]] = [
        [[0.1, 2.0], None],
        [np.float32([0.1, 2.0]), None],
        [np.array([0.1, 2.0]), None],
        [None, None],
    ]
    with connection_to_shared() as duck:
        for values in comes:
            frame = pd.DataFrame({"k": [1, 2], "x": pd.Series(values, dtype=object)})
            rows = stage(duck, frame, declared(width, 2), [UNPARTITIONED])
            assert rows.is_accepted, [one.problem for one in rows.verdicts]
            table = duck.table(rows.table)
            assert str(table.types[table.columns.index("x")]) == sql_type


def test_a_row_of_another_length_breaks_its_rule_by_key() -> None:
    frame = pd.DataFrame({"k": [7, 8, 9], "x": [[1.0, 2.0], [1.0], None]})
    with connection_to_shared() as duck:
        rows = stage(duck, frame, declared(pa.float32(), 2), [UNPARTITIONED])
        [broken] = [one for one in rows.verdicts if not one.passed]
        assert (broken.rule.name, broken.rule.blocking, broken.failures) == ("x_length", True, 1)
        assert broken.problem == "1 row of v_v1 with another count than 2 numbers in 'x'; the row k=8 has 1"
        assert stage(duck, frame, declared(pa.float32()), [UNPARTITIONED]).is_accepted


@pytest.mark.parametrize(
    ("values", "problem"),
    [([[1, 2]], "there was BIGINT"), (["ab"], "there was VARCHAR"), ([[["a"]]], "there was VARCHAR")],
)
def test_what_is_no_list_of_floats_breaks_the_rule_of_columns(values: list[Any], problem: str) -> None:
    with connection_to_shared() as duck:
        rows = stage(duck, pd.DataFrame({"k": [1], "x": values}), declared(pa.float32(), 2), [UNPARTITIONED])
        [broken] = [one for one in rows.verdicts if not one.passed]
        assert broken.rule.name == "columns"
        assert problem in broken.problem


def test_a_number_beyond_the_declared_width_is_refused() -> None:
    frame = pd.DataFrame({"k": [1], "x": [[1e300, 1.0]]})
    with connection_to_shared() as duck:
        with pytest.raises(
            DataError, match="x is .1e.300, 1.0., which has a number beyond the 32 bits that its schema declares"
        ):
            stage(duck, frame, declared(pa.float32(), 2), [UNPARTITIONED])
        assert stage(duck, frame, declared(pa.float64(), 2), [UNPARTITIONED]).is_accepted


def test_a_file_of_vectors_has_pages_that_hold_one(tmp_path: Path) -> None:
    store = SqliteOnlineStore(tmp_path)
    for name, kind, value in (("v_v1", "vector", np.zeros(384, np.float32)), ("n_v1", "number", 1.0)):
        columns = (Column("x", kind),)  # type: ignore[arg-type]
        rows = [(("a",), [(None, None, (value,))])]
        store.load(
            name, key_types=("text",), columns=columns, rows=rows, answers_from=None, snapshot=1, event_time=False
        )
    with (
        sqlite3.connect(tmp_path / "v_v1.sqlite") as vectors_file,
        sqlite3.connect(tmp_path / "n_v1.sqlite") as numbers_file,
    ):
        pages = [one.execute("PRAGMA page_size").fetchone()[0] for one in (vectors_file, numbers_file)]
    assert pages == [16_384, 4_096]


@pytest.mark.parametrize("sql_type", ["FLOAT[2]", "DOUBLE[2]", "FLOAT[]", "DOUBLE[]"])
def test_an_array_of_another_system_is_read_as_a_list(sql_type: str) -> None:
    target = f"{sql_type.partition('[')[0]}[]"
    with connection_to_shared() as duck:
        column = to_lake(duck, "x", sql_type, target)
        rows = duck.sql(
            f"SELECT {column.or_error('', '')} AS x FROM (SELECT unnest([[0.5, NULL], NULL])::{sql_type} AS x)"
        )
        assert [str(kind) for kind in rows.types] == [target]
        assert rows.fetchall() == [([0.5, None],), (None,)]
        arrays = fetch_columns(
            duck.sql(f"SELECT unnest([[0.5, NULL], NULL])::{sql_type} AS x"), [Column("x", "vector")]
        )
    assert_same(arrays["x"][0], np.float32([0.5, np.nan]))
    assert arrays["x"][1] is None


def test_a_matrix_names_the_row_of_another_length() -> None:
    assert matrix(vectors([[1, 2], None, [None, 3]]), 2, what="x").tolist()[0] == [1, 2]
    assert np.isnan(matrix(vectors([None]), 2, what="x")).all()
    with pytest.raises(DataError, match="the vector 'x' has 3 numbers in row 1, where 2 numbers are expected"):
        matrix(vectors([[1, 2], [1, 2, 3]]), 2, what="the vector 'x'")
    with pytest.raises(DataError, match="has 0 numbers in row 0"):
        matrix(vectors([[]]), 2, what="x")


def test_vectors_of_one_length_are_objects() -> None:
    assert vectors([[1.0, 2.0], [3.0, 4.0]]).shape == (2,)
    assert are_vectors(vectors([[1.0]]))
    assert json.dumps(plain_vector(vectors([[0.5, None]])[0])) == "[0.5, null]"


@pytest.mark.parametrize("value", ["x", [True], ["1"], [[1.0]], np.ones((1, 2)), np.array([True]), 1.0, {"a": 1}])
def test_what_is_no_vector_is_refused(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        CONVERTERS["vector"](value)
