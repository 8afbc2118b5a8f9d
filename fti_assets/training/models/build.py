"""One build of a model at one cutoff: encode, train, export, evaluate, judge, publish, promote."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from fti_assets.core import clock
from fti_assets.core.manifest import OUTPUT_NAMES, DatasetManifest, DatasetRecord, ImportanceRecord, ModelManifest
from fti_assets.core.manifest.learning import EpochRecord, LearningRecord
from fti_assets.core.manifest.profiles import PROFILE
from fti_assets.core.records import from_json, to_json
from fti_assets.core.times import instant
from fti_assets.errors import DamagedError, ModelError, NotMaterializedError
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.graphs.graph import Graph
from fti_assets.stores.models.samples import SAMPLES
from fti_assets.stores.models.store import ModelStore, build_id
from fti_assets.stores.temporary_folders import temporary_folder
from fti_assets.training.datasets.rows import where_the_parts_lie
from fti_assets.training.datasets.sampling.weights import undoing
from fti_assets.training.datasets.split import SPLITS, TimeSplit
from fti_assets.training.encoders.encoders import check_encoders, fit_encoders, needs_target
from fti_assets.training.encoders.float32 import float32_warnings
from fti_assets.training.judging.baselines.named import PRIOR
from fti_assets.training.judging.baselines.scored import baseline_scores
from fti_assets.training.judging.evaluation import evaluate
from fti_assets.training.judging.gates.gate import verdict_of
from fti_assets.training.judging.graph_cost import GraphCost
from fti_assets.training.judging.importance import permutation_importance
from fti_assets.training.judging.measurement import measure
from fti_assets.training.judging.metrics.answers import THRESHOLD, Answers, answers_of
from fti_assets.training.judging.pictures.learning import LEARNING_FILE, learning_section
from fti_assets.training.judging.pictures.picture_page import PICTURES, calibration_section, picture_page
from fti_assets.training.judging.scores import Scores
from fti_assets.training.judging.thresholds import threshold_of
from fti_assets.training.models.card import model_card
from fti_assets.training.models.champions.champion import champion_scores
from fti_assets.training.models.champions.promotion import is_promoted, successor_of_lost
from fti_assets.training.models.cores.returns import check_converters
from fti_assets.training.models.data import TrainingData, refuse_one_class, train_target, unused_weights
from fti_assets.training.models.graphs.calibrated import calibrated
from fti_assets.training.models.graphs.export import export
from fti_assets.training.models.model import Model
from fti_assets.training.models.split_rows import beyond_float64, column_positions, split_rows, train_rows
from fti_assets.training.models.tuned import Train, journal_of, train_model
from fti_assets.training.trainer.progress import Progress
from fti_assets.training.tuning.journal import forget_journal
from fti_assets.training.tuning.pictures import tuning_section
from fti_assets.training.tuning.study import STUDY, Study

_log = logging.getLogger(__name__)
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
    "skl2onnx",
    "lightgbm",
    "xgboost-cpu",
    "xgboost",
    "onnxmltools",
    "optuna",
]


@dataclass(frozen=True)
class Build:
    """A published build, what its exported graph answers on the test split, and the epochs of its training.

    ``outputs`` and ``y`` are ``[n]`` or ``[n, k]``; ``study`` are the trials that chose its parameters, if it is tuned;
    ``uncalibrated`` is what the graph would answer without its calibration, if it has one.
    """

    manifest: ModelManifest
    outputs: np.ndarray
    y: np.ndarray
    study: Study | None = None
    epochs: Sequence[EpochRecord] = ()
    uncalibrated: np.ndarray | None = None

    @property
    def answers(self) -> Answers:
        """What metrics are computed from."""
        task, threshold = self.manifest.task, self.manifest.threshold
        return answers_of(
            task,
            {OUTPUT_NAMES[task]: self.outputs},
            self.y,
            self.manifest.classes,
            threshold=THRESHOLD if threshold is None else threshold.value,
        )

    @property
    def is_accepted(self) -> bool:
        return self.manifest.status == "accepted"


def build_model_at(
    model: Model,
    partition: str,
    lake: Lake,
    store: ModelStore,
    train: Train,
    *,
    code_version: str,
    run_id: str,
    asset_key: Sequence[str],
    log: Callable[[str], object] = _log.info,
    warn: Callable[[str], object] = _log.warning,
    progress: Progress | None = None,
    config: str = "",
) -> Build:
    """Train, judge and publish one build from a materialized dataset; promote it if the gates and its cutoff let it.

    A study that was killed goes on if nothing has changed, nor ``config``, which says what the function is run with.

    Raises:
        NotMaterializedError: the dataset's partition is not there.
        ModelError: there is nothing to train or test on, or what the function gave cannot be exported.
        AliasConflictError: the champion changed meanwhile; the build is in the store and was not promoted.
        StoreError: there is no room for the train rows or for the build, or the champion's manifest is of a later release.
    """
    with temporary_folder("fti_rows_") as folder:
        return _build_model(
            model,
            partition,
            lake,
            store,
            train,
            code_version=code_version,
            run_id=run_id,
            asset_key=asset_key,
            folder=folder,
            log=log,
            warn=warn,
            progress=progress or Progress(),
            config=config,
        )


def _build_model(
    model: Model,
    partition: str,
    lake: Lake,
    store: ModelStore,
    train: Train,
    *,
    code_version: str,
    run_id: str,
    asset_key: Sequence[str],
    folder: Path,
    log: Callable[[str], object],
    warn: Callable[[str], object],
    progress: Progress,
    config: str,
) -> Build:
    check_converters(model.annotations.get("return"))
    # Read before anything is compared: promotion fails if the champion has changed meanwhile.
    alias = store.aliases(model.name).champion
    if alias is not None:
        try:  # one of a later release raises: it cannot be judged, nor be followed by a build of this one
            store.manifest(model.name, alias)
        except (DamagedError, NotMaterializedError) as error:
            next_one = successor_of_lost(model.promote, alias, model.name)
            warn(f"the champion of {model.name} cannot be read, and {next_one}. {error}")
    with lake.one_snapshot():  # the dataset can be made anew meanwhile
        snapshot, ledger = lake.snapshot(), lake.ledger(model.dataset.table)
        if partition not in ledger:
            raise NotMaterializedError(
                f"{model.dataset.table_name} has no partition {partition!r} in {lake.store.root}: materialize it before {model.asset_name}"
            )
        what = f"the manifest of {model.dataset.table_name} {partition}"
        dataset = from_json(DatasetManifest, ledger[partition].record, what=what, remedy="materialize it again")
        parts = {part: split_rows(lake, model, partition, dataset, part, snapshot) for part in SPLITS[1:]}
        learned = train_rows(lake, model, partition, dataset, snapshot, folder)
    labels = {"train": learned.labels, **{part: rows.labels for part, rows in parts.items()}}
    empty = [part for part in ("train", "test") if not len(labels[part])]
    if empty:
        raise ModelError(
            f"{model.dataset.table_name} {partition} has no rows in {' and '.join(empty)}: {dataset.rows}{_newest(model, dataset)}"
        )
    features = dataset.view.features
    large, exact_counts = beyond_float64(lake, learned.table, features)
    of_features, target = check_encoders(features, model.encoders), None
    if needs_target(of_features):
        target = train_target(learned.labels, model.task)
    encoders = fit_encoders(features, of_features, learned.stored.columns, large, target)
    data = TrainingData(
        features,
        encoders,
        {"train": learned.stored, **{part: rows.columns for part, rows in parts.items()}},
        labels,
        task=model.task,
        progress=progress,
        undo=undoing(learned.labels, dataset.sample),
        weights=model.weights,
        levels=model.levels,
    )
    refuse_one_class(data, what=f"{model.dataset.table_name} {partition}", label=model.view.label.name)
    data_version = ledger[partition].data_version
    journal = journal_of(model, store, partition, data_version, code_version, str(progress.seed), config)
    trained, study = train_model(model, data, train, journal, log=log, warn=warn)
    weight_warnings = unused_weights(data, model.weights, what=f"model {model.name!r}")
    # From here on the exported graph answers, not the trained model: what is judged is what will serve.
    model_graph = export(trained, data.encoder, data, model.task)
    calibration = None
    if model.calibrate is not None:
        where = f"{model.dataset.table_name} {partition}"
        calibration = calibrated(model_graph, model.calibrate, data, model.task, what=where)
        model_graph = calibration.exported
    graph = Graph.from_bytes(model_graph.bytes, model_graph.inputs, what=f"model {model.name!r}")
    outputs = graph.run(parts["test"].columns)
    threshold = threshold_of(
        model.evaluate.threshold,
        lambda: answers_of(model.task, graph.run(parts["validation"].columns), data.validation.y),
        what=f"{model.dataset.table_name} {partition}",
    )
    metrics, classes = model.evaluate.metric_names, model_graph.classes
    on_test = answers_of(model.task, outputs, data.test.y, classes, threshold=threshold.value)
    cluster = model.evaluate.cluster
    clusters = None if cluster is None else column_positions(lake, parts["test"].table, cluster)
    measurement = measure(
        model.evaluate,
        on_test,
        parts["test"].columns,
        clusters,
    )
    baselines = baseline_scores(
        model.task,
        metrics,
        model.gates,
        data.train,
        data.test,
        outputs,
        classes,
        threshold=threshold.value,
        clusters=clusters,
    )
    slices, prior = measurement.slices, baselines[PRIOR].metrics
    champion = champion_scores(
        model, lake, store, dataset, parts["test"], data, outputs, model_graph, threshold.value, clusters
    )
    columns = parts["test"].columns
    judged = Scores(
        measurement.metrics,
        prior,
        slices,
        champion,
        measurement.fairness,
        baselines,
        measurement.intervals,
        answers=on_test,
        graph=GraphCost(len(model_graph.bytes), lambda row: graph.run(_one_row(columns, row)), len(on_test.y)),
    )
    rows = np.arange(len(on_test.y))  # a gate of the user's own may write into the answers that it gets
    verdicts = [verdict_of(gate, dataclasses.replace(judged, answers=on_test.part(rows))) for gate in model.gates]
    importance = _importance(model, graph, parts["test"].columns, data.test.y, classes, threshold.value)
    build = build_id(instant(dataset.cutoff))
    answers = outputs[OUTPUT_NAMES[model.task]]
    title = f"{model.name} v{model.version}, build {build}"
    further = [] if study is None else [tuning_section(study)]
    further += [learning_section(progress.history)] if progress.history else []
    if calibration is not None:
        further.insert(0, calibration_section(model.task, calibration.before, data.test.y, calibration.record.method))
    page = picture_page(title, model.task, answers, data.test.y, slices, metrics, importance, further).encode()
    files = {PICTURES: page, **({SAMPLES: model_graph.samples.to_json()} if model_graph.samples else {})}
    if dataset.profile is not None:
        files[PROFILE] = to_json(dataset.profile).encode()
    if study is not None:
        files[STUDY] = to_json(study).encode()
    if progress.history:
        files[LEARNING_FILE] = to_json(LearningRecord(progress.seed, tuple(progress.history))).encode()
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
            data_version=data_version,
            rows=dataset.rows,
            point_in_time=dataset.point_in_time,
            trained_until=dataset.trained_until,
            random_parts=dataset.random_parts,
            upstream=dataset.upstream,
            where=dataset.where,
            sample=dataset.sample,
        ),
        inputs=model_graph.inputs,
        outputs=model_graph.outputs,
        encoders={name: dataclasses.asdict(encoder) for name, encoder in model_graph.encoders.items()},
        metrics=measurement.metrics,
        baseline=dict(prior),
        baselines={name: dict(one.metrics) for name, one in baselines.items() if name != PRIOR},
        calibration=None if calibration is None else calibration.record,
        description=str(model.options.get("description") or ""),
        intended_use=model.intended_use,
        limits=model.limits,
        gates=tuple(verdicts),
        snapshot=dataset.snapshot,
        code_version=code_version,
        packages=packages(),
        sha256=hashlib.sha256(model_graph.bytes).hexdigest(),
        classes=model_graph.classes,
        warnings=(*weight_warnings, *float32_warnings(model_graph.encoders, learned.stored.columns, exact_counts)),
        latency_goal=None if model.latency_goal is None else model.latency_goal.total_seconds(),
        slices=slices,
        run_id=run_id,
        asset_key=tuple(asset_key),
        comparison=model_graph.comparison,
        importance=importance,
        fairness=measurement.fairness,
        intervals=measurement.intervals,
        slice_intervals=measurement.slice_intervals,
        bootstrap=measurement.bootstrap,
        seed=progress.seed,
        threshold=threshold if model.task == "binary" else None,
        tuning=None if study is None else study.in_short,
        files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    )
    # Rejected builds are published too, so that somebody can look at why; they can never be promoted.
    store.publish(manifest, model_graph.bytes, model_card(manifest, dataset, progress.history), files)
    if study is not None:
        forget_journal(journal)
    if manifest.status == "accepted" and is_promoted(model.promote, alias, manifest):
        store.promote(model.name, manifest.reference, expected=alias, reason="accepted by its gates", run_id=run_id)
    before = None if calibration is None else calibration.before
    return Build(manifest, answers, data.test.y, study, tuple(progress.history), before)


def _importance(
    model: Model,
    graph: Graph,
    columns: Mapping[str, np.ndarray],
    y: np.ndarray,
    classes: Sequence[str],
    threshold: float,
) -> ImportanceRecord | None:
    """What each feature is worth to the graph on the test split, by the metric of the declaration, or the first one."""
    if model.importance is None:
        return None
    metric = model.importance.metric or model.evaluate.metric_names[0]

    def score(rows: np.ndarray, sample: Mapping[str, np.ndarray]) -> float | None:
        try:
            outputs = graph.run(sample)
            return evaluate(model.task, [metric], outputs, y[rows], classes, threshold=threshold).get(metric)
        except ModelError:  # rows that nobody has seen may have no finite answer
            return None

    taken = [name for one in graph.inputs for name in one.features]
    return permutation_importance(model.importance, columns, score, metric=metric, features=taken)


def _one_row(columns: Mapping[str, np.ndarray], row: int) -> dict[str, np.ndarray]:
    return {name: values[row : row + 1] for name, values in columns.items()}


def _newest(model: Model, dataset: DatasetManifest) -> str:
    """Where a dataset's rows lie beside where its time split looks for them."""
    split, until = model.dataset.split, dataset.trained_until
    if not isinstance(split, TimeSplit) or split.has_shares or until is None:
        return ""
    parts = split.boundaries(instant(dataset.cutoff), model.dataset.view.label.age)
    return f"; its newest row that trains or validates is of {until}{where_the_parts_lie(model.dataset, parts)}"


def packages() -> dict[str, str]:
    """The versions of what makes builds, of what is installed."""
    versions = {}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return versions
