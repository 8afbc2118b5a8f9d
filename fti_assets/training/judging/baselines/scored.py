"""Baselines beside a model on its test part."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from fti_assets.core.manifest import OUTPUT_NAMES, Task
from fti_assets.errors import ModelError
from fti_assets.training.judging.baselines.baseline import Baseline, TrainRows
from fti_assets.training.judging.baselines.named import Prior
from fti_assets.training.judging.evaluation import scores_of
from fti_assets.training.judging.gates.gate import BaselineGate, Gate
from fti_assets.training.judging.metrics.answers import THRESHOLD, Thresholds, answers_of
from fti_assets.training.judging.metrics.registry import metric_named
from fti_assets.training.judging.resampling.paired import PairedAnswers
from fti_assets.training.judging.scores import BaselineScores


def baselines_of(gates: Iterable[Gate], levels: Sequence[float] = ()) -> list[Baseline]:
    """The train prior, or the train quantiles of ``levels``, and what gates compare with besides."""
    return [Prior(levels=tuple(levels)), *(gate.rival for gate in gates if isinstance(gate, BaselineGate))]


def baseline_scores(
    task: Task,
    metrics: Sequence[str],
    gates: Iterable[Gate],
    train: TrainRows,
    test: TrainRows,
    outputs: Mapping[str, np.ndarray],
    classes: Sequence[str] = (),
    *,
    threshold: Thresholds = THRESHOLD,
    clusters: np.ndarray | None = None,
) -> dict[str, BaselineScores]:
    """Each baseline's metrics on the test part, and the model's answers beside its own, by the baseline's name.

    Args:
        task: what the model does.
        metrics: names of metrics.
        gates: those of the model.
        train, test: its parts; a baseline does not see the labels of ``test``.
        outputs: what the exported graph answers on the test part; a ranking model's are of the queries of ``test``.
        classes, threshold: as for ``evaluate``.
        clusters: as for ``PairedAnswers``.

    Raises:
        ModelError: there are no train rows, or a function of the user's own fails.
    """
    if not train.rows:
        raise ModelError("the train part has no rows: there is no baseline to compare with")
    name, queries = OUTPUT_NAMES[task], test.queries if task == "ranking" else None
    scores: dict[str, BaselineScores] = {}
    levels = [float(level) for level in classes] if task == "quantile" else []
    for one in baselines_of(gates, levels):
        if one.name in scores:
            continue
        answers = one.answers(task, len(classes), train, test)
        own, other = (
            answers_of(task, {name: rows}, test.y, classes, threshold=threshold, queries=queries, weight=test.counts)
            for rows in (outputs[name], answers)
        )
        own_metrics = scores_of(other, [metric_named(metric) for metric in metrics])
        scores[one.name] = BaselineScores(own_metrics, PairedAnswers(own, other, clusters))
    return scores
