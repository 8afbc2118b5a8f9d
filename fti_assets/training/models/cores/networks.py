"""Torch modules and ready ONNX models as cores."""

import io
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from fti_assets.core.extras import require
from fti_assets.core.manifest import Task
from fti_assets.errors import ModelError, one_of
from fti_assets.training.encoders.declarations import DENSE
from fti_assets.training.encoders.nodes import OPSET
from fti_assets.training.models.cores.branches import refuse_branches
from fti_assets.training.models.cores.core import (
    Core,
    EncodedRows,
    activate,
    check_shape,
    network_gives,
)
from fti_assets.training.trainer.fits.loop import TABLES

_HALF = ("torch.float16", "torch.bfloat16")


def torch_core(module: Any, sample: EncodedRows, task: Task, classes: int) -> Core:
    """A torch module, traced."""
    torch = require("torch")
    require("onnx")
    names = list(sample)
    module = module.cpu().eval()
    _refuse_half(module)

    class Positional(torch.nn.Module):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, *tensors: Any) -> Any:
            return self.module(dict(zip(names, tensors, strict=True)))

    def predict(arrays: EncodedRows) -> np.ndarray:
        try:
            with torch.no_grad():
                output = module.eval()({name: torch.from_numpy(arrays[name]) for name in names})
        except Exception as error:  # whatever the forward of a user raises
            raise ModelError(_forward_problem(module, arrays, error)) from error
        output = output.float().numpy() if isinstance(output, torch.Tensor) else output
        what = f"forward of {type(module).__name__}"
        return activate(check_shape(output, task, len(arrays[DENSE]), classes, what=what), task)

    predict(sample)
    refuse_branches(module, sample)
    buffer = io.BytesIO()
    try:
        with warnings.catch_warnings():  # the tracer doubts shapes and libraries too; the outputs are compared
            warnings.simplefilter("ignore")
            torch.onnx.export(
                Positional().eval(),
                tuple(torch.from_numpy(sample[name]) for name in names),
                buffer,
                input_names=names,
                output_names=["output"],
                dynamic_axes={name: {0: "n"} for name in [*names, "output"]},
                opset_version=OPSET,
                dynamo=False,
            )
    except Exception as error:
        raise ModelError(f"torch cannot export {type(module).__name__} to ONNX: {error}") from error
    return Core(require("onnx").load_from_string(buffer.getvalue()), "output", network_gives(task), predict)


def _refuse_half(module: Any) -> None:
    tensors = [*module.named_parameters(), *module.named_buffers()]
    half = [(name, str(tensor.dtype)) for name, tensor in tensors if str(tensor.dtype) in _HALF]
    if half:
        name, dtype = half[0]
        raise ModelError(
            f"{type(module).__name__} has {len(half)} tensors of half precision, {name!r} as {dtype} for one, but answers are "
            "computed in float32: return module.float(), and look at its metrics again"
        )


def _forward_problem(module: Any, arrays: EncodedRows, error: Exception) -> str:
    inputs = ", ".join(f"{name!r} {values.dtype} [n, {values.shape[1]}]" for name, values in arrays.items())
    reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]:.300}"
    advice = TABLES if isinstance(error, IndexError) else ""
    return f"forward of {type(module).__name__} fails on encoded rows, a dict of {inputs}: {reason}{advice}"


def onnx_core(model: Any, sample: EncodedRows, task: Task, classes: int) -> Core:
    """An ONNX model as it is."""
    from fti_assets.stores.models.graphs.execution import new_session

    constants = {one.name for one in model.graph.initializer}  # which older exporters list as inputs, too
    inputs = [one.name for one in model.graph.input if one.name not in constants]
    if not set(inputs) <= set(sample):
        raise ModelError(f"the ONNX model has the inputs {one_of(inputs)}, but the encoders give {one_of(sample)}")
    _refuse_other_types(model, inputs)
    if len(model.graph.output) != 1:
        outputs = one_of(one.name for one in model.graph.output)
        raise ModelError(f"the ONNX model has the outputs {outputs}: it needs exactly one, logits or values")
    try:
        session = new_session(model.SerializeToString())
    except Exception as error:
        raise ModelError(f"the ONNX model cannot be loaded: {error}") from error

    def predict(arrays: EncodedRows) -> np.ndarray:
        try:
            (output,) = session.run(None, {name: arrays[name] for name in inputs})
        except Exception as error:
            advice = TABLES if "out of data bounds" in str(error) else ""
            raise ModelError(f"the ONNX model does not run on encoded rows: {error}{advice}") from error
        return activate(check_shape(output, task, len(arrays[DENSE]), classes, what="the ONNX model"), task)

    predict(sample)
    return Core(model, model.graph.output[0].name, network_gives(task), predict)


def _refuse_other_types(model: Any, inputs: Sequence[str]) -> None:
    """Refuse a model that is not given, or does not give, what this project's graphs have."""
    types = require("onnx").TensorProto
    ends = [
        ("input", one, [types.FLOAT if one.name == DENSE else types.INT64])
        for one in model.graph.input
        if one.name in inputs
    ] + [("output", one, [types.FLOAT, types.DOUBLE]) for one in model.graph.output]
    for end, one, allowed_types in ends:
        kind = one.type.tensor_type.elem_type
        if kind and kind not in allowed_types:
            raise ModelError(
                f"the ONNX model has the {end} {one.name!r} as {types.DataType.Name(kind)}, but {types.DataType.Name(allowed_types[0])} "
                "is expected: export it from a model in float32, or put a Cast there"
            )
