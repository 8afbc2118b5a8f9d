"""Train a model again with each group's serving delay moved, and compare what it then scores. Nothing is published, promoted or stored."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import duckdb

from fti_assets.core.manifest import DatasetManifest
from fti_assets.core.records import from_json
from fti_assets.core.times import duration
from fti_assets.errors import DeclarationError, ModelError, NotMaterializedError, list_some, one_of
from fti_assets.features.external.rows import read_external
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.datasets.dataset import TrainingDataset
from fti_assets.training.freshness.curves import FreshnessCurves, Point, Problem, intervals_of
from fti_assets.training.freshness.moved import own_delay, timed_tables
from fti_assets.training.freshness.rows import DatasetRows, dataset_rows
from fti_assets.training.freshness.text import delay_text
from fti_assets.training.judging.metrics.registry import metric_named
from fti_assets.training.models.build import Build, build_model_at
from fti_assets.training.models.model import Model
from fti_assets.training.models.tuned import Train, newest_parameters
from fti_assets.training.retraining.attempt import Failure, attempt
from fti_assets.training.retraining.step import within_step

DELAYS = ("0h", "15min", "1h", "6h", "24h")


def freshness(
    model: Model,
    *,
    stores: Stores,
    resources: Mapping[str, Any] | None = None,
    partition: str | None = None,
    groups: Sequence[str] = (),
    delays: Sequence[str | timedelta] = DELAYS,
    metric: str | None = None,
    rows: int | None = None,
    say: Callable[[str], object] = lambda line: None,
) -> FreshnessCurves:
    """The freshness curves of a model at a cutoff whose dataset is materialized.

    The rows, labels and splits are those of the dataset. For each group and delay the group's features are joined again as if its rows
    became visible so long after their event time, the model's function trains on them, and the exported graph is judged on the test
    rows. A column that says when rows were available still holds: they never come sooner than they did.

    A tuned model has the parameters of the newest accepted build of its version each time, so that the delay alone differs. A delay whose
    training fails is told of, and the others go on.

    Args:
        model: a model over a view that joins groups with an event time.
        stores: where the dataset is; nothing is written there.
        resources: what the model's function takes besides.
        partition: the dataset's partition, the newest by default.
        groups: the groups that are moved, by name or as ``weather_v1``; all by default.
        delays: after the event time. A group's own serving delay is among its points, too, since nothing is trained for it.
        metric: one of the model's metrics, its first by default.
        rows: about how many train rows are taken, all by default. The test rows are always all of them.
        say: called with a line of text as the work goes on.

    Raises:
        DeclarationError: the model has no such group or metric, or no group that could be late.
        NotMaterializedError: the dataset is not there, or its snapshot is expired.
        ModelError: it cannot be trained as declared or with any delay, the metric is undefined on the test rows, or a tuned model has
            no build whose parameters could be taken.
    """
    metric = metric or model.evaluate.metric_names[0]
    if metric not in model.evaluate.metric_names:
        raise DeclarationError(
            f"model {model.name!r} does not evaluate {metric!r}: it has {one_of(model.evaluate.metric_names)}"
        )
    # Nothing of these builds is ever served: no gates, slices and importance are asked for.
    evaluate = dataclasses.replace(model.evaluate, metrics=(metric,), slices=(), fairness=(), confidence=None)
    lean = dataclasses.replace(model, gates=(), evaluate=evaluate, importance=None, tune=None)
    moments = sorted({duration(delay, what="a delay") for delay in delays})
    if rows is not None and rows < 1:
        raise DeclarationError(f"rows={rows}: give a whole number above 0")
    with stores.offline_store().connect() as lake:
        read_external(lake, model.view.groups)
        key, dataset = stored_cutoff(lake, model.dataset, partition)
        tables = _chosen(timed_tables(dataset.view), groups, model.name)
        at_cutoff = dataset_rows(lake, model.dataset.table, key, dataset, train_rows=rows)

        def work(train: Train) -> FreshnessCurves:
            with tempfile.TemporaryDirectory(prefix="fti_freshness_") as folder:
                trial = _Trial(lean, key, lake, ModelStore(Path(folder)), train)
                return _curves(trial, at_cutoff, tables, moments, metric, say)

        parameters = None if model.tune is None else newest_parameters(model, stores.model_store())
        return within_step(model, key, stores, resources or {}, work, parameters=parameters)


def stored_cutoff(lake: Lake, dataset: TrainingDataset, partition: str | None) -> tuple[str, DatasetManifest]:
    """A partition of a dataset, the newest by default, and its manifest.

    Raises:
        NotMaterializedError: it is not there.
    """
    table = dataset.table
    manifests = {
        key: from_json(
            DatasetManifest, record.record, what=f"the manifest of {table} {key}", remedy="materialize it again"
        )
        for key, record in lake.ledger(table).items()
    }
    if not manifests or partition not in (None, *manifests):
        alternatives = f"it has {list_some(sorted(manifests))}" if manifests else "it has none"
        which = "" if partition is None else f" {partition!r}"
        raise NotMaterializedError(
            f"{table} has no partition{which} in {lake.store.root}: {alternatives}; materialize it first"
        )
    key = partition or max(manifests, key=lambda key: manifests[key].cutoff)
    return key, manifests[key]


def _chosen(tables: Sequence[str], groups: Sequence[str], model: str) -> list[str]:
    if not tables:
        raise DeclarationError(
            f"model {model!r} joins no group that has an event time: none of its values could be late"
        )
    names = {table.rpartition("_v")[0]: table for table in tables}
    unknown = [group for group in groups if group not in tables and group not in names]
    if unknown:
        raise DeclarationError(
            f"model {model!r} joins no group {unknown[0]!r} that has an event time: it has {one_of(tables)}"
        )
    wanted_tables = {names.get(group, group) for group in groups}
    return [table for table in tables if not wanted_tables or table in wanted_tables]


@dataclasses.dataclass(frozen=True)
class _Trial:
    """How the model is trained on some rows and judged, in a model store that is thrown away."""

    model: Model
    partition: str
    lake: Lake
    store: ModelStore
    train: Train

    def build(self, rows: duckdb.DuckDBPyRelation, metric: str) -> Build:
        with self.lake.instead(self.model.dataset.table, rows):
            build = build_model_at(
                self.model,
                self.partition,
                self.lake,
                self.store,
                self.train,
                code_version="",
                run_id="",
                asset_key=self.model.key.path,
            )
        if metric not in build.manifest.metrics:
            raise ModelError(
                f"{metric} of {self.model.name!r} is undefined on its test rows: choose another of its metrics"
            )
        return build


def _curves(
    trial: _Trial,
    rows: DatasetRows,
    tables: Sequence[str],
    delays: Sequence[timedelta],
    metric: str,
    say: Callable[[str], object],
) -> FreshnessCurves:
    name = trial.model.name
    say(f"{name} at {trial.partition} as declared: {rows.rows['train']:,} train rows, {rows.rows['test']:,} test rows")
    declared = attempt(lambda: trial.build(rows.declared, metric), what=f"{name} as declared", say=say)
    if isinstance(declared, Failure):
        raise ModelError(f"model {name!r} cannot be trained at {trial.partition} as it is declared: {declared.reason}")
    score = declared.manifest.metrics[metric]
    builds: dict[tuple[str, timedelta], Build | None] = {}
    problems: list[Problem] = []
    for table in tables:
        own = own_delay(rows.dataset.view, table)
        for delay in sorted({*delays, *([] if own is None else [own])}):
            moved = None if delay == own else rows.moved(table, delay)
            which = f"{table} {delay_text(delay)} after its event time"
            if moved is None:
                builds[table, delay] = None
                say(f"{which}: as declared")
                continue
            result = attempt(partial(trial.build, moved, metric), what=which, say=say)
            if isinstance(result, Failure):
                problems.append(Problem(table, delay, result.reason))
                say(f"{which}: {result.reason}")
                continue
            builds[table, delay] = result
            say(f"{which}: {metric} {result.manifest.metrics[metric]:.4f}")
    if not builds:
        raise ModelError(f"model {name!r} cannot be trained with any of the delays: {problems[0].reason}")
    others = {f"{table} {delay}": build.answers for (table, delay), build in builds.items() if build is not None}
    interval, intervals = intervals_of(metric, declared.answers, others)
    points = []
    for (table, delay), build in builds.items():
        moved_score = score if build is None else build.manifest.metrics[metric]
        between = intervals.get(f"{table} {delay}")
        points.append(Point(table, delay, moved_score, moved_score - score, between, build is None))
    return FreshnessCurves(
        model=name,
        partition=trial.partition,
        metric=metric,
        higher_is_better=metric_named(metric).higher_is_better,
        score=score,
        interval=interval,
        train_rows=rows.rows["train"],
        test_rows=rows.rows["test"],
        points=tuple(points),
        problems=tuple(problems),
    )
