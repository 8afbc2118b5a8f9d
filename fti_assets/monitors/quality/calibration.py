"""The calibrated probabilities of a build's answers: as it gives them if it was calibrated, else by a calibrator of its test rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from fti_assets.core.manifest import OUTPUT_NAMES, DatasetManifest, ModelManifest
from fti_assets.core.records import from_json
from fti_assets.core.sql import quote
from fti_assets.errors import ModelError, list_some, one_of
from fti_assets.features.point_in_time.arrays import fetch_columns
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.loaded_build import load_build
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.calibration.calibrators import Method, calibrated_answers, calibrated_labels, fit_calibrator
from fti_assets.training.datasets.dataset import SPLIT
from fti_assets.training.trainer.parts.labels import label_codes

ISOTONIC_FROM = 1_000
"""From so many test rows on a line that never falls is fitted; of fewer, the two numbers of Platt's method."""

Calibration = Callable[[np.ndarray], np.ndarray]


def calibration_of(lake: Lake, store: ModelStore, manifest: ModelManifest) -> Calibration:
    """What makes calibrated probabilities of a build's answers ``[n]``, or ``[n, k]`` of classes or of several labels.

    A build that was calibrated gives them itself. Of another its answers on the test rows of its dataset, on which it was not trained,
    are held against their labels.

    Raises:
        FtiError: the dataset is not there any more as the build learned from it, or its test rows lack a class, or a label's yes or no.
    """
    if manifest.calibration is not None:
        return lambda answers: answers
    answers, y = _on_test_rows(lake, store, manifest)
    what = f"{manifest.reference} of {manifest.model!r} has no calibration, and its test rows"
    method: Method = "isotonic" if len(y) >= ISOTONIC_FROM else "platt"
    remedy = "declare calibrate= on the model, or a longer test part"
    truths = list((y == 1).T) if y.ndim == 2 else [y == place for place in _places(manifest)]
    constant = [at for at, truth in enumerate(truths) if truth.all() or not truth.any()]
    if constant and y.ndim == 2:
        raise ModelError(f"{what} are all alike in {list_some(manifest.classes[at] for at in constant)}: {remedy}")
    if constant:
        raise ModelError(f"{what} have one class alone or lack one: {remedy}")
    columns = [answers] if answers.ndim == 1 else list(answers.T)
    calibrators = [fit_calibrator(method, own, truth) for own, truth in zip(columns, truths, strict=True)]
    return partial(calibrated_labels if y.ndim == 2 else calibrated_answers, calibrators)


def _places(manifest: ModelManifest) -> Sequence[int]:
    """The classes whose probability an answer has."""
    return [1] if manifest.task == "binary" else range(len(manifest.classes))


def _on_test_rows(lake: Lake, store: ModelStore, manifest: ModelManifest) -> tuple[np.ndarray, np.ndarray]:
    record = manifest.dataset
    table = record.table
    ledger = lake.ledger(table)
    if record.partition not in ledger or ledger[record.partition].data_version != record.data_version:
        raise ModelError(
            f"{manifest.reference} of {manifest.model!r} has no calibration, and {table} {record.partition} is not there any more as it "
            "learned from it: train it again, or declare calibrate= on the model"
        )
    what = f"the manifest of {table} {record.partition}"
    dataset = from_json(DatasetManifest, ledger[record.partition].record, what=what, remedy="materialize it again")
    order = ", ".join(map(quote, dataset.view.order))
    rows = lake.rows(table, partitions=[record.partition]).filter(f"{quote(SPLIT)} = 'test'").order(order)
    arrays = fetch_columns(rows, [*dataset.view.features, *dataset.label_columns])
    names = manifest.classes if dataset.labels else (dataset.label.name,)
    if missing := [name for name in names if name not in arrays]:
        raise ModelError(f"{table} {record.partition} has no label {one_of(missing)}")
    each = [arrays[name] for name in names]
    labels = np.stack(each, axis=1) if dataset.labels else each[0]
    y = label_codes(labels, manifest.task, manifest.classes, what=f"the test part of {table} {record.partition}")
    _, graph = load_build(store, manifest.model, manifest.reference)
    answers = graph.run({one.name: arrays[one.name] for one in dataset.view.features})[OUTPUT_NAMES[manifest.task]]
    numbers = np.asarray(answers, dtype=np.float64)
    finite = np.isfinite(numbers.reshape(len(y), -1)).all(axis=1)
    return numbers[finite], y[finite]
