"""Training a model that is tuned: trials on the encoded data, each judged on validation, and the model of the best one."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fti_assets.core.manifest import BY_NAME, OUTPUT_NAMES, Task
from fti_assets.errors import ModelError, list_some
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.judging.evaluation import evaluate
from fti_assets.training.judging.metrics.answers import answers_of
from fti_assets.training.judging.metrics.registry import metric_named
from fti_assets.training.judging.thresholds import cuts_of, thresholds_of
from fti_assets.training.models.data import TrainingData, target_of
from fti_assets.training.models.graphs.export import answers_on
from fti_assets.training.models.model import Model
from fti_assets.training.sources import function_hash, installed
from fti_assets.training.trainer.fits.progress import seeded
from fti_assets.training.tuning.journal import Journal, open_journal
from fti_assets.training.tuning.search import Search
from fti_assets.training.tuning.spaces import at_places, names_in
from fti_assets.training.tuning.study import Study
from fti_assets.training.tuning.trial import Trial
from fti_assets.training.tuning.tuning import Tuning

_log = logging.getLogger(__name__)

Train = Callable[[TrainingData, Trial | None], Any]
"""Calls a model's function with its data, and with a trial if it is tuned."""

JOURNALS = ".tuning"
"""The folder of a model in which studies that are under way are written down."""


def train_model(
    model: Model,
    data: TrainingData,
    train: Train,
    journal: Path | None = None,
    *,
    log: Callable[[str], object] = _log.info,
    warn: Callable[[str], object] = _log.warning,
) -> tuple[Any, Study | None]:
    """The trained model, and the study that chose its parameters if it is tuned.

    Args:
        model: the declaration.
        data: the encoded data; the function, and each trial, gets a copy of it.
        train: calls the function.
        journal: the file in which finished trials are written down, and from which a run goes on that ended before its build was there.
        log, warn: are told of each trial.

    Raises:
        ModelError: the trials cannot be judged, or every one of them failed.
    """
    if model.tune is None:
        with seeded(data.seed):
            return train(data.copy(), None), None
    search = search_of(model, model.tune, data, train, log=log, warn=warn)
    if journal is None:
        trained, study = search.run(Journal(None))
    else:
        with open_journal(journal) as lines:
            trained, study = search.run(lines)
    data.progress.choose(study.in_short.best)
    return trained, study


def search_of(
    model: Model,
    tuning: Tuning,
    data: TrainingData,
    train: Train,
    *,
    log: Callable[[str], object],
    warn: Callable[[str], object],
) -> Search:
    """The search for a model's parameters on some data.

    Raises:
        ModelError: the validation part has no rows, or the metric means nothing on it.
    """
    metric, output = model.tuned_metric, OUTPUT_NAMES[model.task]
    if not data.validation.rows:
        raise ModelError(
            f"model {model.name!r} is tuned, and trials are judged on validation, which has no rows: give the split of "
            f"{model.dataset.table_name} a validation= part, or let the dataset reach further back"
        )
    perfect = _perfect(model.task, data)
    queries = data.validation.qid if model.task == "ranking" else None
    if metric not in evaluate(
        model.task,
        [metric],
        {output: perfect},
        data.validation.y,
        data.classes,
        queries=queries,
        weight=data.validation.counts,
    ):
        raise ModelError(
            f"model {model.name!r} is tuned by {metric!r}, which means nothing on its {data.validation.rows} validation rows, such "
            "as those of one class alone: give it more rows, or Tuning another metric="
        )

    def train_trial(trial: Trial) -> Any:
        data.progress.begin(trial.number, dict(trial))
        with seeded(data.seed):
            return train(without_test(data, model.name), trial)

    def judge(trained: Any) -> float:
        outputs, y = {output: answers_on(trained, data, data.validation.copy(), model.task)}, data.validation.y
        weight = data.validation.counts
        answers = answers_of(model.task, outputs, y, data.classes, queries=queries, weight=weight)
        declared = model.evaluate.threshold
        threshold = cuts_of(thresholds_of(declared, data.labels, lambda: answers, what=model.dataset.table_name))
        scores = evaluate(
            model.task, [metric], outputs, y, data.classes, threshold=threshold, queries=queries, weight=weight
        )
        if metric not in scores:
            raise ModelError(f"{metric} is undefined on what the model answers on validation")
        return scores[metric]

    return Search(tuning, metric, metric_named(metric).higher_is_better, train_trial, judge, log, warn)


def _perfect(task: Task, data: TrainingData) -> np.ndarray:
    """The right answers on validation, for which every metric that its labels have is defined."""
    right = target_of(data.validation.y, task, len(data.classes))
    if task == "quantile":
        return np.repeat(right, len(data.classes), axis=1)
    return right if task in BY_NAME else right[:, 0]


def newest_parameters(model: Model, store: ModelStore) -> Trial:
    """The parameters that the newest accepted build of a tuned model's version was trained with.

    Raises:
        ModelError: there is no such build, or the model is now tuned over others.
    """
    assert model.tune is not None
    newest = store.newest_accepted(model.name, version=model.version)
    if newest is None or newest.tuning is None:
        raise ModelError(
            f"model {model.name!r} is tuned, and no accepted build of version {model.version} in {store.root} says which parameters to "
            f"take: run {model.asset_name} first, or name the folder of the model store"
        )
    parameters = newest.tuning.parameters
    try:
        at_places(model.tune.space, parameters)
    except ValueError as error:
        raise ModelError(
            f"model {model.name!r} is tuned over {list_some(sorted(names_in(model.tune.space)))}, and its newest accepted build "
            f"{newest.reference} was tuned otherwise, to {list_some(sorted(parameters))}: {error}. Run {model.asset_name} again first"
        ) from error
    return Trial(parameters, number=newest.tuning.best)


def without_test(data: TrainingData, model: str) -> TrainingData:
    """A copy of the data with a test part that cannot be looked at, since parameters that were chosen on it would pass any gate."""
    copy = data.copy(keep=True)
    copy.test = _Hidden(model)  # type: ignore[assignment]
    return copy


class _Hidden:
    def __init__(self, model: str) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        raise ModelError(
            f"model {self._model!r} is tuned, and its function asks for data.test.{name}: the gates judge on the test part, so no "
            "trial may see it; judge on data.validation"
        )


def journal_of(model: Model, store: ModelStore, partition: str, *versions: str) -> Path:
    """The file in which a study is written down, under a hash of what it depends on, as the versions of data and code, and the config."""
    terms = (model.version, partition, versions, model.tune, installed(), function_hash(model.function))
    name = hashlib.sha256(repr(terms).encode()).hexdigest()[:16]
    return store.working_folder(model.name) / JOURNALS / f"{name}.jsonl"
