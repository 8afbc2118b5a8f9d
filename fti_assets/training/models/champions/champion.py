"""The champion beside a challenger: on the test rows that it has not trained on, with its own features."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping, Sequence

import numpy as np

from fti_assets.core.manifest import Column, DatasetManifest, ModelManifest, RandomParts, model_of
from fti_assets.core.times import instant
from fti_assets.errors import DamagedError, ModelError, NotMaterializedError, PredictionError, one_of
from fti_assets.features.external.rows import read_external
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.point_in_time.arrays import fetch_columns
from fti_assets.features.point_in_time.assemble import assemble
from fti_assets.features.spine_rows import stored_spine, with_spine_times
from fti_assets.stores.duckdb.nul_texts import equal_columns
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.stores.models.loaded_build import load_build
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.datasets.splits.hash_split import HASH, share_sql
from fti_assets.training.judging.evaluation import scores_of
from fti_assets.training.judging.metrics.answers import THRESHOLD, Thresholds, answers_of
from fti_assets.training.judging.metrics.registry import metric_named
from fti_assets.training.judging.resampling.paired import PairedAnswers
from fti_assets.training.judging.scores import ChampionScores
from fti_assets.training.judging.thresholds import cuts_of
from fti_assets.training.models.data import TrainingData
from fti_assets.training.models.graphs.parity import ExportedModel
from fti_assets.training.models.model import Model
from fti_assets.training.models.parts.split_rows import ROW, SplitRows
from fti_assets.training.trainer.parts.rows import Rows, RowsInMemory, run_rows

_log = logging.getLogger(__name__)
_JOIN_FIELDS = ("joins", "on_demand", "features")


def champion_scores(
    model: Model,
    lake: Lake,
    store: ModelStore,
    dataset: DatasetManifest,
    test: SplitRows,
    data: TrainingData,
    outputs: Mapping[str, np.ndarray],
    challenger: ExportedModel,
    threshold: Thresholds,
    clusters: np.ndarray | None,
) -> ChampionScores | None:
    """The champion on the test rows that it has not trained on, and the challenger on the same ones.

    It is the newest accepted build of an earlier cutoff, or of the same one and another version: versions of a model that are trained side
    by side are each other's challengers.
    """
    passed_over: list[str] = []
    while True:
        champion = store.newest_accepted(
            model.name, before=dataset.cutoff, rivals_of=model.version, besides=passed_over
        )
        if champion is None:
            return None
        try:
            _, graph = load_build(store, champion.model, champion.reference)
        except DamagedError as error:  # nobody can compare with it any more: the one before it is what there is
            _log.warning("%s is not compared with %s, which is damaged: %s", model.name, champion.reference, error)
            passed_over.append(champion.reference)
        except (PredictionError, NotMaterializedError) as error:
            return ChampionScores(champion.reference, problem=f"cannot be compared with: {error}")
        else:
            return _scores_beside(
                champion, graph, model, lake, dataset, test, data, outputs, challenger, threshold, clusters
            )


def _scores_beside(
    champion: ModelManifest,
    graph: Graph,
    model: Model,
    lake: Lake,
    dataset: DatasetManifest,
    test: SplitRows,
    data: TrainingData,
    outputs: Mapping[str, np.ndarray],
    own_export: ExportedModel,
    threshold: Thresholds,
    clusters: np.ndarray | None,
) -> ChampionScores:
    try:
        is_new = _untrained_rows(lake, champion, dataset, test)
        if model.task == "ranking":  # a list is compared whole or not at all
            is_new = of_new_queries(is_new, data.test.qid)
            if not is_new.any():
                raise _Incomparable("has trained on rows of every query of the test part, so they cannot be compared")
        if champion.view != dataset.view:  # it is joined again
            read_external(lake, model.view.groups)
        rows, features = _champion_rows(lake, champion, model.view.spine, dataset, test)
        is_judged = is_new[rows]
        if not is_judged.any():
            raise ModelError(f"its spine {champion.view.spine_table.name} has none of the test rows")
        answers = run_rows(graph.run, features, is_judged)
        if champion.task != model.task:
            raise ModelError(f"it is {model_of(champion.task)}, and this {model_of(model.task)}")
        if data.labels and champion.classes != data.labels:
            raise ModelError(f"it has the labels {one_of(champion.classes)}, this model {one_of(data.labels)}")
        if model.task == "multiclass":
            answers["probabilities"] = in_classes(answers["probabilities"], champion.classes, own_export.classes)
        if "quantiles" in answers and champion.classes != own_export.classes:
            raise ModelError(f"it has the levels {one_of(champion.classes)}, this model {one_of(own_export.classes)}")
        rows, queries = rows[is_judged], None
        weight = None if data.test.counts is None else data.test.counts[rows]
        if model.task == "ranking":
            queries = data.test.qid[rows]
        own = {name: values[rows] for name, values in outputs.items()}
        y, metrics = data.test.y[rows], [metric_named(name) for name in model.evaluate.metric_names]
        of_champion = answers_of(
            model.task,
            answers,
            y,
            own_export.classes,
            threshold=_threshold_of(champion),
            queries=queries,
            weight=weight,
        )
        of_challenger = answers_of(
            model.task, own, y, own_export.classes, threshold=threshold, queries=queries, weight=weight
        )
        return ChampionScores(
            champion.reference,
            scores_of(of_champion, metrics),
            challenger=scores_of(of_challenger, metrics),
            answers=PairedAnswers(of_challenger, of_champion, None if clusters is None else clusters[rows]),
        )
    except _Incomparable as error:
        return ChampionScores(champion.reference, problem=str(error))
    except (ModelError, PredictionError, NotMaterializedError) as error:
        return ChampionScores(champion.reference, problem=f"cannot be compared with: {error}")


def of_new_queries(is_new: np.ndarray, queries: np.ndarray) -> np.ndarray:
    """Which rows ``[n]`` are of a query whose rows are all new.

    Args:
        is_new: whether a row is, ``[n]``.
        queries: the number of each row's query ``[n]``, from 0 on.

    >>> of_new_queries(np.array([True, False, True, True]), np.array([0, 0, 1, 1])).tolist()
    [False, False, True, True]
    """
    return np.asarray(np.bincount(queries, weights=~is_new)[queries] == 0)


def _threshold_of(champion: ModelManifest) -> Thresholds:
    """Its own: it decides as it was judged."""
    if champion.thresholds:
        return cuts_of({label: champion.thresholds[label] for label in champion.classes})
    return THRESHOLD if champion.threshold is None else champion.threshold.value


class _Incomparable(Exception):
    """Why no test row is left to compare a champion on, as what the verdict says of it."""


def _untrained_rows(lake: Lake, champion: ModelManifest, dataset: DatasetManifest, test: SplitRows) -> np.ndarray:
    """Which test rows ``[n]`` the champion has not trained on: what is later than all it learned from, and what its own split by
    hash gave to its test part.

    Raises:
        _Incomparable: it has trained on all, or nobody knows.
    """
    until, parts = champion.dataset.trained_until, champion.dataset.random_parts
    if (until is None) != (test.times is None):
        raise _Incomparable(
            "was split without times and this model by time, or the other way round, so it is unknown which test rows the "
            "champion has trained on: leave this gate out until a build of the new split is the champion"
        )
    is_new = np.zeros(len(test.labels), dtype=bool)
    if until is not None and test.times is not None:
        is_new |= test.times > np.datetime64(instant(until), "us")
        if parts is not None and parts.hash == HASH and set(_split_columns(champion, dataset)) <= _columns(lake, test):
            is_new |= _in_test_part(lake, champion, dataset, parts, test)
    elif parts is None or parts.hash != HASH:
        raise _Incomparable(
            "was split at random by an earlier release, which did not note how, so it is unknown which test rows it has "
            "trained on: leave this gate out until a build of this release is the champion"
        )
    else:
        columns = _split_columns(champion, dataset)
        if missing := [name for name in columns if name not in _columns(lake, test)]:
            raise _Incomparable(
                f"was split by {one_of(columns)}, and the test rows have no {one_of(missing)}, so it is unknown which of them it has "
                "trained on: leave this gate out until a build of the new split is the champion"
            )
        is_new = _in_test_part(lake, champion, dataset, parts, test)
    if not is_new.any():
        raise _Incomparable("has trained on every test row, so they cannot be compared")
    return is_new


def _split_columns(champion: ModelManifest, dataset: DatasetManifest) -> tuple[str, ...]:
    """The columns whose hash said which rows a champion trained on."""
    parts, own, now = champion.dataset.random_parts, champion.view.spine_keys, dataset.view.spine_keys
    if parts is not None and parts.columns:
        return parts.columns
    return own if set(own) == set(now) else now  # of other keys no answer is asked for


def _columns(lake: Lake, test: SplitRows) -> set[str]:
    return set(lake.connection.table(test.table.strip('"')).columns)


def _in_test_part(
    lake: Lake, champion: ModelManifest, dataset: DatasetManifest, parts: RandomParts, test: SplitRows
) -> np.ndarray:
    """Which test rows ``[n]`` a champion's split by hash gave to its own test part."""
    share = share_sql(_split_columns(champion, dataset), parts.seed)
    rows = lake.connection.execute(f"SELECT {share} < {parts.test!r} AS test FROM {test.table} ORDER BY {ROW}")
    return np.asarray(rows.fetchnumpy()["test"], dtype=bool)


def _champion_rows(
    lake: Lake, champion: ModelManifest, spine: FeatureGroup, dataset: DatasetManifest, test: SplitRows
) -> tuple[np.ndarray, Rows]:
    """The numbers of test rows and the champion's features of them: the dataset's own, or joined again for another view.

    Raises:
        ModelError: its spine has other keys.
    """
    own = dataset.view
    # A function of the same version is called as it is now: its version says that its meaning did not change.
    calls = {(call.name, call.version): call for call in own.on_demand}
    on_demand = tuple(calls.get((call.name, call.version), call) for call in champion.view.on_demand)
    view = with_spine_times(dataclasses.replace(champion.view, on_demand=on_demand), spine)
    if all(getattr(view, name) == getattr(own, name) for name in ("spine", "spine_version", *_JOIN_FIELDS)):
        return np.arange(len(test.labels)), test.stored
    if set(view.spine_keys) != set(own.spine_keys):
        raise ModelError(f"it predicts by the keys {one_of(view.spine_keys)}, this model by {one_of(own.spine_keys)}")
    versions = stored_spine(lake, view, snapshot=dataset.snapshot)
    pairs = {key: key for key in view.spine_keys}
    if view.prediction_time and own.prediction_time:
        pairs[view.prediction_time] = own.prediction_time
    same = equal_columns(lake.connection, test.table, pairs, rows="test", target="spine")
    rows = lake.connection.sql(
        f"SELECT spine.*, test.{ROW} FROM {test.table} test JOIN {relation_name(versions)} spine ON {same} "
        f"QUALIFY row_number() OVER (PARTITION BY test.{ROW}) = 1 ORDER BY test.{ROW}"
    )
    features = fetch_columns(
        assemble(lake, view, rows, snapshot=dataset.snapshot), [*view.features, Column(ROW, "integer")]
    )
    places = features.pop(ROW).astype(np.int64) - 1
    return places, RowsInMemory(features, len(places))


def in_classes(probabilities: np.ndarray, theirs: Sequence[str], ours: Sequence[str]) -> np.ndarray:
    """Probabilities ``[n, k]`` by the classes of another model: a class that it does not know has none."""
    if tuple(theirs) == tuple(ours):
        return probabilities
    of_class = dict(zip(theirs, probabilities.T, strict=True))
    nothing = np.zeros(len(probabilities))
    in_ours = np.stack([of_class.get(name, nothing) for name in ours], axis=1)
    # Where it is sure of a class that this model does not have, it says nothing of the others: each is as likely.
    in_ours[in_ours.sum(axis=1) == 0] = 1 / len(ours)
    return in_ours
