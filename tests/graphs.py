"""Small ONNX graphs for the tests of stores."""

import random

import onnx
from onnx import helper


def constant_graph(seed: int = 0, size: int = 1) -> bytes:
    """A graph without inputs, whose one output is ``size`` random bytes; others for another seed."""
    values = onnx.TensorProto(name="value", data_type=onnx.TensorProto.UINT8, dims=[size])
    values.raw_data = random.Random(seed).randbytes(size)
    node = helper.make_node("Constant", [], ["bytes"], value=values)
    output = helper.make_tensor_value_info("bytes", onnx.TensorProto.UINT8, [size])
    graph = helper.make_graph([node], "constant", [], [output])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def endless_graph() -> bytes:
    """A loop without an end."""
    kinds = onnx.TensorProto
    yes = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor("t", kinds.BOOL, [], [True]))
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["go_on"]), helper.make_node("Identity", ["old"], ["new"])],
        "body",
        [
            helper.make_tensor_value_info("step", kinds.INT64, []),
            helper.make_tensor_value_info("going", kinds.BOOL, []),
            helper.make_tensor_value_info("old", kinds.BOOL, []),
        ],
        [helper.make_tensor_value_info("go_on", kinds.BOOL, []), helper.make_tensor_value_info("new", kinds.BOOL, [])],
    )
    loop = helper.make_node("Loop", ["", "yes", "yes"], ["end"], body=body)
    output = helper.make_tensor_value_info("end", kinds.BOOL, [])
    graph = helper.make_graph([yes, loop], "endless", [], [output])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


def nested_graph(depth: int) -> bytes:
    """Functions that each call the one before twice, so that 2**depth nodes are to be unfolded."""
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("nested", 1)]
    functions = []
    for level in range(depth):
        name, domain = (f"f{level - 1}", "nested") if level else ("Identity", "")
        nodes = [helper.make_node(name, [a], [b], domain=domain) for a, b in (("x", "between"), ("between", "y"))]
        functions.append(helper.make_function("nested", f"f{level}", ["x"], ["y"], nodes, opsets))
    value = helper.make_node("Constant", [], ["x"], value=helper.make_tensor("t", onnx.TensorProto.FLOAT, [1], [1.0]))
    call = helper.make_node(f"f{depth - 1}", ["x"], ["y"], domain="nested")
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1])
    graph = helper.make_graph([value, call], "nested", [], [output])
    return helper.make_model(graph, functions=functions, opset_imports=opsets, ir_version=9).SerializeToString()


def graph_that_loops_above(limit: float, steps: int | None = 1_000_000) -> bytes:
    """Of ``numbers`` [n, 1] gives ``probability`` [n], half of each, but loops first if their sum is above a limit; for ever
    without ``steps``."""
    kinds = onnx.TensorProto
    body = helper.make_graph(
        [helper.make_node("Identity", ["going"], ["go_on"]), helper.make_node("Identity", ["old"], ["new"])],
        "body",
        [
            helper.make_tensor_value_info("step", kinds.INT64, []),
            helper.make_tensor_value_info("going", kinds.BOOL, []),
            helper.make_tensor_value_info("old", kinds.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("go_on", kinds.BOOL, []),
            helper.make_tensor_value_info("new", kinds.FLOAT, None),
        ],
    )
    ends = [helper.make_tensor_value_info(name, kinds.FLOAT, None) for name in ("looped", "plain")]
    loops = helper.make_graph(
        [helper.make_node("Loop", ["" if steps is None else "steps", "above", "halves"], ["looped"], body=body)],
        "on",
        [],
        ends[:1],
    )
    passes = helper.make_graph([helper.make_node("Identity", ["halves"], ["plain"])], "off", [], ends[1:])
    constants = [
        helper.make_tensor(name, kinds.FLOAT, [], [value]) for name, value in (("limit", limit), ("half", 0.5))
    ]
    nodes = [
        helper.make_node("ReduceSum", ["numbers"], ["sum"], keepdims=0),
        helper.make_node("Greater", ["sum", "limit"], ["above"]),
        helper.make_node("Mul", ["numbers", "half"], ["halves"]),
        helper.make_node("If", ["above"], ["end"], then_branch=loops, else_branch=passes),
        helper.make_node("ReduceSum", ["end", "columns"], ["probability"], keepdims=0),
    ]
    constants.append(helper.make_tensor("columns", kinds.INT64, [1], [1]))
    constants.append(helper.make_tensor("steps", kinds.INT64, [], [steps or 0]))
    numbers = helper.make_tensor_value_info("numbers", kinds.FLOAT, ["n", 1])
    output = helper.make_tensor_value_info("probability", kinds.FLOAT, ["n"])
    graph = helper.make_graph(nodes, "endless_above", [numbers], [output], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
