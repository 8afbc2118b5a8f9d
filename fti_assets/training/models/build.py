"""One build of a model at one cutoff: encode, train, export, evaluate, judge, publish, promote."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from fti_assets.core import clock
from fti_assets.core.manifest import Column, DatasetManifest, DatasetRecord, ModelManifest, RandomParts
from fti_assets.core.names import PartitionRecord
from fti_assets.core.records import from_json
from fti_assets.core.sql import quoted
from fti_assets.core.times import instant
from fti_assets.errors import ModelError, NotMaterializedError, PredictionError, one_of
from fti_assets.features.external.rows import read_external
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.point_in_time.arrays import fetch_columns
from fti_assets.features.point_in_time.assemble import assemble
from fti_assets.features.spine_rows import stored_spine, with_spine_times
from fti_assets.stores.duckdb.relations import view_of
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.graph import Graph
from fti_assets.stores.models.loaded_build import load_build
from fti_assets.stores.models.samples import SAMPLES
from fti_assets.stores.models.store import ModelStore, build_id, cutoff_of
from fti_assets.training.datasets.dataset import SPLIT
from fti_assets.training.datasets.rows import where_the_parts_lie
from fti_assets.training.datasets.split import HASH, SPLITS, TimeSplit, share_sql
from fti_assets.training.encoders.encoders import check_encoders, fit_encoders
from fti_assets.training.encoders.float32 import float32_warnings
from fti_assets.training.judging.evaluation import OUTPUT_NAMES, baseline, evaluate, evaluate_slices
from fti_assets.training.judging.gates import ChampionScores, Scores
from fti_assets.training.judging.picture_page import PICTURES, picture_page
from fti_assets.training.models.card import model_card
from fti_assets.training.models.data import TrainingData, refuse_one_class
from fti_assets.training.models.export import ExportedModel, export
from fti_assets.training.models.model import Model

_JOINED = ("joins", "on_demand", "features")
_PACKAGES = (
    "fti_assets",
    "dagster",
    "duckdb",
    "numpy",
    "onnx",
    "onnxruntime",
    "torch",
    "pytorch-lightning",
    "scikit-learn",
)


_ROW = "_fti_row"


@dataclass(frozen=True)
class Build:
    """A published build, and what its exported graph answers on the test split: ``outputs`` and ``y``, ``[n]`` or ``[n, k]``."""

    manifest: ModelManifest
    outputs: np.ndarray
    y: np.ndarray

    @property
    def accepted(self) -> bool:
        return self.manifest.status == "accepted"


@dataclass(frozen=True)
class _Split:
    """The rows of one part: features, labels and prediction times, in the order of time and keys.

    ``table`` is the temporary table that holds them, numbered by ``_fti_row`` from 1.
    """

    columns: dict[str, np.ndarray]
    labels: np.ndarray
    times: np.ndarray | None
    table: str


def build_model_at(
    model: Model,
    partition: str,
    lake: Lake,
    store: ModelStore,
    train: Callable[[TrainingData], Any],
    *,
    code_version: str,
    run_id: str,
    asset_key: Sequence[str],
) -> Build:
    """Train, judge and publish one build from a materialized dataset; promote it if the gates and its cutoff let it.

    Raises:
        NotMaterializedError: the dataset's partition is not there.
        ModelError: there is nothing to train or test on, or what the function gave cannot be exported.
        AliasConflictError: the champion changed meanwhile; the build is in the store and was not promoted.
    """
    alias = store.aliases(model.name).champion
    snapshot = lake.snapshot()  # the dataset can be made anew meanwhile
    stored = lake.ledger(model.dataset.table, snapshot=snapshot)
    dataset = _dataset_manifest(lake, model, partition, stored)
    parts = {part: _split(lake, model, partition, dataset, part, snapshot) for part in SPLITS}
    empty = [part for part in ("train", "test") if not len(parts[part].labels)]
    if empty:
        raise ModelError(
            f"{model.dataset.table_name} {partition} has no rows in {' and '.join(empty)}: {dataset.rows}{_newest(model, dataset)}"
        )
    encoders = check_encoders(dataset.view.features, model.encoders)
    fitted = fit_encoders(dataset.view.features, encoders, parts["train"].columns)
    data = TrainingData(
        dataset.view.features,
        fitted,
        {part: rows.columns for part, rows in parts.items()},
        {part: rows.labels for part, rows in parts.items()},
        task=model.task,
    )
    refuse_one_class(data, what=f"{model.dataset.table_name} {partition}", label=model.view.label.name)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)
    exported = export(train(data), data.encoder, data, model.task)
    graph = Graph.from_bytes(exported.bytes, exported.inputs, what=f"model {model.name!r}")
    outputs = graph.run(parts["test"].columns)
    scores = evaluate(model.task, model.evaluate.metrics, outputs, data.test.y, exported.classes)
    slices = evaluate_slices(model.task, model.evaluate, parts["test"].columns, outputs, data.test.y, exported.classes)
    prior = baseline(model.task, data.train.y, data.test.y, model.evaluate.metrics, exported.classes)
    champion = _champion_scores(model, lake, store, dataset, parts["test"], data, outputs, exported)
    verdicts = [gate.judge(Scores(scores, prior, slices, champion)) for gate in model.gates]
    build = build_id(instant(dataset.cutoff))
    answers = outputs[OUTPUT_NAMES[model.task]]
    title = f"{model.name} v{model.version}, build {build}"
    page = picture_page(title, model.task, answers, data.test.y, slices, model.evaluate.metrics).encode()
    files = {PICTURES: page, **({SAMPLES: exported.samples.to_json()} if exported.samples else {})}
    manifest = ModelManifest(
        model=model.name,
        version=model.version,
        build=build,
        task=model.task,
        status="accepted" if all(verdict.passed for verdict in verdicts) else "rejected",
        cutoff=dataset.cutoff,
        created_at=clock.now().isoformat(),
        view=dataset.view,
        dataset=DatasetRecord(
            name=dataset.dataset,
            version=dataset.version,
            partition=partition,
            data_version=stored[partition].data_version,
            rows=dataset.rows,
            point_in_time=dataset.point_in_time,
            trained_until=dataset.trained_until,
            random_parts=dataset.random_parts,
        ),
        inputs=exported.inputs,
        outputs=exported.outputs,
        encoders={name: dataclasses.asdict(encoder) for name, encoder in fitted.items()},
        metrics=scores,
        baseline=prior,
        gates=tuple(verdicts),
        snapshot=dataset.snapshot,
        code_version=code_version,
        packages=_packages(),
        sha256=hashlib.sha256(exported.bytes).hexdigest(),
        classes=exported.classes,
        warnings=tuple(float32_warnings(fitted, parts["train"].columns)),
        slices=slices,
        run_id=run_id,
        asset_key=tuple(asset_key),
        files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    )
    store.publish(manifest, exported.bytes, model_card(manifest, dataset), files)
    if manifest.status == "accepted" and model.promote == "automatic" and _moves_forward(alias, manifest):
        store.promote(model.name, manifest.reference, expected=alias, reason="accepted by its gates", run_id=run_id)
    return Build(manifest, answers, data.test.y)


def _moves_forward(alias: str | None, manifest: ModelManifest) -> bool:
    """By the cutoff in a build's name, so that a champion whose files are lost can be followed by another."""
    return alias is None or cutoff_of(alias) <= cutoff_of(manifest.reference)


def _newest(model: Model, dataset: DatasetManifest) -> str:
    """Where a dataset's rows lie beside where its time split looks for them."""
    split, until = model.dataset.split, dataset.trained_until
    if not isinstance(split, TimeSplit) or split.has_shares or until is None:
        return ""
    parts = split.boundaries(instant(dataset.cutoff), model.dataset.view.label.age)
    return f"; its newest row that trains or validates is of {until}{where_the_parts_lie(model.dataset, parts)}"


def _dataset_manifest(
    lake: Lake, model: Model, partition: str, ledger: Mapping[str, PartitionRecord]
) -> DatasetManifest:
    if partition not in ledger:
        raise NotMaterializedError(
            f"{model.dataset.table_name} has no partition {partition!r} in {lake.store.root}: materialize it before {model.asset_name}"
        )
    return from_json(
        DatasetManifest, ledger[partition].record, what=f"the manifest of {model.dataset.table_name} {partition}"
    )


def _split(lake: Lake, model: Model, partition: str, dataset: DatasetManifest, part: str, snapshot: int) -> _Split:
    view, table = dataset.view, quoted(f"__fti_{part}_part")
    order = ", ".join(map(quoted, view.order))
    rows = lake.rows(model.dataset.table, partitions=[partition], snapshot=snapshot)
    lake.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT row_number() OVER (ORDER BY {order}) AS {_ROW}, * "
        f"FROM {view_of(rows)} WHERE {quoted(SPLIT)} = '{part}'"
    )
    times = [Column(view.prediction_time, "timestamp")] if view.prediction_time else []
    fetched = fetch_columns(
        lake.connection.sql(f"FROM {table} ORDER BY {_ROW}"), [*view.features, dataset.label, *times]
    )
    return _Split(
        columns={feature.name: fetched[feature.name] for feature in view.features},
        labels=fetched[dataset.label.name],
        times=fetched[view.prediction_time] if view.prediction_time else None,
        table=table,
    )


def _champion_scores(
    model: Model,
    lake: Lake,
    store: ModelStore,
    dataset: DatasetManifest,
    test: _Split,
    data: TrainingData,
    outputs: Mapping[str, np.ndarray],
    exported: ExportedModel,
) -> ChampionScores | None:
    """The champion on the test rows that it has not trained on, and the challenger on the same ones."""
    champion = store.newest_accepted(model.name, before=dataset.cutoff)
    if champion is None:
        return None
    if (champion.dataset.trained_until is None) != (test.times is None):
        return ChampionScores(
            champion.reference,
            problem="was split without times and this model by time, or the other way round, so nobody knows which test rows the "
            "champion has trained on: leave this gate out until a build of the new split is the champion",
        )
    parts = champion.dataset.random_parts
    if test.times is None and (parts is None or parts.hash != HASH):
        return ChampionScores(
            champion.reference,
            problem="was split at random by an earlier release, which did not note how, so nobody knows which test rows it has "
            "trained on: leave this gate out until a build of this release is the champion",
        )
    unseen = (
        _unseen(champion, test)
        if parts is None or test.times is not None
        else _left_out(lake, parts, champion, dataset, test)
    )
    if not unseen.any():
        return ChampionScores(champion.reference, problem="has trained on every test row, so they cannot be compared")
    try:
        if champion.view != dataset.view:  # it is joined anew
            read_external(lake, model.view.groups)
        rows, answers = _champion_answers(
            lake, store, champion, model.view.spine, dataset, test, unseen, exported.classes
        )
        y, metrics = data.test.y[rows], model.evaluate.metrics
        own = {name: values[rows] for name, values in outputs.items()}
        return ChampionScores(
            champion.reference,
            evaluate(model.task, metrics, answers, y, exported.classes),
            challenger=evaluate(model.task, metrics, own, y, exported.classes),
        )
    except (ModelError, PredictionError, NotMaterializedError) as error:
        return ChampionScores(champion.reference, problem=f"cannot be compared with: {error}")


def _unseen(champion: ModelManifest, test: _Split) -> np.ndarray:
    until = champion.dataset.trained_until
    if until is None or test.times is None:
        return np.ones(len(test.labels), dtype=bool)
    return np.asarray(test.times > np.datetime64(instant(until), "us"))


def _left_out(
    lake: Lake, parts: RandomParts, champion: ModelManifest, dataset: DatasetManifest, test: _Split
) -> np.ndarray:
    """Which test rows the champion's own random split gave to its test part: by the keys in its own order."""
    own, now = champion.view.spine_keys, dataset.view.spine_keys
    share = share_sql(own if set(own) == set(now) else now, parts.seed)  # of other keys no answer is asked for
    rows = lake.connection.execute(f"SELECT {share} < {parts.test!r} AS left_out FROM {test.table} ORDER BY {_ROW}")
    return np.asarray(rows.fetchnumpy()["left_out"], dtype=bool)


def _champion_answers(
    lake: Lake,
    store: ModelStore,
    champion: ModelManifest,
    spine: FeatureGroup,
    dataset: DatasetManifest,
    test: _Split,
    unseen: np.ndarray,
    classes: Sequence[str],
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The numbers of the unseen test rows that the champion's spine has, and its answers for them.

    Raises:
        ModelError: its spine has other keys, or none of the rows.
    """
    rows, columns = _champion_columns(lake, champion, spine, dataset, test)
    chosen = unseen[rows]
    if not chosen.any():
        raise ModelError(f"its spine {champion.view.spine_table.name} has none of the test rows")
    _, graph = load_build(store, champion.model, champion.reference)
    answers = graph.run({name: values[chosen] for name, values in columns.items()})
    if "probabilities" in answers:
        answers["probabilities"] = _in_classes(answers["probabilities"], champion.classes, classes)
    return rows[chosen], answers


def _champion_columns(
    lake: Lake, champion: ModelManifest, spine: FeatureGroup, dataset: DatasetManifest, test: _Split
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The numbers of test rows and the champion's features of them: the dataset's own, or joined anew for another view.

    A function of the same version is called as it is now: its version says that its meaning did not change.
    """
    own = dataset.view
    calls = {(call.name, call.version): call for call in own.on_demand}
    on_demand = tuple(calls.get((call.name, call.version), call) for call in champion.view.on_demand)
    view = with_spine_times(dataclasses.replace(champion.view, on_demand=on_demand), spine)
    if all(getattr(view, name) == getattr(own, name) for name in ("spine", "spine_version", *_JOINED)):
        return np.arange(len(test.labels)), test.columns
    if set(view.spine_keys) != set(own.spine_keys):
        raise ModelError(f"it predicts by the keys {one_of(view.spine_keys)}, this model by {one_of(own.spine_keys)}")
    known = stored_spine(lake, view, snapshot=dataset.snapshot)
    same = [f"spine.{quoted(key)} = wanted.{quoted(key)}" for key in view.spine_keys]
    if view.prediction_time and own.prediction_time:
        same.append(f"spine.{quoted(view.prediction_time)} = wanted.{quoted(own.prediction_time)}")
    rows = lake.connection.sql(
        f"SELECT spine.*, wanted.{_ROW} FROM {test.table} wanted JOIN {view_of(known)} spine ON {' AND '.join(same)} "
        f"QUALIFY row_number() OVER (PARTITION BY wanted.{_ROW}) = 1 ORDER BY wanted.{_ROW}"
    )
    joined = assemble(lake, view, rows, snapshot=dataset.snapshot)
    fetched = fetch_columns(joined, [*view.features, Column(_ROW, "integer")])
    return fetched.pop(_ROW).astype(np.int64) - 1, fetched


def _in_classes(probabilities: np.ndarray, theirs: Sequence[str], ours: Sequence[str]) -> np.ndarray:
    """Probabilities ``[n, k]`` by the classes of another model: a class that it does not know has none."""
    if tuple(theirs) == tuple(ours):
        return probabilities
    known = {name: probabilities[:, position] for position, name in enumerate(theirs)}
    nothing = np.zeros(len(probabilities))
    arranged = np.stack([known.get(name, nothing) for name in ours], axis=1)
    arranged[arranged.sum(axis=1) == 0] = 1 / len(ours)
    return arranged


def _packages() -> dict[str, str]:
    results = {}
    for package in _PACKAGES:
        try:
            results[package] = version(package)
        except PackageNotFoundError:
            continue
    return results
