"""What a build's graph is worth: all that is measured of it on the test split, and what the gates say to that."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from fti_assets.core.manifest import GateVerdict, ImportanceRecord
from fti_assets.core.manifest.judging import ThresholdRecord
from fti_assets.errors import ModelError
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.judging.baselines.named import PRIOR
from fti_assets.training.judging.baselines.scored import baseline_scores
from fti_assets.training.judging.evaluation import evaluate
from fti_assets.training.judging.gates.gate import verdict_of
from fti_assets.training.judging.graph_cost import TIMED_ROWS, GraphCost
from fti_assets.training.judging.importance import permutation_importance
from fti_assets.training.judging.measurement import Measurement, measure
from fti_assets.training.judging.metrics.answers import Thresholds, answers_of
from fti_assets.training.judging.scores import BaselineScores, Scores
from fti_assets.training.judging.thresholds import cuts_of, thresholds_of
from fti_assets.training.models.champions.champion import champion_scores
from fti_assets.training.models.graphs.parity import ExportedModel
from fti_assets.training.models.model import Model
from fti_assets.training.models.parts.dataset_parts import DatasetParts
from fti_assets.training.trainer.parts.rows import Rows, rows_at, run_rows


@dataclass(frozen=True)
class Judgement:
    """What was found out about a graph, and the verdict of each gate.

    ``outputs`` are all that the graph gives for the test rows, by name.
    """

    outputs: Mapping[str, np.ndarray]
    thresholds: Mapping[str, ThresholdRecord]
    measurement: Measurement
    baselines: Mapping[str, BaselineScores]
    verdicts: tuple[GateVerdict, ...]
    importance: ImportanceRecord | None

    @property
    def is_accepted(self) -> bool:
        return all(verdict.passed for verdict in self.verdicts)


def judge(model: Model, parts: DatasetParts, exported: ExportedModel, lake: Lake, store: ModelStore) -> Judgement:
    """Measure an exported graph on the test split, beside baselines and the champion, and ask the gates.

    What is judged is the graph, not the trained model: it is what will serve.

    Raises:
        ModelError: its answers are not finite, or a gate or a function of the user's own gave what is none.
    """
    data, test = parts.data, parts.test
    graph = Graph.from_bytes(exported.bytes, exported.inputs, what=f"model {model.name!r}")
    outputs, classes = run_rows(graph.run, test.stored), exported.classes
    thresholds = thresholds_of(
        model.evaluate.threshold,
        data.labels,
        lambda: answers_of(
            model.task,
            run_rows(graph.run, parts.validation.stored),
            data.validation.y,
            classes,
            weight=data.validation.counts,
        ),
        what=f"{model.dataset.table_name} {parts.partition}",
    )
    queries = data.test.qid if model.task == "ranking" else None
    threshold = cuts_of(thresholds)
    weight = data.test.counts
    on_test = answers_of(model.task, outputs, data.test.y, classes, threshold=threshold, queries=queries, weight=weight)
    clusters = parts.clusters
    measurement = measure(model.evaluate, on_test, test.columns, clusters)
    if queries is not None and model.evaluate.cluster is None and measurement.bootstrap is not None:
        of_queries = dataclasses.replace(measurement.bootstrap, cluster=", ".join(parts.manifest.query))
        measurement = dataclasses.replace(measurement, bootstrap=of_queries)
    baselines = baseline_scores(
        model.task,
        model.evaluate.metric_names,
        model.gates,
        data.train,
        data.test,
        outputs,
        classes,
        threshold=threshold,
        clusters=clusters,
    )
    champion = champion_scores(model, lake, store, parts.manifest, test, data, outputs, exported, threshold, clusters)
    scores = Scores(
        measurement.metrics,
        baselines[PRIOR].metrics,
        measurement.slices,
        champion,
        measurement.fairness,
        baselines,
        measurement.intervals,
        answers=on_test,
        graph=_cost(graph, len(exported.bytes), test.stored, len(on_test.y)),
    )
    verdicts = tuple(verdict_of(gate, scores.copy()) for gate in model.gates)
    importance = _importance(model, graph, test.columns, data.test.y, classes, threshold, queries, weight)
    return Judgement(outputs, thresholds, measurement, baselines, verdicts, importance)


def _importance(
    model: Model,
    graph: Graph,
    columns: Mapping[str, np.ndarray],
    y: np.ndarray,
    classes: Sequence[str],
    threshold: Thresholds,
    queries: np.ndarray | None,
    weight: np.ndarray | None,
) -> ImportanceRecord | None:
    """What each feature is worth to the graph on the test split, by the metric of the declaration, or the first one."""
    if model.importance is None:
        return None
    metric = model.importance.metric or model.evaluate.metric_names[0]

    def score(rows: np.ndarray, sample: Mapping[str, np.ndarray]) -> float | None:
        try:
            own, counts = (None if one is None else one[rows] for one in (queries, weight))
            outputs = graph.run(sample)
            scores = evaluate(
                model.task, [metric], outputs, y[rows], classes, threshold=threshold, queries=own, weight=counts
            )
            return scores.get(metric)
        except ModelError:  # rows that nobody has seen may have no finite answer
            return None

    features = [name for one in graph.inputs for name in one.features]
    return permutation_importance(model.importance, columns, score, metric=metric, features=features, together=queries)


def _cost(graph: Graph, size: int, rows: Rows, count: int) -> GraphCost:
    """What the graph costs, on some rows that are read before the first of them is timed."""
    places = np.unique(np.linspace(0, count - 1, min(count, TIMED_ROWS)).round().astype(np.int64))
    some = cache(lambda: rows_at(rows, places))
    return GraphCost(size, lambda row: graph.run(_one_row(some(), row)), len(places))


def _one_row(columns: Mapping[str, np.ndarray], row: int) -> dict[str, np.ndarray]:
    return {name: values[row : row + 1] for name, values in columns.items()}
