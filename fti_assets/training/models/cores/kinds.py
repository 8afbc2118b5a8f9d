"""Which kind of a model something is, and its core."""

from dataclasses import replace
from typing import Any

from fti_assets.core.manifest import Task, each_task
from fti_assets.errors import ModelError
from fti_assets.training.models.cores.boosters import (
    BOOSTERS,
    package_of,
)
from fti_assets.training.models.cores.core import RETURN_KINDS, Core, EncodedRows
from fti_assets.training.models.cores.estimators import is_fitted
from fti_assets.training.models.cores.fitted import booster_core, sklearn_core, sklearn_predict
from fti_assets.training.models.cores.networks import onnx_core, torch_core
from fti_assets.training.models.cores.returns import CHAINS, NOT_YET
from fti_assets.training.models.cores.several import labels_core, quantiles_core
from fti_assets.training.models.parts.frames import Layout

BY_LABEL = ("MultiOutputClassifier", "MultiOutputRegressor")
"""The estimators of scikit-learn that hold one of their own for each label."""


def core_of(model: Any, sample: EncodedRows, task: Task, classes: int, layout: Layout) -> Core:
    """Export a trained model of any kind that is supported.

    Args:
        model: a torch module, a fitted scikit-learn estimator or an ``onnx.ModelProto``.
        sample: a few encoded rows, at least two.
        task: what the model does.
        classes: how many classes a multiclass model tells apart, or how many quantiles or labels there are, else 0.
        layout: how it takes rows.

    Raises:
        ModelError: the kind is not supported, it cannot be exported, or its output has not the task's shape.
        MissingExtraError: what exports it is not installed.
    """
    if task == "quantile" and isinstance(model, list | tuple):
        return quantiles_core(model, classes, lambda one: core_of(one, sample, "regression", 0, layout))
    each = each_task(task)
    if each != task and isinstance(model, list | tuple):
        return labels_core(model, classes, task, lambda one: core_of(one, sample, each, 0, layout))
    if each != task and type(model).__name__ in BY_LABEL and is_fitted(model):
        core = labels_core(model.estimators_, classes, task, lambda one: core_of(one, sample, each, 0, layout))
        return replace(core, predict=sklearn_predict(model, sample, task, classes, layout))
    packages = [kind.__module__.split(".")[0] for kind in type(model).__mro__]
    foreign_kind = next((package for package in packages if package in NOT_YET), None)
    if foreign_kind is not None:
        raise ModelError(
            f"{type(model).__name__} is a model of {foreign_kind}, which is not supported yet: return {RETURN_KINDS}"
        )
    if "torch" in packages:
        return torch_core(model, sample, task, classes)
    if task == "quantile" and (package_of(model) in BOOSTERS or "sklearn" in packages):
        if classes == 1:
            return quantiles_core([model], classes, lambda one: core_of(one, sample, "regression", 0, layout))
        raise ModelError(
            f"{type(model).__name__} answers one number, but there are {classes} levels: return a list of estimators, one for each, in "
            "the order of data.levels"
        )
    if each != task and (package_of(model) in BOOSTERS or type(model).__name__ in CHAINS):
        kind = "Classifier" if each == "binary" else "Regressor"
        is_chain = type(model).__name__ in CHAINS
        what = "is a chain of models, which skl2onnx does not convert" if is_chain else "answers one label in a graph"
        raise ModelError(
            f"{type(model).__name__} {what}, and there are {classes} labels: put {'its estimator' if is_chain else 'it'} into "
            f"scikit-learn's MultiOutput{kind}, or return a list of models, one for each label, in the order of data.labels. A function "
            "that says what it returns is refused before it trains"
        )
    if package_of(model) in BOOSTERS:
        return booster_core(model, sample, task, classes, layout)
    if "sklearn" in packages:
        return sklearn_core(model, sample, task, classes, layout)
    if type(model).__name__ == "ModelProto":
        return onnx_core(model, sample, task, classes)
    raise ModelError(f"{type(model).__name__} cannot be exported: return {RETURN_KINDS}")
