"""Export: encoders and core as one ONNX graph, raw columns in and predictions out, compared with the trained model."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from fti_assets.core.extras import require
from fti_assets.core.manifest import BY_NAME, OUTPUT_NAMES, GraphOutput, Task
from fti_assets.errors import ModelError, one_of
from fti_assets.training.encoders.declarations import DENSE
from fti_assets.training.encoders.graph import EncoderModel
from fti_assets.training.encoders.kinds.custom import check_oracles
from fti_assets.training.encoders.nodes import ML_OPSET, OPSET
from fti_assets.training.models.cores.core import MATRIX, TRACING, Core, name_of
from fti_assets.training.models.cores.kinds import core_of
from fti_assets.training.models.data import Part, TrainingData, matrix
from fti_assets.training.models.graphs.comparison_rows import ComparisonRows, comparison_rows, further_rows
from fti_assets.training.models.graphs.parity import (
    OUTLIERS,
    ExportedModel,
    check_alone,
    check_further,
    check_parity,
    is_finite,
    reason_and_advice,
    refuse_lost,
)
from fti_assets.training.models.parts.frames import layout_of

_OLDEST_OPSET = 10
_OLDEST_OF_QUANTILES = 11  # whose TopK can put in ascending order
_OLDEST_ML_OPSET = 3
_OLDEST_LABEL_ENCODER = 2


def export(trained_model: Any, encoder_model: EncoderModel, data: TrainingData, task: Task) -> ExportedModel:
    """Put the encoders in front of a trained model, as one ONNX graph, and compare that with the model.

    The graph gives ``probability`` float32 ``[n]``, ``probabilities`` ``[n, k]``, ``value`` ``[n]``, ``values`` ``[n, k]`` of several
    labels, or ``quantiles`` ``[n, q]``, which ascend: where those of the trained model cross, they are put in order. Source: Chernozhukov,
    Fernández-Val and Galichon, "Quantile and Probability Curves Without Crossing" (2010).

    Args:
        trained_model: a torch module whose ``forward`` takes the dict of encoded tensors and gives logits (binary ``[n]`` or
            ``[n, 1]``, multiclass and several labels ``[n, k]``) or values (``[n]`` or ``[n, 1]``, of
            several labels ``[n, k]``); a scikit-learn estimator fitted on
            ``data.train.X`` or a frame; a model of LightGBM or XGBoost fitted likewise; or an ``onnx.ModelProto`` with inputs
            ``dense`` and Embedding features and one output, logits or values.
        encoder_model: the encoder graph, ``data.encoder``; in front of a model that was fitted on ``data.train.frame`` goes that of raw
            features.
        data: whose rows, and others made from them, the outputs are compared on: ``comparison_rows``.
        task: what the model does.

    Raises:
        ModelError: the model is of no supported kind, cannot be exported, gives the wrong shape or no numbers, or cannot answer
            a row in which a feature is missing, as requests may have it.
        ExportError: the graph differs from the trained model, as ``check_parity`` says, or a torch module's forward branches on values.
        MissingExtraError: what exports it is not installed.

    >>> exported = export(net, data.encoder, data, "binary")  # doctest: +SKIP
    >>> exported.outputs  # doctest: +SKIP
    (GraphOutput(name='probability', type='float32'),)
    """
    onnx = require("onnx")
    if type(trained_model).__name__ == "ModelProto":
        reject_external_data(trained_model)
    rows = comparison_rows(data)
    layout = layout_of(data.frames, trained_model, matrix)
    if layout.kind == "raw":
        encoder_model = layout.encoder
    arrays = encoder_model.encode(rows.columns)
    check_oracles(encoder_model.encoders, rows.columns, arrays[DENSE], encoder_model.dense_columns)
    classes = data.classes
    few = _few(arrays, rows.rows)
    core = core_of(trained_model, few, task, len(classes), layout)
    # The last row of each Embedding table, whichever categories the compared rows have.
    core.predict(few | {name: np.full_like(few[name], size - 1) for name, size in encoder_model.cardinalities.items()})
    try:
        model = _merge(onnx, encoder_model, core, task, len(classes))
        reject_external_data(model)
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise ModelError(f"the exported graph is not valid ONNX{reason_and_advice(error, core.advice)}") from error
    names = {one.name for one in model.graph.input}
    result = ExportedModel(
        bytes=model.SerializeToString(),
        inputs=tuple(one for one in encoder_model.inputs if one.name in names),
        outputs=(GraphOutput(OUTPUT_NAMES[task], "float32"),),
        classes=classes,
        encoders=encoder_model.encoders,
    )
    model = f"the trained model ({name_of(trained_model)})"
    places, answers = _answers(core, arrays, rows, model=model)
    if core.advice == TRACING:
        check_alone(core, arrays, rows, answers[: rows.kinds.count("")])
    outliers = OUTLIERS if core.has_trees else 0.0
    samples, comparison = check_parity(
        result,
        rows.part(places),
        answers,
        advice=core.advice,
        model=name_of(trained_model),
        outliers=outliers,
    )
    for more in further_rows(data):
        encoded = encoder_model.encode(more.columns)
        check_oracles(encoder_model.encoders, more.columns, encoded[DENSE], encoder_model.dense_columns)
        answers = core.predict(encoded)
        refuse_lost(more, answers, model)
        comparison = check_further(result, more, answers, comparison, advice=core.advice, outliers=outliers)
    return dataclasses.replace(result, samples=samples, comparison=comparison)


def answers_on(trained_model: Any, data: TrainingData, part: Part, task: Task) -> np.ndarray:
    """What a trained model itself answers on a part, without its graph: probabilities or values, ``[n]`` or ``[n, k]``.

    Args:
        trained_model: as for ``export``.
        data: what it was trained on.
        part: a part of it, with rows.
        task: what the model does.

    Raises:
        ModelError: the model is of no supported kind, cannot be exported, or gives the wrong shape.
    """
    layout = layout_of(data.frames, trained_model, matrix)
    arrays = layout.encoder.encode(part.columns) if layout.kind == "raw" else part.inputs
    core = core_of(trained_model, _few(arrays, part.rows), task, len(data.classes), layout)
    return core.predict(arrays)


def _few(arrays: Mapping[str, np.ndarray], rows: int) -> dict[str, np.ndarray]:
    """The first of some encoded rows."""
    size = max(2, min(rows, 8))  # a module with batch normalization cannot take one row
    return {name: np.resize(values[:8], (size, values.shape[1])) for name, values in arrays.items()}


def _answers(
    core: Core, arrays: Mapping[str, np.ndarray], rows: ComparisonRows, *, model: str
) -> tuple[np.ndarray, np.ndarray]:
    """The trained model's answers, ``[n]`` or ``[n, k]``, and the places of their rows: those that are there, and those made-up
    ones that the model has a number for.

    Raises:
        ModelError: it cannot answer a row that is there, or one where a feature is missing.
    """
    kinds = np.array(rows.kinds)
    places = [np.flatnonzero(kinds == "")]
    answers = [core.predict({name: values[places[0]] for name, values in arrays.items()})]
    refuse_lost(rows.part(places[0]), answers[0], model)
    made_up = np.flatnonzero(kinds != "")
    try:  # all at once: a booster takes 15 ms for any number of rows, and each feature has four kinds of them
        at_once = core.predict({name: values[made_up] for name, values in arrays.items()}) if len(made_up) else None
    except Exception:  # whatever the model of a user raises, and of which kind is asked one by one
        at_once = None
    for kind in dict.fromkeys(rows.kinds):
        if not kind:
            continue
        at = np.flatnonzero(kinds == kind)
        try:
            if at_once is None:
                answer = core.predict({name: values[at] for name, values in arrays.items()})
            else:
                answer = at_once[np.searchsorted(made_up, at)]
            finite, reason = is_finite(answer), "it gives no finite number"
        except Exception as error:  # whatever the model of a user raises
            answer, finite = answers[0][: len(at)], np.zeros(len(at), dtype=bool)
            reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]:.300}"
        # Missing values do come in requests; other made-up rows may be beyond what a model can answer, and are left
        # out.
        if kind.endswith(" missing") and not finite.all():
            raise ModelError(
                f"{model} cannot answer a request {kind}: {reason}. Passthrough() and Age() keep what is missing as NaN: give the "
                "feature an encoder that fills it, such as fti.Standardize(), fti.Impute('median') or fti.Age(at=..., missing=0), or "
                "return a model that takes NaN"
            )
        places.append(at[finite])
        answers.append(answer[: len(at)][finite])
    return np.concatenate(places), np.concatenate(answers)


def reject_external_data(model: Any) -> None:
    """Refuse an ``onnx.ModelProto`` that keeps tensors in other files, whatever part of it they are in.

    Raises:
        ModelError: it does.
    """
    external = [name for name, location in _tensors(model) if location == 1]
    if external:
        raise ModelError(
            f"the ONNX model keeps {len(external)} tensors in other files, {one_of(external[:5])} for one: store them "
            "inside, with onnx.load(path) and external_data=False when it was exported"
        )


def _tensors(message: Any) -> Iterator[tuple[str, int]]:
    if message.DESCRIPTOR.name == "TensorProto":
        yield message.name, message.data_location
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            for one in [value] if hasattr(value, "ListFields") else value:
                yield from _tensors(one)


def _merge(onnx: Any, encoder_model: EncoderModel, core: Core, task: Task, classes: int) -> Any:
    # Prefixes keep the names of the two graphs apart; the inputs keep theirs, since requests are arranged by them.
    encoder = onnx.compose.add_prefix(onnx.load_from_string(encoder_model.graph), "encoder.", rename_inputs=False)
    model = onnx.compose.add_prefix(core.model, "core.")
    _meet(onnx, encoder, model, _OLDEST_OF_QUANTILES if task == "quantile" else _OLDEST_OPSET)
    inputs = {one.name for one in model.graph.input}
    if f"core.{MATRIX}" in inputs:
        _add_matrix(onnx, encoder.graph, [DENSE, *encoder_model.cardinalities])
    outputs = [one.name.removeprefix("encoder.") for one in encoder.graph.output]
    seams = [(f"encoder.{name}", f"core.{name}") for name in outputs if f"core.{name}" in inputs]
    # Outputs are named, or an encoded feature that the core does not take would leave the graph as one.
    model = onnx.compose.merge_models(encoder, model, seams, outputs=[f"core.{core.output}"], name="model")
    graph = model.graph
    _add_head(onnx, graph, f"core.{core.output}", core.gives, task, classes)
    # An input that no node takes would be asked of requests for nothing, and onnxruntime warns of it.
    names = {name for node in graph.node for name in node.input}
    spare = [one for one in graph.input if one.name not in names]
    if len(spare) == len(graph.input):
        raise ModelError("the model looks at none of its features: every row would get the same answer")
    for one in spare:
        graph.input.remove(one)
    # What is not computed is left out of the bytes, so that equal models are equal files.
    model.producer_name, model.doc_string, graph.doc_string = "fti_assets", "", ""
    return model


def _meet(onnx: Any, encoder: Any, core: Any, oldest: int) -> None:
    """Give both models the opsets of the core, which the encoders' and the head's operators do not depend on."""
    versions: dict[str, int] = {}
    for opset in core.opset_import:
        domain = "" if opset.domain == "ai.onnx" else opset.domain
        versions[domain] = max(opset.version, versions.get(domain, 0))
    versions = {"": OPSET, "ai.onnx.ml": ML_OPSET} | versions
    if versions[""] < oldest:
        raise ModelError(f"the ONNX model is of opset {versions['']}: export it with opset {oldest} or later")
    if versions["ai.onnx.ml"] < _OLDEST_ML_OPSET:
        if versions["ai.onnx.ml"] < _OLDEST_LABEL_ENCODER and any(
            node.op_type == "LabelEncoder" and node.domain == "ai.onnx.ml" for node in core.graph.node
        ):
            raise ModelError(
                f"the ONNX model is of ai.onnx.ml opset {versions['ai.onnx.ml']}, whose LabelEncoder is another: "
                f"export it with {_OLDEST_ML_OPSET} or later"
            )
        versions["ai.onnx.ml"] = _OLDEST_ML_OPSET  # no other operator of the domain changed its meaning
    versions = {opset.domain: opset.version for opset in encoder.opset_import} | versions  # with those of hashes
    ir_version = max(encoder.ir_version, core.ir_version)
    for model in (encoder, core):
        model.ir_version = ir_version
        del model.opset_import[:]
        model.opset_import.extend(onnx.helper.make_opsetid(*one) for one in versions.items())
    _check_own_nodes(onnx, encoder, versions, ir_version)


def _check_own_nodes(onnx: Any, encoder: Any, versions: Mapping[str, int], ir_version: int) -> None:
    """Refuse operators of a user's own encoder that are others in the opset of the model behind it.

    One that has the same form and another meaning is found when the graph is compared with the trained model.
    """
    if versions[""] == OPSET:
        return
    context = onnx.checker.C.CheckerContext()
    context.ir_version, context.opset_imports = ir_version, dict(versions)
    own_nodes = [node for node in encoder.graph.node if any(name.startswith("encoder.custom.") for name in node.output)]
    for node in own_nodes:
        try:
            onnx.checker.check_node(node, context)
        except onnx.checker.ValidationError as error:
            feature = node.output[0].removeprefix("encoder.custom.").rpartition(".")[0]
            raise ModelError(
                f"the graph of the CustomEncoder of {feature!r} is of opset {OPSET}, and its operator {node.op_type} is another one in "
                f"opset {versions['']}, that of the model behind it ({str(error).splitlines()[0]}): export the model with opset {OPSET}, "
                "or write the encoder with operators that are the same in both"
            ) from error


def _add_matrix(onnx: Any, graph: Any, names: list[str]) -> None:
    floats = [f"encoder.{DENSE}"]
    for name in names[1:]:
        floats.append(f"encoder.float.{name}")
        graph.node.append(onnx.helper.make_node("Cast", [f"encoder.{name}"], floats[-1:], to=onnx.TensorProto.FLOAT))
    output = f"encoder.{MATRIX}"
    graph.node.append(onnx.helper.make_node("Concat", floats, [output], axis=1))
    graph.output.append(onnx.helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, ["n", None]))


def _add_head(onnx: Any, graph: Any, output: str, gives: str, task: Task, classes: int) -> None:
    steps: list[tuple[str, list[str], dict[str, Any]]] = [("Cast", [], {"to": onnx.TensorProto.FLOAT})]
    if gives == "probabilities" and task == "binary":
        graph.initializer.append(onnx.numpy_helper.from_array(np.int64(1), "head.positive"))
        steps.append(("Gather", ["head.positive"], {"axis": 1}))
    if task not in BY_NAME:
        graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1]), "head.flat"))
        steps.append(("Reshape", ["head.flat"], {}))
    if task == "multioutput":  # skl2onnx puts the values of a network one below the other
        graph.initializer.append(onnx.numpy_helper.from_array(np.array([-1, classes]), "head.rows"))
        steps.append(("Reshape", ["head.rows"], {}))
    if gives == "probabilities":  # a forest that is sure adds up to 1.0000001 in float32
        steps.append(("Clip", ["head.nothing", "head.certain"], {}))
        for constant, value in (("head.nothing", 0.0), ("head.certain", 1.0)):
            graph.initializer.append(onnx.numpy_helper.from_array(np.float32(value), constant))
    if gives == "logits":
        steps.append(("Softmax", [], {"axis": 1}) if task == "multiclass" else ("Sigmoid", [], {}))
    name = OUTPUT_NAMES[task]
    for at, (operator, constants, attributes) in enumerate(steps):
        result = name if at == len(steps) - 1 and task != "quantile" else f"head.{at}"
        graph.node.append(onnx.helper.make_node(operator, [output, *constants], [result], **attributes))
        output = result
    if task == "quantile":
        graph.initializer.append(onnx.numpy_helper.from_array(np.array([classes]), "head.levels"))
        ends = [name, "head.order"]
        graph.node.append(onnx.helper.make_node("TopK", [output, "head.levels"], ends, axis=1, largest=0, sorted=1))
    del graph.output[:]
    shape = ["n", classes] if task in BY_NAME else ["n"]
    graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape))
