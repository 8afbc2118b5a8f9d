"""An exported model whose probabilities are calibrated on the validation part, within its graph."""

from __future__ import annotations

import dataclasses

import numpy as np

from fti_assets.core.manifest import OUTPUT_NAMES, CalibrationRecord, Task
from fti_assets.errors import ModelError, list_some
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.training.calibration.calibrators import Method, calibrated_answers, calibrated_labels, fit_calibrator
from fti_assets.training.calibration.nodes import with_calibration
from fti_assets.training.judging.evaluation import evaluate
from fti_assets.training.models.data import Part, TrainingData
from fti_assets.training.models.graphs.comparison_rows import comparison_rows
from fti_assets.training.models.graphs.parity import ExportedModel, check_parity, is_finite
from fti_assets.training.trainer.parts.rows import run_rows

_METRICS = ("ece", "log_loss", "brier")
_ADVICE = "Leave calibrate= out, or report this"


@dataclasses.dataclass(frozen=True)
class Calibrated:
    """A calibrated model, and what it answered on the test part before, ``[n]`` or ``[n, k]``."""

    exported: ExportedModel
    record: CalibrationRecord
    before: np.ndarray


def calibrated(exported: ExportedModel, method: Method, data: TrainingData, task: Task, *, what: str) -> Calibrated:
    """Fit a calibrator on the validation part and put it behind the graph, which is then compared with it row by row.

    A multiclass model has one calibrator for each class against the rest, a multilabel one for each label.

    Args:
        exported: the model without it.
        method: which calibrator.
        data: its parts.
        task: binary, multiclass or multilabel.
        what: the dataset, for errors.

    Raises:
        ModelError: the validation part has no rows, or lacks a class.
        ExportError: the calibrated graph differs from the calibrator.
    """
    name, validation = OUTPUT_NAMES[task], data.validation
    of_labels = task == "multilabel"
    graph = Graph.from_bytes(exported.bytes, exported.inputs, what="the exported graph")
    if of_labels:
        for label, y in zip(exported.classes, validation.y.T, strict=True):
            _check_classes(y, ("0", "1"), method, f"the label {label!r} of {what}")
    else:
        _check_classes(validation.y, ("0", "1") if task == "binary" else exported.classes, method, what)
    answers = run_rows(graph.run, validation.stored)[name]
    if not is_finite(answers).all():
        raise ModelError(
            f"the exported graph gives no finite answer for some rows in validation of {what}: nothing can be calibrated on them"
        )
    if task == "binary":
        calibrators = [fit_calibrator(method, answers, validation.y == 1, validation.repeats)]
    else:
        truth = validation.y == 1 if of_labels else validation.y[:, None] == np.arange(len(exported.classes))
        calibrators = [
            fit_calibrator(method, answers[:, at], truth[:, at], validation.repeats)
            for at in range(len(exported.classes))
        ]
    calibrate = calibrated_labels if of_labels else calibrated_answers
    calibrated_graph = with_calibration(exported.bytes, name, calibrators, are_classes=not of_labels)
    result = dataclasses.replace(exported, bytes=calibrated_graph)
    rows = comparison_rows(data)
    raw = graph.run(rows.columns)[name]
    places = np.flatnonzero(is_finite(raw))  # what the model has no number for, calibration gives none
    samples, comparison = check_parity(
        result, rows.part(places), calibrate(calibrators, raw[places]), advice=_ADVICE, model=method
    )
    before = run_rows(graph.run, data.test.stored)[name]
    after = calibrate(calibrators, before)
    record = CalibrationRecord(
        method=method,
        rows=validation.rows,
        before=_scores(task, before, data.test, exported.classes),
        after=_scores(task, after, data.test, exported.classes),
        largest_difference=comparison.largest_difference,
    )
    return Calibrated(dataclasses.replace(result, samples=samples), record, before)


def _scores(task: Task, answers: np.ndarray, test: Part, classes: tuple[str, ...]) -> dict[str, float]:
    return evaluate(task, _METRICS, {OUTPUT_NAMES[task]: answers}, test.y, classes, weight=test.counts)


def _check_classes(y: np.ndarray, classes: tuple[str, ...], method: Method, what: str) -> None:
    if not len(y):
        raise ModelError(
            f"{what} has no rows in validation, on which calibrate={method!r} is fitted: give the split a longer validation part"
        )
    absent = [name for at, name in enumerate(classes) if not (y == at).any()]
    if absent:
        raise ModelError(
            f"{what} has no row of class {list_some(absent)} among the {len(y)} in validation, on which calibrate={method!r} is "
            "fitted: give the split a longer validation part, or leave calibrate= out"
        )
