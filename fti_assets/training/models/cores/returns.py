"""What a model's function says that it returns: what cannot be exported is refused before anything is trained."""

from __future__ import annotations

from typing import Any

from fti_assets.core.extras import require
from fti_assets.core.manifest import CLASSIFIES, Task, each_task
from fti_assets.errors import DeclarationError
from fti_assets.training.models.cores.boosters import BOOSTERS

NOT_YET = ("catboost",)
"""The packages whose models are not supported."""

CHAINS = ("ClassifierChain", "RegressorChain")
"""The estimators of several labels that no converter knows, since each takes the answers of those before."""


def check_return(kind: Any, task: Task, *, what: str, levels: int = 0) -> None:
    """Refuse a class of models that can never be exported for a task.

    Args:
        kind: what the function's result is annotated with; anything but a class says nothing.
        what: names the model.
        levels: how many quantiles there are.

    Raises:
        DeclarationError: no model of the class can be one of the task, or of any.
    """
    if not isinstance(kind, type):
        return
    packages, names = _line(kind)
    foreign = next((package for package in packages if package in NOT_YET), None)
    if foreign:
        raise DeclarationError(
            f"{what} returns {kind.__name__}, a model of {foreign}, which is not supported yet: return one of LightGBM, XGBoost, "
            "scikit-learn or torch, or an onnx.ModelProto"
        )
    if not {*BOOSTERS, "sklearn"} & set(packages) or not hasattr(kind, "fit"):
        return
    if (each := each_task(task)) != task:
        by_label = f"scikit-learn's MultiOutput{'Classifier' if each == 'binary' else 'Regressor'}"
        if set(BOOSTERS) & set(packages):
            raise DeclarationError(
                f"{what} returns {kind.__name__}, which answers one label, and its view has several: return {by_label} of it, or "
                "a list of models, one for each label"
            )
        if kind.__name__ in CHAINS:
            raise DeclarationError(
                f"{what} returns {kind.__name__}, which skl2onnx does not convert: return {by_label}"
            )
    is_classifier, is_regressor = "ClassifierMixin" in names, "RegressorMixin" in names
    numeric = task not in CLASSIFIES
    if numeric and is_classifier and not is_regressor:
        raise DeclarationError(f"{what} returns {kind.__name__}, a classifier, but its task is {task}")
    if levels > 1:
        raise DeclarationError(
            f"{what} returns {kind.__name__}, which answers one number, but it has {levels} levels: return a list of them, one for each"
        )
    if not numeric and is_regressor and not is_classifier:
        raise DeclarationError(f"{what} returns {kind.__name__}, a regressor, but its task is {task}")
    if not numeric and is_classifier and not hasattr(kind, "predict_proba"):
        raise DeclarationError(
            f"{what} returns {kind.__name__}, which has no predict_proba, but a {task} model needs it: put it into "
            "CalibratedClassifierCV, or return another classifier"
        )
    if kind.__name__.endswith("Ranker") and task != "ranking":
        raise DeclarationError(f"{what} returns {kind.__name__}, which ranks rows of a group, but its task is {task}")


def check_converters(kind: Any) -> None:
    """Fail before training where the converter of what will be returned is not installed.

    Raises:
        MissingExtraError: it is not.
    """
    if not isinstance(kind, type):
        return
    packages, _ = _line(kind)
    if set(BOOSTERS) & set(packages):
        require("onnxmltools")
    elif "sklearn" in packages:
        require("skl2onnx")


def _line(kind: type) -> tuple[list[str], list[str]]:
    """The packages and the names of a class and of those that it is made of."""
    return [one.__module__.partition(".")[0] for one in kind.__mro__], [one.__name__ for one in kind.__mro__]
