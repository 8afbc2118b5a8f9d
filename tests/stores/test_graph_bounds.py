"""A graph that may never end, or does not hold what it declares, is refused before onnxruntime sees it."""

import math
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, parser

from fti_assets.errors import DamagedError
from fti_assets.stores.models.graphs.bounds import check_bounds
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.stores.models.graphs.onnx_parts import Model
from fti_assets.stores.models.graphs.size_rules.table import RULES
from fti_assets.stores.models.graphs.size_rules.tensor_size import TensorSize
from fti_assets.stores.models.graphs.sizes import Sizes
from tests.graphs import graph_that_loops_above
from tests.support.examples import SOAK, repetitions

HEAD = '<ir_version: 9, opset_import: ["" : 17, "own" : 1, "ai.onnx.ml" : 3, "com.microsoft" : 1]>'
BODY = "<body = b (int64 i, bool c, float[n] a) => (bool d, float[n] e) { d = Identity(c)  e = Add(a, one) }>"
ONE = "one = Constant<value = float {1.0}>()  yes = Constant<value = bool {1}>()"


def model(nodes: str, functions: str = "", constants: str = "") -> onnx.ModelProto:
    """A graph of ``x`` [n], whole numbers ``k`` [1] and ``y`` [n]."""
    graph = f"g (float[n] x, int64[1] k) => (float[n] y) {constants} {{ {ONE} {nodes} }}"
    return parser.parse_model(f"{HEAD} {graph} {functions}")


def looping(count: str) -> str:
    return f"{count}  y = Loop{BODY}(m, yes, x)"


FUNCTION = f'<domain: "own", opset_import: ["" : 17]> adding (m, x) => (y) {{ {ONE} y = Loop{BODY}(m, yes, x) }}'
ENDING = {
    "constant": (model(looping("m = Constant<value = int64 {5}>()")), 5),
    "count of an attribute": (model(looping("m = Constant<value_int = 5>()")), 5),
    "rows": (model(looping("m = Size(x)")), 3),
    "a part of a shape": (model(looping("s = Shape(x)  z = Constant<value = int64 {0}>()  m = Gather(s, z)")), 3),
    "twice the rows and one": (
        model(looping("s = Size(x)  t = Constant<value = int64 {2}>()  u = Mul(s, t)  v = Constant<value = int64 {1}>()  m = Add(u, v)")),
        7,
    ),
    "at most a constant": (model(looping("t = Constant<value = int64 {4}>()  w = Min(k, t)  m = Squeeze(w)")), 4),
    "function": (model("m = Size(x)  y = own.adding(m, x)", FUNCTION), 3),
    "within itself": (
        model(
            "m = Size(x)  y = Loop<body = o (int64 i, bool c, float[n] a) => (bool d, float[n] e) "
            "{ d = Identity(c)  t = Constant<value = int64 {2}>()  "
            "e = Loop<body = p (int64 j, bool f, float[n] q) => (bool h, float[n] r) { h = Identity(f)  r = Add(q, one) }>(t, c, a) }>"
            "(m, yes, x)"
        ),
        6,
    ),
    "scan": (
        model(
            "zero = Constant<value = float {0.0}>()  s, w = Scan<num_scan_inputs = 1, body = b (float a, float v) => (float e, float u) "
            "{ e = Add(a, one)  u = Identity(v) }>(zero, x)  y = Add(w, s)"
        ),
        3,
    ),
}  # fmt: skip
ENDLESS = {
    "no count": model(f"y = Loop{BODY}(, yes, x)"),
    "a value": model(looping("m = Squeeze(k)")),
    "a sum of values": model(looping("t = ReduceSum<keepdims = 0>(x)  m = Cast<to = 7>(t)")),
    "the greatest count": model(looping("m = Constant<value = int64 {9223372036854775807}>()")),
    "a shape that a value makes": model(looping("t = ConstantOfShape(k)  m = Size(t)")),
    "a range that a value ends": model(
        looping("z = Constant<value = int64 {0}>()  o = Constant<value = int64 {1}>()  e = Squeeze(k)  r = Range(z, e, o)  m = Size(r)")
    ),
    "a count that is negated after Min": model(looping("t = Constant<value = int64 {4}>()  w = Min(k, t)  v = Neg(w)  m = Squeeze(v)")),
    "a function of a value": model("m = Squeeze(k)  y = own.adding(m, x)", FUNCTION),
    "functions in functions": model(
        "m = Squeeze(k)  y = own.outer(m, x)",
        f'{FUNCTION} <domain: "own", opset_import: ["" : 17, "own" : 1]> outer (m, x) => (y) {{ y = own.adding(m, x) }}',
    ),
    "products": model(
        "m = Constant<value = int64 {100000}>()  y = Loop<body = o (int64 i, bool c, float[n] a) => (bool d, float[n] e) "
        "{ d = Identity(c)  e = Loop<body = p (int64 j, bool f, float[n] q) => (bool h, float[n] r) "
        "{ h = Identity(f)  r = Add(q, one) }>(m, c, a) }>(m, yes, x)"
    ),
    "a size that grows with each step": model(
        "m = Size(x)  y, w = Loop<body = o (int64 i, bool c, float[n] a, float[l] b) => (bool d, float[n] e, float[l2] v) "
        "{ d = Identity(c)  v = Concat<axis = 0>(b, b)  u = Size(v)  "
        "e = Loop<body = p (int64 j, bool f, float[n] q) => (bool h, float[n] r) { h = Identity(f)  r = Add(q, one) }>(u, c, a) }>"
        "(m, yes, x, x)"
    ),
    "a condition behind If": onnx.load_from_string(graph_that_loops_above(1e6, steps=None)),
    "a function that calls itself": model(
        "y = own.again(x)", '<domain: "own", opset_import: ["own" : 1]> again (x) => (y) { y = own.again(x) }'
    ),
}  # fmt: skip


@pytest.mark.parametrize(("graph", "steps"), ENDING.values(), ids=ENDING)
def test_a_loop_with_a_bound_runs(graph: onnx.ModelProto, steps: int) -> None:
    loaded = Graph.plain(graph.SerializeToString(), what="it")
    feeds = {"x": np.array([1, 2, 3], np.float32), "k": np.array([9], np.int64)}
    assert loaded.run_feeds(feeds)["y"].tolist() == [1 + steps, 2 + steps, 3 + steps]


@pytest.mark.parametrize("graph", ENDLESS.values(), ids=ENDLESS)
def test_a_loop_that_may_never_end_is_refused(graph: onnx.ModelProto) -> None:
    with pytest.raises(DamagedError, match=r"^it is a graph that is not run: (its|with its) ") as raised:
        Graph.plain(graph.SerializeToString(), what="it")
    assert len(str(raised.value)) < 300


def test_a_constant_that_a_request_may_replace_is_no_bound() -> None:
    graph = model(looping(""), constants="<int64 m = {3}>")
    check_bounds(graph.SerializeToString())
    graph.graph.input.append(helper.make_tensor_value_info("m", onnx.TensorProto.INT64, []))
    with pytest.raises(DamagedError, match="no trip count"):
        Graph.plain(graph.SerializeToString(), what="it")


SIZE = "n = Constant<value_ints = [262144]>()  two = Concat<axis = 0>(n, n)"
PAIR = "l = Constant<value_ints = [100000, 1]>()  c = ConstantOfShape(l)  m = Constant<value_ints = [1, 100000]>()  r = ConstantOfShape(m)"
HUGE = {
    "shape": f"{SIZE}  w = ConstantOfShape(two)",
    "nodes in another order": "w = ConstantOfShape(two)  two = Concat<axis = 0>(n, n)  n = Constant<value_ints = [262144]>()",
    "expand": f"{SIZE}  w = Expand(one, two)",
    "range": "a = Constant<value = float {0.0}>()  b = Constant<value = float {6e9}>()  w = Range(a, b, one)",
    "tiles": "o = Constant<value_floats = [1.0]>()  t = Constant<value_ints = [100000]>()  u = Tile(o, t)  w = Tile(u, t)",
    "pad": "o = Constant<value_floats = [1.0]>()  p = Constant<value_ints = [0, 9000000000]>()  w = Pad(o, p)",
    "one-hot": f"{PAIR}  i = Cast<to = 7>(c)  d = Constant<value = int64 {{100000}}>()  v = Constant<value_floats = [0.0, 1.0]>()  "
    "w = OneHot(i, d, v)",
    "resize": "o = Constant<value = float[1, 1, 1, 1] {1.0}>()  z = Constant<value_ints = [1, 1, 100000, 100000]>()  w = Resize(o, , , z)",
    "scatter": f"{SIZE}  b = ConstantOfShape(two)  i = Constant<value = int64[1, 2] {{0, 0}}>()  v = Constant<value_floats = [1.0]>()  "
    "w = ScatterND(b, i, v)",
    "eye": f"{SIZE}  b = ConstantOfShape<value = bool[1] {{0}}>(two)  w = EyeLike<dtype = 1>(b)",
    "random": "w = RandomUniform<shape = [100000, 100000]>()",
    "broadcast": f"{PAIR}  w = Add(c, r)",
    "product": f"{PAIR}  w = MatMul(c, r)",
    "letters": f'{PAIR}  w = Einsum<equation = "ij, kl -> il">(c, r)',
    "many": " ".join(f"w{at} = RandomUniform<shape = [100000000]>()" for at in range(9)),
    "sum of sizes": "n = Constant<value_ints = [100000]>()  p = Mul(n, n)  w = ConstantOfShape(p)",
    "size of a tensor": "n = Constant<value_ints = [100000]>()  b = ConstantOfShape(n)  s = Shape(b)  p = Mul(s, s)  "
    "w = ConstantOfShape(p)",
    "each row": "s = Shape(x)  t = Constant<value_ints = [100000000]>()  p = Mul(s, t)  w = ConstantOfShape(p)",
    "convolution": "o = Constant<value = float[1, 1, 2] {1.0, 1.0}>()  f = Constant<value = float[1, 1, 1] {1.0}>()  "
    "w = ConvTranspose<strides = [9000000000]>(o, f)",
    "window": "n = Constant<value = int64 {9000000000}>()  w = HannWindow(n)",
    "a value": "w = ConstantOfShape(k)",
    "a range to a value": "z = Constant<value = int64 {0}>()  o = Constant<value = int64 {1}>()  e = Squeeze(k)  w = Range(z, e, o)",
    "short steps": "a = Constant<value = float {0.0}>()  b = Constant<value = float {1e-9}>()  w = Range(a, one, b)",
    "at most a constant": "t = Constant<value_ints = [9000000000]>()  p = Min(k, t)  w = ConstantOfShape(p)",
    "steps that double": "o = Constant<value_floats = [1.0]>()  m = Constant<value = int64 {40}>()  w = Loop<body = b (int64 i, bool c, "
    "float[p] a) => (bool d, float[q] e) { d = Identity(c)  e = Concat<axis = 0>(a, a) }>(m, yes, o)",
    "steps that stay": "n = Constant<value_ints = [1000000]>()  o = ConstantOfShape(n)  m = Constant<value = int64 {100000}>()  "
    "u, w = Loop<body = b (int64 i, bool c, float[p] a) => (bool d, float[p] e, float[p] f) { d = Identity(c)  e = Identity(a)  "
    "f = Identity(a) }>(m, yes, o)",
    "text": 'o = Constant<value_strings = ["abc"]>()  t = Constant<value_ints = [1000000000]>()  w = Tile(o, t)',
    "function": f"{SIZE}  w = own.larger(two)",
    "where not zero": "n = Constant<value_ints = [100000000]>()  b = ConstantOfShape(n)  i = NonZero(b)  w = Cast<to = 1>(i)",
    "size of what is not zero": "n = Constant<value_ints = [100000]>()  b = ConstantOfShape(n)  i = NonZero(b)  s = Shape(i)  "
    "p = Mul(s, s)  w = ConstantOfShape(p)",
    "pieces": "n = Constant<value_ints = [30000000]>()  b = ConstantOfShape(n)  q = SplitToSequence(b)  "
    "w = ConcatFromSequence<axis = 0>(q)",
    "pairs of a sequence": f"{PAIR}  q = SequenceConstruct(c, r)  i = Constant<value = int64 {{0}}>()  j = SequenceAt(q, i)  w = Add(j, r)",
    "pairs in a shape of data": "l = Constant<value_ints = [100000]>()  b = ConstantOfShape(l)  g = Concat<axis = 0>(k, k)  "
    "c = Reshape(b, g)  w = Add(c, b)",
    "of nothing": "l = Constant<value_ints = [100000, 0, 100000]>()  b = ConstantOfShape(l)  w = ReduceMax<axes = [1]>(b)",
    "grams": 'i = Cast<to = 7>(x)  w = TfIdfVectorizer<mode = "TF", max_gram_length = 1, min_gram_length = 1, max_skip_count = 0, '
    "ngram_counts = [0], ngram_indexes = [4294967295], pool_int64s = [1]>(i)",
    "mel": "a = Constant<value = int64 {60000}>()  b = Constant<value = int64 {120000}>()  h = Constant<value = int64 {16000}>()  "
    "z = Constant<value = float {0.0}>()  w = MelWeightMatrix(a, b, h, z, one)",
    "targets": "w = ai.onnx.ml.LinearRegressor<targets = 4294967296, coefficients = [1.0]>(x)",
    "vectors": "w = ai.onnx.ml.FeatureVectorizer<inputdimensions = [4294967296]>(x)",
    "regions": "o = Constant<value = float[1, 1, 1, 1] {1.0}>()  b = Constant<value = float[1, 4] {0.0, 0.0, 1.0, 1.0}>()  "
    "i = Constant<value_ints = [0]>()  w = RoiAlign<output_height = 100000, output_width = 100000>(o, b, i)",
    "onnxruntime's pad": "o = Constant<value_floats = [1.0]>()  p = Constant<value_ints = [0, 9000000000]>()  w = com.microsoft.Pad(o, p)",
    "onnxruntime's range": "a = Constant<value = float {0.0}>()  b = Constant<value = float {6e9}>()  w = com.microsoft.Range(a, b, one)",
    "onnxruntime's range to a value": "z = Constant<value = int64 {0}>()  e = Squeeze(k)  w = com.microsoft.Range(z, e)",
    "onnxruntime's range of one's steps": "z = Constant<value = int64 {0}>()  e = Constant<value = int64 {9000000000}>()  "
    "w = com.microsoft.Range(z, e)",
    "onnxruntime's product": f"{PAIR}  w = com.microsoft.FusedMatMul(c, r)",
    "an attribute of a function": "w = own.random<shape = [100000, 100000]>()",
    "branch": f"{SIZE}  w = If<then_branch = t () => (float[p] u) {{ u = ConstantOfShape(two) }}, "
    "else_branch = e () => (float[p] v) { v = Identity(x) }>(yes)",
}  # fmt: skip
LARGER = '<domain: "own", opset_import: ["" : 17]> larger (s) => (w) { w = ConstantOfShape(s) }'
LARGER += (
    '<domain: "own", opset_import: ["" : 17]> random<shape>() => (w) { w = RandomUniform<shape: ints = @shape>() }'
)
# Operators without a rule: they run graphs, give maps, no more than their rows times what is written in the model, or nothing, since
# onnxruntime does not run them on a CPU.
WITHOUT_RULE = {
    "If", "Loop", "Scan", "SequenceMap", "ZipMap", "DictVectorizer", "OneHotEncoder", "LinearClassifier", "SVMClassifier", "SVMRegressor",
    "TreeEnsembleClassifier", "CausalConvWithState", "LinearAttention", "ImageDecoder",
}  # fmt: skip
SMALL = {
    "shape of what is asked": "s = Shape(x)  z = Expand(one, s)  y = Add(x, z)",
    "parts of it": "s = Shape(x)  t = Constant<value_ints = [7]>()  u = Concat<axis = 0>(s, t)  z = ConstantOfShape(u)  y = Add(x, one)",
    "chosen sizes": "s = Shape(x)  t = Constant<value_ints = [-1]>()  q = Equal(t, s)  r = Shape(s)  "
    "o = ConstantOfShape<value = int64[1] {1}>(r)  u = Where(q, o, s)  z = Expand(one, u)  y = Add(x, z)",
    "at most a constant": "t = Constant<value_ints = [9]>()  p = Min(k, t)  w = ConstantOfShape(p)  y = Add(x, one)",
    "rows of a range": "z = Constant<value = int64 {0}>()  o = Constant<value = int64 {1}>()  s = Size(x)  w = Range(z, s, o)  "
    "y = Add(x, one)",
    "onnxruntime's range": "z = Constant<value = int64 {0}>()  s = Size(x)  t = Constant<value = int64 {4}>()  p = Squeeze(k)  "
    "q = Min(p, t)  w = com.microsoft.Range(z, q)  y = Add(x, one)",
    "a large constant": "n = Constant<value_ints = [50000000]>()  w = ConstantOfShape(n)  y = Add(x, one)",
}  # fmt: skip


@pytest.mark.parametrize("nodes", HUGE.values(), ids=HUGE)
def test_a_graph_that_would_take_all_memory_is_refused(nodes: str) -> None:
    """Nothing is made of it: onnxruntime computes some of these when it loads the graph."""
    with pytest.raises(
        DamagedError,
        match=r"a graph that is not run: .*(it takes [\d.]+ GiB for|makes as many|may make more|cannot be determined)",
    ) as raised:
        Graph.plain(model(f"{nodes}  y = Identity(x)", LARGER).SerializeToString(), what="it")
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize("nodes", SMALL.values(), ids=SMALL)
def test_a_graph_whose_sizes_are_bounded_runs(nodes: str) -> None:
    loaded = Graph.plain(model(nodes).SerializeToString(), what="it")
    assert loaded.run_feeds({"x": np.array([1, 2, 3], np.float32), "k": np.array([9], np.int64)})["y"].tolist() == [
        2,
        3,
        4,
    ]


@pytest.mark.parametrize("domain", ["", "ai.onnx.ml"])
def test_each_operator_of_onnx_has_a_rule_of_its_sizes(domain: str) -> None:
    names = {schema.name for schema in onnx.defs.get_all_schemas() if schema.domain == domain}
    assert names
    assert sorted(names - set(RULES) - WITHOUT_RULE) == []


@pytest.mark.skipif(not SOAK, reason="onnx computes its examples for five seconds")
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_sizes_are_never_less_than_in_onnx_own_examples() -> None:
    from onnx.backend.test.case.node import collect_testcases

    compared = 0
    for case in collect_testcases(None):
        for input_rows, made in case.data_sets or []:
            if any(not isinstance(one, np.ndarray | np.generic) for one in input_rows):
                continue
            read = Model.of(case.model.SerializeToString())
            sizes = Sizes(read, 1, 2**40, lambda node, taken: AssertionError(f"{node.op} takes {taken}"))
            inputs = dict(zip(read.graph.inputs, map(known, input_rows), strict=False))
            for array, one in zip(made, sizes._outputs(read.graph, {}, inputs, 0), strict=False):
                if one is not None and isinstance(array, np.ndarray) and array.dtype.kind in "iufb":
                    assert one.bytes >= array.nbytes, (case.name, one, array.shape)
                    compared += 1
    assert compared > 1000


def known(array: np.ndarray[Any, Any]) -> TensorSize:
    is_text = array.dtype.kind in "OUS"
    values = array if array.size <= 1000 and array.dtype.kind in "iufb" else None
    return TensorSize(array.shape, 40 if is_text else array.itemsize, values)


def external() -> onnx.TensorProto:
    tensor = onnx.TensorProto(name="far", data_type=1, dims=[1], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="weights.bin")
    return tensor


def huge() -> onnx.TensorProto:
    return onnx.TensorProto(name="far", data_type=1, dims=[2**20, 2**20])


def sparse() -> onnx.SparseTensorProto:
    values = helper.make_tensor("far", onnx.TensorProto.FLOAT, [1], [1.0])
    return helper.make_sparse_tensor(values, helper.make_tensor("at", onnx.TensorProto.INT64, [1], [0]), [2**40])


def holding(tensor: Any) -> Iterator[tuple[str, onnx.ModelProto]]:
    """A model with a tensor in each place that may hold one; nothing uses it."""
    kind = "sparse_value" if isinstance(tensor, onnx.SparseTensorProto) else "value"
    field = "sparse_initializer" if kind == "sparse_value" else "initializer"
    constant = helper.make_node("Constant", [], ["unused"], **{kind: tensor})
    inner = "f = Constant<value = bool {1}>()  y = If<then_branch = t () => (float[n] u) { u = Identity(x) }, "
    inner += "else_branch = e () => (float[n] v) { v = Add(x, x) }>(f)"
    for place in ("graph", "node", "subgraph", "subgraph's node", "function"):
        made = model(inner if place.startswith("subgraph") else "m = Size(x)  y = own.adding(m, x)", FUNCTION)
        graph = made.graph.node[-1].attribute[0].g if place.startswith("subgraph") else made.graph
        if place in ("graph", "subgraph"):
            getattr(graph, field).append(tensor)
        else:
            (made.functions[0] if place == "function" else graph).node.insert(0, constant)
        yield place, made


@pytest.mark.parametrize(
    ("tensor", "message"),
    [(external(), "'far' is kept in another file"), (huge(), "'far' declares '1048576 x"), (sparse(), "'far' declares '1099511627776'")],
    ids=["external", "huge", "sparse"],
)  # fmt: skip
def test_constants_that_are_not_in_the_graph_are_refused(tensor: Any, message: str) -> None:
    for place, graph in holding(tensor):
        with pytest.raises(DamagedError, match=f"^it is a graph that is not run: its constant {message}"):
            Graph.plain(graph.SerializeToString(), what="it")
        assert place


def test_functions_may_not_be_named_as_operators() -> None:
    graph = model("y = Identity(x)", '<domain: "", opset_import: ["" : 17]> Loop (x) => (y) { y = Identity(x) }')
    with pytest.raises(DamagedError, match="'Loop' has the name of an operator"):
        Graph.plain(graph.SerializeToString(), what="it")


def test_bytes_in_another_format_are_refused() -> None:
    with pytest.raises(DamagedError, match="cannot be loaded as an ONNX graph"):
        Graph.plain(b"\x28\x00\x00\x00ORTM" + bytes(200), what="it")


def parts(graph: Any) -> list[Any]:
    """What ``onnx`` itself reads of a graph or function, as ``Model`` gives it."""
    return [
        (node.op_type, node.domain, list(node.input), list(node.output), [parts(one.g) for one in node.attribute if one.type == 5])
        for node in graph.node
    ]  # fmt: skip


def read_parts(graph: Any) -> list[Any]:
    return [(one.op, one.domain, one.inputs, one.outputs, [read_parts(g) for g in one.graphs.values()]) for one in graph.nodes]  # fmt: skip


def long_attributes() -> onnx.ModelProto:
    """Attributes whose values look like the tags of fields, and whose numbers are long."""
    numbers = [0, 8, 64, 61, -1, 2**62, *range(300)] * 20
    tree = helper.make_node(
        "Odd", ["x"], ["y"], domain="own", ints=numbers, floats=[math.pi, 0.0, -1.0] * 500, texts=["=@@=", ""] * 200, one=2.5, whole=-3
    )  # fmt: skip
    graph = helper.make_graph([tree], "g", [], [])
    return helper.make_model(graph, ir_version=9)


def test_parts_are_those_that_onnx_reads() -> None:
    for graph in [*(graph for graph, _ in ENDING.values()), *ENDLESS.values(), long_attributes()]:
        read = Model.of(graph.SerializeToString())
        assert read_parts(read.graph) == parts(graph.graph)
        functions = {(one.domain, one.name, ""): parts(one) for one in graph.functions}
        assert {name: read_parts(one) for name, one in read.functions.items()} == functions
        dims = {one.name: list(one.dims) for one in graph.graph.initializer}
        assert {name: one.dims for name, one in read.graph.constants.items()} == dims


def test_numbers_of_constants_are_read() -> None:
    numbers = [3, -1, 2**62]
    for tensor in (
        helper.make_tensor("m", onnx.TensorProto.INT64, [3], numbers),
        helper.make_tensor("m", onnx.TensorProto.INT64, [3], np.array(numbers, np.int64).tobytes(), raw=True),
    ):
        graph = helper.make_graph([], "g", [], [], [tensor])
        assert Model.of(helper.make_model(graph).SerializeToString()).graph.constants["m"].values() == numbers


def test_damaged_bytes_are_a_value_error_or_read() -> None:
    draw = random.Random(7)
    whole = [graph.SerializeToString() for graph in (*ENDLESS.values(), long_attributes())]
    refused = 0
    for _ in range(repetitions(2_000)):
        data = bytearray(draw.choice(whole))
        for _ in range(draw.randint(1, 4)):
            data[draw.randrange(len(data))] = draw.randrange(256)
        try:
            check_bounds(bytes(data[: draw.choice([len(data), draw.randrange(len(data))])]))
        except ValueError:
            refused += 1
    assert refused
