"""A rolling-origin evaluation: train a model at each of some cutoffs, and judge each on the test rows of its own cutoff.

Source: rolling-origin evaluation, Tashman, "Out-of-sample tests of forecasting accuracy" (2000).
"""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from fti_assets.core.manifest import DatasetManifest
from fti_assets.core.records import from_json
from fti_assets.errors import DeclarationError, ModelError, NotMaterializedError, list_some, one_of
from fti_assets.orchestration.resources import Stores
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.backtest.scores import AtCutoff, Backtest
from fti_assets.training.models.build import Build, build_model_at
from fti_assets.training.models.model import Model
from fti_assets.training.models.tuned import Train
from fti_assets.training.retraining.attempt import Failure, attempt
from fti_assets.training.retraining.step import within_step


def backtest(
    model: Model,
    *,
    stores: Stores,
    resources: Mapping[str, Any] | None = None,
    cutoffs: Sequence[str] = (),
    last: int | None = None,
    metrics: Sequence[str] = (),
    existing: bool = False,
    say: Callable[[str], object] = lambda line: None,
) -> Backtest:
    """How a model does at each of some cutoffs whose datasets are materialized. Nothing is published, promoted or stored.

    A tuned model is tuned at each cutoff, as its builds are.

    Args:
        model: the model.
        stores: where its datasets and builds are.
        resources: what its function takes besides.
        cutoffs: partitions of its dataset, all that are materialized by default.
        last: of these the newest so many.
        metrics: of the model's metrics, all by default.
        existing: take the newest build of each cutoff from the model store, and train nothing.
        say: called with a line of text as the work goes on.

    Raises:
        DeclarationError: the model has no such metric, or ``last`` is below 1.
        NotMaterializedError: a cutoff's dataset is not there, or none has a build.
        ModelError: the model cannot be trained at any of the cutoffs.
    """
    unknown = [name for name in metrics if name not in model.evaluate.metric_names]
    if unknown:
        raise DeclarationError(
            f"model {model.name!r} does not evaluate {list_some(unknown)}: it has {one_of(model.evaluate.metric_names)}"
        )
    if last is not None and last < 1:
        raise DeclarationError(f"last={last}: give a whole number above 0")
    names, store = tuple(metrics) or model.evaluate.metric_names, stores.model_store()
    with stores.offline_store().connect() as lake:
        partitions = _chosen(lake, model, cutoffs, last)
        points = []
        for partition in partitions:
            point = (
                _existing(store, model, partition)
                if existing
                else _trained(model, partition, lake, stores, resources or {}, say)
            )
            if point is None:
                say(f"{model.name} at {partition} has no build, so it is left out")
                continue
            points.append(point)
            scores = [f"{name} {point.metrics[name]:.4f}" for name in names if name in point.metrics]
            how = point.problem or ", ".join(scores)
            say(f"{model.name} at {partition}: {how}")
    if not points:
        raise NotMaterializedError(
            f"model {model.name!r} has no build of {list_some(partitions)} in {store.root}: leave --existing out"
        )
    if all(point.problem for point in points):
        raise ModelError(
            f"model {model.name!r} cannot be trained at any of {list_some(partitions)}: {points[0].problem}"
        )
    return Backtest(model.name, names, tuple(points), existing)


def _chosen(lake: Lake, model: Model, cutoffs: Sequence[str], last: int | None) -> list[str]:
    """The partitions, the earliest cutoff first."""
    table = model.dataset.table
    instants = {
        key: from_json(
            DatasetManifest, record.record, what=f"the manifest of {table} {key}", remedy="materialize it again"
        ).cutoff
        for key, record in lake.ledger(table).items()
    }
    absent = [key for key in cutoffs if key not in instants]
    if absent or not instants:
        alternatives = f"it has {list_some(sorted(instants))}" if instants else "it has none"
        which = f" {list_some(absent)}" if absent else ""
        raise NotMaterializedError(
            f"{table} has no partition{which} in {lake.store.root}: {alternatives}; materialize it first"
        )
    order = sorted(set(cutoffs) or instants, key=lambda key: instants[key])
    return order[-last:] if last else order


def _existing(store: ModelStore, model: Model, partition: str) -> AtCutoff | None:
    """The newest build of a partition, accepted or rejected."""
    builds = [
        one
        for one in store.readable_builds(model.name)
        if one.dataset.partition == partition
        and one.version == model.version
        and one.dataset.name == model.dataset.name
    ]
    return AtCutoff.of(max(builds, key=lambda one: one.created_at)) if builds else None


def _trained(
    model: Model,
    partition: str,
    lake: Lake,
    stores: Stores,
    resources: Mapping[str, Any],
    say: Callable[[str], object],
) -> AtCutoff:
    # Nothing of it is ever served: no gates, slices and importance are asked for.
    lean = dataclasses.replace(
        model, gates=(), evaluate=dataclasses.replace(model.evaluate, slices=(), fairness=()), importance=None
    )

    def work(train: Train) -> AtCutoff:
        with tempfile.TemporaryDirectory(prefix="fti_backtest_") as folder:
            store = ModelStore(Path(folder))

            def build() -> Build:
                return build_model_at(
                    lean, partition, lake, store, train, code_version="", run_id="", asset_key=model.key.path
                )

            result = attempt(build, what=f"{model.name} at {partition}", say=say)
            if isinstance(result, Failure):
                return AtCutoff(partition, "", {}, {}, {}, {}, result.reason)
            return AtCutoff.of(result.manifest)

    return within_step(model, partition, stores, resources, work)
