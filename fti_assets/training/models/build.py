"""One build of a model at one cutoff: encode, train, export, evaluate, judge, publish, promote."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

from fti_assets.core import clock
from fti_assets.core.manifest import OUTPUT_NAMES, Column, DatasetManifest, DatasetRecord, ModelManifest
from fti_assets.core.records import from_json
from fti_assets.core.sql import quoted
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
from fti_assets.stores.models.samples import SAMPLES
from fti_assets.stores.models.store import ModelStore, build_id
from fti_assets.training.datasets.dataset import SPLIT
from fti_assets.training.datasets.rows import where_the_parts_lie
from fti_assets.training.datasets.split import HASH, SPLITS, TimeSplit, share_sql
from fti_assets.training.encoders.encoders import check_encoders, fit_encoders
from fti_assets.training.encoders.float32 import float32_warnings
from fti_assets.training.judging.evaluation import baseline, evaluate, evaluate_slices
from fti_assets.training.judging.gates import ChampionScores, Scores
from fti_assets.training.judging.picture_page import PICTURES, picture_page
from fti_assets.training.models.card import model_card
from fti_assets.training.models.data import TrainingData, refuse_one_class
from fti_assets.training.models.export import ExportedModel, export
from fti_assets.training.models.model import Model
from fti_assets.training.models.promotion import is_promoted

_log = logging.getLogger(__name__)
_JOINED = ("joins", "on_demand", "features")
_PACKAGES = [
    "fti_assets",
    "dagster",
    "duckdb",
    "numpy",
    "onnx",
    "onnxruntime",
    "torch",
    "pytorch-lightning",
    "scikit-learn",
]
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
    # Read before anything is compared: promotion fails if the champion has changed meanwhile.
    alias = store.aliases(model.name).champion
    with lake.one_snapshot():  # the dataset can be made anew meanwhile
        snapshot, ledger = lake.snapshot(), lake.ledger(model.dataset.table)
        if partition not in ledger:
            raise NotMaterializedError(
                f"{model.dataset.table_name} has no partition {partition!r} in {lake.store.root}: materialize it before {model.asset_name}"
            )
        what = f"the manifest of {model.dataset.table_name} {partition}"
        dataset = from_json(DatasetManifest, ledger[partition].record, what=what, remedy="materialize it again")
        parts = {part: _split(lake, model, partition, dataset, part, snapshot) for part in SPLITS}
    empty = [part for part in ("train", "test") if not len(parts[part].labels)]
    if empty:
        raise ModelError(
            f"{model.dataset.table_name} {partition} has no rows in {' and '.join(empty)}: {dataset.rows}{_newest(model, dataset)}"
        )
    features = dataset.view.features
    large, merged = _beyond_float64(lake, parts["train"].table, features)
    encoders = fit_encoders(features, check_encoders(features, model.encoders), parts["train"].columns, large)
    data = TrainingData(
        features,
        encoders,
        {part: rows.columns for part, rows in parts.items()},
        {part: rows.labels for part, rows in parts.items()},
        task=model.task,
    )
    refuse_one_class(data, what=f"{model.dataset.table_name} {partition}", label=model.view.label.name)
    if "torch" in sys.modules:
        # Only where torch is loaded: importing it costs seconds, and other models do not need it.
        sys.modules["torch"].manual_seed(0)
    # From here on the exported graph answers, not the trained model: what is judged is what will serve.
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
            data_version=ledger[partition].data_version,
            rows=dataset.rows,
            point_in_time=dataset.point_in_time,
            trained_until=dataset.trained_until,
            random_parts=dataset.random_parts,
        ),
        inputs=exported.inputs,
        outputs=exported.outputs,
        encoders={name: dataclasses.asdict(encoder) for name, encoder in encoders.items()},
        metrics=scores,
        baseline=prior,
        gates=tuple(verdicts),
        snapshot=dataset.snapshot,
        code_version=code_version,
        packages=packages(),
        sha256=hashlib.sha256(exported.bytes).hexdigest(),
        classes=exported.classes,
        warnings=tuple(float32_warnings(encoders, parts["train"].columns, merged)),
        latency_goal=None if model.latency_goal is None else model.latency_goal.total_seconds(),
        slices=slices,
        run_id=run_id,
        asset_key=tuple(asset_key),
        files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    )
    # Rejected builds are published too, so that somebody can look at why; they can never be promoted.
    store.publish(manifest, exported.bytes, model_card(manifest, dataset), files)
    if manifest.status == "accepted" and is_promoted(model.promote, alias, manifest):
        store.promote(model.name, manifest.reference, expected=alias, reason="accepted by its gates", run_id=run_id)
    return Build(manifest, answers, data.test.y)


def _newest(model: Model, dataset: DatasetManifest) -> str:
    """Where a dataset's rows lie beside where its time split looks for them."""
    split, until = model.dataset.split, dataset.trained_until
    if not isinstance(split, TimeSplit) or split.has_shares or until is None:
        return ""
    parts = split.boundaries(instant(dataset.cutoff), model.dataset.view.label.age)
    return f"; its newest row that trains or validates is of {until}{where_the_parts_lie(model.dataset, parts)}"


def _split(lake: Lake, model: Model, partition: str, dataset: DatasetManifest, part: str, snapshot: int) -> _Split:
    view, table = dataset.view, quoted(f"__fti_{part}_part")
    order = ", ".join(map(quoted, view.order))
    rows = lake.rows(model.dataset.table, partitions=[partition], snapshot=snapshot)
    lake.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT row_number() OVER (ORDER BY {order}) AS {_ROW}, * "
        f"FROM {relation_name(rows)} WHERE {quoted(SPLIT)} = '{part}'"
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


_EXACT = 2**53
"""From here on a float64 stands for several whole numbers."""
_WIDE = ("bigint", "ubigint", "hugeint", "uhugeint", "decimal")
"""The types of which float64 merges numbers."""


def _beyond_float64(lake: Lake, table: str, features: Sequence[Column]) -> tuple[dict[str, int], dict[str, int]]:
    """Stored features beside what float64 makes of them.

    Returns:
        a whole number of each feature that has one of 2**53 and more; how many different values each feature has of which float64
        merges some.
    """
    relation = lake.connection.sql(f"FROM {table}")
    types = dict(zip(relation.columns, relation.types, strict=True))
    large: dict[str, int] = {}
    merged: dict[str, int] = {}
    for feature in features:
        kind, name = types[feature.name].id, quoted(feature.name)
        if kind not in _WIDE:
            continue
        smallest, largest = lake.connection.sql(f"SELECT min({name}), max({name}) FROM {table}").fetchall()[0]
        if smallest is None:
            continue
        extreme = max(smallest, largest, key=abs)
        if kind != "decimal":
            if abs(extreme) < _EXACT:
                continue
            large[feature.name] = int(extreme)
        stored, left = lake.connection.sql(
            f"SELECT count(DISTINCT {name}), count(DISTINCT {name}::DOUBLE) FROM {table}"
        ).fetchall()[0]
        if left < stored:
            merged[feature.name] = stored
    return large, merged


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
    damaged: list[str] = []
    while True:
        champion = store.newest_accepted(model.name, before=dataset.cutoff, besides=damaged)
        if champion is None:
            return None
        try:
            _, graph = load_build(store, champion.model, champion.reference)
        except DamagedError as error:  # nobody can compare with it any more: the one before it is what there is
            _log.warning("%s is not compared with %s, which is damaged: %s", model.name, champion.reference, error)
            damaged.append(champion.reference)
        except (PredictionError, NotMaterializedError) as error:
            return ChampionScores(champion.reference, problem=f"cannot be compared with: {error}")
        else:
            return _scores_beside(champion, graph, model, lake, dataset, test, data, outputs, exported)


def _scores_beside(
    champion: ModelManifest,
    graph: Graph,
    model: Model,
    lake: Lake,
    dataset: DatasetManifest,
    test: _Split,
    data: TrainingData,
    outputs: Mapping[str, np.ndarray],
    exported: ExportedModel,
) -> ChampionScores:
    try:
        untrained = _untrained(lake, champion, dataset, test)
        if champion.view != dataset.view:  # it is joined anew
            read_external(lake, model.view.groups)
        rows, columns = _champion_columns(lake, champion, model.view.spine, dataset, test)
        chosen = untrained[rows]
        if not chosen.any():
            raise ModelError(f"its spine {champion.view.spine_table.name} has none of the test rows")
        answers = graph.run({name: values[chosen] for name, values in columns.items()})
        if "probabilities" in answers:
            answers["probabilities"] = _in_classes(answers["probabilities"], champion.classes, exported.classes)
        rows = rows[chosen]
        own = {name: values[rows] for name, values in outputs.items()}
        y, metrics = data.test.y[rows], model.evaluate.metrics
        return ChampionScores(
            champion.reference,
            evaluate(model.task, metrics, answers, y, exported.classes),
            challenger=evaluate(model.task, metrics, own, y, exported.classes),
        )
    except _Incomparable as error:
        return ChampionScores(champion.reference, problem=str(error))
    except (ModelError, PredictionError, NotMaterializedError) as error:
        return ChampionScores(champion.reference, problem=f"cannot be compared with: {error}")


class _Incomparable(Exception):
    """Why no test row is left to compare a champion on, as what the verdict says of it."""


def _untrained(lake: Lake, champion: ModelManifest, dataset: DatasetManifest, test: _Split) -> np.ndarray:
    """Which test rows ``[n]`` the champion has not trained on: by time, or those that its own random split gave to its test part.

    Raises:
        _Incomparable: it has trained on all, or nobody knows.
    """
    until, parts = champion.dataset.trained_until, champion.dataset.random_parts
    if (until is None) != (test.times is None):
        raise _Incomparable(
            "was split without times and this model by time, or the other way round, so nobody knows which test rows the "
            "champion has trained on: leave this gate out until a build of the new split is the champion"
        )
    if until is not None and test.times is not None:
        untrained = test.times > np.datetime64(instant(until), "us")
    elif parts is None or parts.hash != HASH:
        raise _Incomparable(
            "was split at random by an earlier release, which did not note how, so nobody knows which test rows it has "
            "trained on: leave this gate out until a build of this release is the champion"
        )
    else:
        own, now = champion.view.spine_keys, dataset.view.spine_keys
        share = share_sql(own if set(own) == set(now) else now, parts.seed)  # of other keys no answer is asked for
        rows = lake.connection.execute(f"SELECT {share} < {parts.test!r} AS test FROM {test.table} ORDER BY {_ROW}")
        untrained = rows.fetchnumpy()["test"].astype(bool)
    if not untrained.any():
        raise _Incomparable("has trained on every test row, so they cannot be compared")
    return np.asarray(untrained)


def _champion_columns(
    lake: Lake, champion: ModelManifest, spine: FeatureGroup, dataset: DatasetManifest, test: _Split
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The numbers of test rows and the champion's features of them: the dataset's own, or joined anew for another view.

    Raises:
        ModelError: its spine has other keys.
    """
    own = dataset.view
    # A function of the same version is called as it is now: its version says that its meaning did not change.
    calls = {(call.name, call.version): call for call in own.on_demand}
    on_demand = tuple(calls.get((call.name, call.version), call) for call in champion.view.on_demand)
    view = with_spine_times(dataclasses.replace(champion.view, on_demand=on_demand), spine)
    if all(getattr(view, name) == getattr(own, name) for name in ("spine", "spine_version", *_JOINED)):
        return np.arange(len(test.labels)), test.columns
    if set(view.spine_keys) != set(own.spine_keys):
        raise ModelError(f"it predicts by the keys {one_of(view.spine_keys)}, this model by {one_of(own.spine_keys)}")
    versions = stored_spine(lake, view, snapshot=dataset.snapshot)
    pairs = {key: key for key in view.spine_keys}
    if view.prediction_time and own.prediction_time:
        pairs[view.prediction_time] = own.prediction_time
    same = equal_columns(lake.connection, test.table, pairs, rows="test", stored="spine")
    rows = lake.connection.sql(
        f"SELECT spine.*, test.{_ROW} FROM {test.table} test JOIN {relation_name(versions)} spine ON {same} "
        f"QUALIFY row_number() OVER (PARTITION BY test.{_ROW}) = 1 ORDER BY test.{_ROW}"
    )
    features = fetch_columns(
        assemble(lake, view, rows, snapshot=dataset.snapshot), [*view.features, Column(_ROW, "integer")]
    )
    return features.pop(_ROW).astype(np.int64) - 1, features


def _in_classes(probabilities: np.ndarray, theirs: Sequence[str], ours: Sequence[str]) -> np.ndarray:
    """Probabilities ``[n, k]`` by the classes of another model: a class that it does not know has none."""
    if tuple(theirs) == tuple(ours):
        return probabilities
    of_class = dict(zip(theirs, probabilities.T, strict=True))
    nothing = np.zeros(len(probabilities))
    in_ours = np.stack([of_class.get(name, nothing) for name in ours], axis=1)
    # Where it is sure of a class that this model does not have, it says nothing of the others: each is as likely.
    in_ours[in_ours.sum(axis=1) == 0] = 1 / len(ours)
    return in_ours


def packages() -> dict[str, str]:
    """The versions of what makes builds, of what is installed."""
    versions = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions
