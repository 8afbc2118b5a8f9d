import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from fti_assets.core.manifest import GraphInput
from fti_assets.core.types import MISSING_INTEGER
from fti_assets.core.types.columns import whole_numbers
from fti_assets.errors import DamagedError, DataError
from fti_assets.stores.models.graphs.graph import Graph
from tests.graphs import constant_graph, nested_graph

INPUTS = (
    GraphInput("numbers", "float32", ("a", "b")),
    GraphInput("text.c", "string", ("c",)),
    GraphInput("integer.d", "int64", ("d",)),
)
COLUMNS = {
    "a": np.array([1.0, np.nan, 1e300]),
    "b": np.array([2.0, 3.0, 4.0]),
    "c": np.array(["x", "", "é"], dtype=object),
    "d": np.array([7.0, np.nan, 2.0]),
    "other": np.array([0.0, 0.0, 0.0]),
}


def model(weights=None):
    """value = b, code = 1 for "x", integer = d."""
    kinds = onnx.TensorProto
    weights = weights or numpy_helper.from_array(np.array([1], np.int64), "at")
    graph = helper.make_graph(
        [
            helper.make_node("Gather", ["numbers", "at"], ["value"], axis=1),
            helper.make_node(
                "LabelEncoder",
                ["text.c"],
                ["code"],
                domain="ai.onnx.ml",
                keys_strings=["x"],
                values_int64s=[1],
                default_int64=0,
            ),
            helper.make_node("Identity", ["integer.d"], ["integer"]),
        ],
        "test",
        [
            helper.make_tensor_value_info("numbers", kinds.FLOAT, ["n", 2]),
            helper.make_tensor_value_info("text.c", kinds.STRING, ["n", 1]),
            helper.make_tensor_value_info("integer.d", kinds.INT64, ["n", 1]),
        ],
        [
            helper.make_tensor_value_info("value", kinds.FLOAT, ["n", 1]),
            helper.make_tensor_value_info("code", kinds.INT64, ["n", 1]),
            helper.make_tensor_value_info("integer", kinds.INT64, ["n", 1]),
        ],
        [weights],
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 4)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8)


@pytest.fixture(scope="module")
def graph():
    return Graph.from_bytes(model().SerializeToString(), INPUTS, what="build v1/x")


def test_columns_are_arranged_as_inputs(graph):
    feeds = graph.feeds(COLUMNS)
    np.testing.assert_array_equal(feeds["numbers"], np.array([[1, 2], [np.nan, 3], [np.inf, 4]], np.float32))
    assert feeds["numbers"].dtype == np.float32
    assert feeds["text.c"].tolist() == [["x"], [""], ["é"]]
    assert feeds["integer.d"].tolist() == [[7], [MISSING_INTEGER], [2]]


def test_run_gives_every_output_by_name(graph):
    answers = graph.run(COLUMNS)
    assert {name: values.tolist() for name, values in answers.items()} == {
        "value": [[2.0], [3.0], [4.0]],
        "code": [[1], [0], [0]],
        "integer": [[7], [MISSING_INTEGER], [2]],
    }


def test_one_row_gives_what_many_give(graph):
    many = graph.run(COLUMNS)
    for row in range(3):
        one = graph.run({name: values[row : row + 1] for name, values in COLUMNS.items()})
        assert {name: values[0].tolist() for name, values in one.items()} == {
            name: values[row].tolist() for name, values in many.items()
        }


def test_no_rows_give_no_rows(graph):
    assert graph.run({name: values[:0] for name, values in COLUMNS.items()})["value"].shape == (0, 1)


def test_many_threads_may_run_one_graph(graph):
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: graph.run(COLUMNS)["value"].tolist(), range(200)))
    assert answers == [[[2.0], [3.0], [4.0]]] * 200


def test_a_missing_feature_is_named(graph):
    with pytest.raises(DataError, match="build v1/x needs the feature 'b'; the columns are 'a'"):
        graph.run({"a": COLUMNS["a"]})


@pytest.mark.parametrize("name", ["a", "b", "c", "d"])
@pytest.mark.parametrize("rows", [1, 3])
def test_columns_of_different_lengths_are_refused(graph, name, rows):
    columns = {other: values[:rows] for other, values in COLUMNS.items()}
    with pytest.raises(DataError, match="one length"):
        graph.run(columns | {name: COLUMNS[name][:2]})


def test_damaged_bytes_are_named():
    whole = model().SerializeToString()
    for damaged in (b"", b"not a graph", whole[: len(whole) // 2], whole[:40] + b"\xff\xfe" * 20 + whole[80:]):
        with pytest.raises(DamagedError, match="build v1/x"):
            Graph.from_bytes(damaged, INPUTS, what="build v1/x")


@pytest.mark.parametrize(
    "inputs",
    [
        INPUTS[:2],
        (*INPUTS, GraphInput("text.e", "string", ("e",))),
        (replace(INPUTS[0], features=("a",)), *INPUTS[1:]),
        (INPUTS[0], replace(INPUTS[1], type="int64"), INPUTS[2]),
    ],
)
def test_other_inputs_than_declared_are_refused(inputs):
    with pytest.raises(DamagedError, match=r"build v1/x has the inputs .* but its record declares"):
        Graph.from_bytes(model().SerializeToString(), inputs, what="build v1/x")


def test_a_graph_that_cannot_run_is_refused():
    broken = model(numpy_helper.from_array(np.array([5], np.int64), "at"))
    with pytest.raises(DamagedError, match="does not run"):
        Graph.from_bytes(broken.SerializeToString(), INPUTS, what="build v1/x")


def test_external_data_in_the_working_directory_is_not_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "weights.bin").write_bytes(np.array([1], np.int64).tobytes())
    external = onnx.TensorProto(name="at", data_type=onnx.TensorProto.INT64, dims=[1])
    external.data_location = onnx.TensorProto.EXTERNAL
    external.external_data.add(key="location", value="weights.bin")
    with pytest.raises(DamagedError):
        Graph.from_bytes(model(external).SerializeToString(), INPUTS, what="build v1/x")


def test_whole_numbers_are_exact_and_anything_else_is_missing():
    values = np.array([0.0, -3.0, 2.0**53, 0.5, np.nan, np.inf, -np.inf, 2.0**63])
    assert whole_numbers(values).tolist() == [0, -3, 2**53, *[MISSING_INTEGER] * 5]


def test_serving_needs_only_numpy_and_onnxruntime():
    heavy = "{'torch', 'onnx', 'dagster', 'pandas', 'duckdb', 'sklearn'}"
    code = f"import sys, fti_assets.stores.models.graphs.graph; assert not {heavy} & set(sys.modules), {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_loading_a_graph_without_an_end_stops():
    with pytest.raises(DamagedError, match=r"build v1/x .*did not end within 0\.01 s"):
        Graph.from_bytes(nested_graph(13), (), what="build v1/x", seconds=0.01)


def test_loading_leaves_no_folder_behind(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    Graph.from_bytes(constant_graph(), (), what="build v1/x")
    assert list(tmp_path.iterdir()) == []
