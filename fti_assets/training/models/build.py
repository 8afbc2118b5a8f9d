"""One build of a model at one cutoff: encode, train, export, evaluate, judge, publish, promote."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from fti_assets.core import clock
from fti_assets.core.manifest import OUTPUT_NAMES, ModelManifest
from fti_assets.core.manifest.contracts import CONTRACT_FILE
from fti_assets.core.manifest.learning import EpochRecord, LearningRecord
from fti_assets.core.manifest.profiles import PROFILE
from fti_assets.core.records import to_json
from fti_assets.core.times import instant
from fti_assets.errors import DamagedError, NotMaterializedError
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.samples import SAMPLES
from fti_assets.stores.models.store import ModelStore, build_id
from fti_assets.stores.models.unpromoted import left_behind, promote_new, publish_new
from fti_assets.stores.temporary_folders import temporary_folder
from fti_assets.training.judging.baselines.named import PRIOR
from fti_assets.training.judging.metrics.answers import THRESHOLD, Answers, answers_of
from fti_assets.training.judging.pictures.learning import LEARNING_FILE, learning_section
from fti_assets.training.judging.pictures.picture_page import PICTURES, calibration_section, picture_page
from fti_assets.training.judging.thresholds import cuts_of
from fti_assets.training.models.answers_profile import answers_profile
from fti_assets.training.models.card import model_card
from fti_assets.training.models.champions.promotion import is_promoted, successor_of_lost
from fti_assets.training.models.contract import contract_file
from fti_assets.training.models.cores.returns import check_converters
from fti_assets.training.models.graphs.calibrated import Calibrated, calibrated
from fti_assets.training.models.graphs.export import export
from fti_assets.training.models.graphs.parity import ExportedModel
from fti_assets.training.models.judgement import Judgement, judge
from fti_assets.training.models.model import Model
from fti_assets.training.models.packages import packages
from fti_assets.training.models.parts.dataset_parts import DatasetParts, read_parts
from fti_assets.training.models.tuned import Train, journal_of, train_model
from fti_assets.training.models.unused_weights import unused_weights
from fti_assets.training.trainer.fits.progress import Progress
from fti_assets.training.tuning.journal import forget_journal
from fti_assets.training.tuning.pictures import tuning_section
from fti_assets.training.tuning.study import STUDY, Study

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Build:
    """A published build, what its exported graph answers on the test split, and the epochs of its training.

    ``outputs`` and ``y`` are ``[n]`` or ``[n, k]``; ``study`` are the trials that chose its parameters, if it is tuned;
    ``queries`` are the numbers of each row's query ``[n]``, if it ranks, ``weight`` what each row counts, if they do not count alike;
    ``uncalibrated`` is what the graph would answer without its calibration, if it has one.
    """

    manifest: ModelManifest
    outputs: np.ndarray
    y: np.ndarray
    study: Study | None = None
    epochs: Sequence[EpochRecord] = ()
    uncalibrated: np.ndarray | None = None
    queries: np.ndarray | None = None
    weight: np.ndarray | None = None

    @property
    def answers(self) -> Answers:
        """What metrics are computed from."""
        task, threshold, labels = self.manifest.task, self.manifest.threshold, self.manifest.classes
        thresholds = self.manifest.thresholds and {label: self.manifest.thresholds[label] for label in labels}
        declared = THRESHOLD if threshold is None else threshold.value
        return answers_of(
            task,
            {OUTPUT_NAMES[task]: self.outputs},
            self.y,
            self.manifest.classes,
            threshold=cuts_of(thresholds) if thresholds else declared,
            queries=self.queries,
            weight=self.weight,
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
    because: str = "",
) -> Build:
    """Train, judge and publish one build from a materialized dataset; promote it if the gates and its cutoff let it.

    A study that was killed goes on if nothing has changed, nor ``config``, which says what the function is run with. ``because`` has the
    reasons of the triggers that asked for it.

    Raises:
        NotMaterializedError: the dataset's partition is not there.
        ModelError: there is nothing to train or test on, or what the function gave cannot be exported.
        AliasConflictError: the champion changed meanwhile; the build is in the store and was not promoted.
        StoreError: there is no room for the train rows or for the build, or the champion's manifest is of a later release.
    """
    check_converters(model.annotations.get("return"))
    progress, began = progress or Progress(), time.monotonic()
    # Read before anything is compared: promotion fails if the champion has changed meanwhile.
    alias = _champion(model, store, warn)
    with temporary_folder("fti_rows_") as folder:
        parts = read_parts(model, partition, lake, folder, progress)
        data, what = parts.data, f"{model.dataset.table_name} {partition}"
        seed = str(progress.seed)
        journal = journal_of(model, store, partition, parts.data_version, code_version, seed, config)
        trained, study = train_model(model, data, train, journal, log=log, warn=warn)
        weight_warnings = unused_weights(data, model.weights, what=f"model {model.name!r}")
        exported, calibration = export(trained, data.encoder, data, model.task), None
        if model.calibrate is not None:
            calibration = calibrated(exported, model.calibrate, data, model.task, what=what)
            exported = calibration.exported
        judgement = judge(model, parts, exported, lake, store)
        warnings = (*weight_warnings, *parts.warnings(exported.encoders))
    build = build_id(instant(parts.manifest.cutoff))
    answers = judgement.outputs[OUTPUT_NAMES[model.task]]
    files = _files(model, build, parts, exported, judgement, progress, study, calibration)
    measurement = judgement.measurement
    manifest = ModelManifest(
        model=model.name,
        version=model.version,
        build=build,
        task=model.task,
        status="accepted" if judgement.is_accepted else "rejected",
        cutoff=parts.manifest.cutoff,
        created_at=clock.now().isoformat(),
        view=parts.manifest.view,
        dataset=parts.record,
        inputs=exported.inputs,
        outputs=exported.outputs,
        encoders={name: dataclasses.asdict(encoder) for name, encoder in exported.encoders.items()},
        metrics=measurement.metrics,
        baseline=dict(judgement.baselines[PRIOR].metrics),
        baselines={name: dict(one.metrics) for name, one in judgement.baselines.items() if name != PRIOR},
        calibration=None if calibration is None else calibration.record,
        description=str(model.options.get("description") or ""),
        intended_use=model.intended_use,
        limits=model.limits,
        gates=judgement.verdicts,
        snapshot=parts.manifest.snapshot,
        code_version=code_version,
        packages=packages(),
        sha256=hashlib.sha256(exported.bytes).hexdigest(),
        classes=exported.classes,
        warnings=warnings,
        latency_goal=None if model.latency_goal is None else model.latency_goal.total_seconds(),
        slices=measurement.slices,
        run_id=run_id,
        asset_key=tuple(asset_key),
        comparison=exported.comparison,
        importance=judgement.importance,
        fairness=measurement.fairness,
        intervals=measurement.intervals,
        slice_intervals=measurement.slice_intervals,
        bootstrap=measurement.bootstrap,
        seed=progress.seed,
        trained_because=because,
        seconds=round(time.monotonic() - began, 3),
        threshold=judgement.thresholds[""] if model.task == "binary" else None,
        thresholds=dict(judgement.thresholds) if model.task == "multilabel" else {},
        tuning=None if study is None else study.in_short,
        files={name: hashlib.sha256(content).hexdigest() for name, content in files.items()},
    )
    # Rejected builds are published too, so that somebody can look at why; they can never be promoted.
    content = (manifest, exported.bytes, model_card(manifest, parts.manifest, progress.history), files)
    if is_next := manifest.status == "accepted" and is_promoted(model.promote, alias, manifest):
        publish_new(store, *content, expected=alias, run_id=run_id)
    else:
        store.publish(*content)
    if study is not None:
        forget_journal(journal)
    if is_next:
        promote_new(store, manifest, expected=alias, reason="accepted by its gates", run_id=run_id)
    before = None if calibration is None else calibration.before
    queries = data.test.qid if model.task == "ranking" else None
    return Build(manifest, answers, data.test.y, study, tuple(progress.history), before, queries, data.test.counts)


def _champion(model: Model, store: ModelStore, warn: Callable[[str], object]) -> str | None:
    """The reference of the champion, if there is one; says what becomes of one that cannot be read.

    Raises:
        StoreError: it is of a later release: it cannot be judged, nor be followed by a build of this one.
    """
    alias = store.aliases(model.name).champion
    for note in left_behind(store, model.name):
        warn(f"{model.name} {note.build} was accepted, and is not champion: {note.reason}")
    if alias is not None:
        try:
            store.manifest(model.name, alias)
        except (DamagedError, NotMaterializedError) as error:
            next_one = successor_of_lost(model.promote, alias, model.name)
            warn(f"the champion of {model.name} cannot be read, and {next_one}. {error}")
    return alias


def _files(
    model: Model,
    build: str,
    parts: DatasetParts,
    exported: ExportedModel,
    judgement: Judgement,
    progress: Progress,
    study: Study | None,
    calibration: Calibrated | None,
) -> dict[str, bytes]:
    """What lies in a build beside its graph, manifest and card, by the name of the file."""
    y = parts.data.test.y
    sections = []
    if calibration is not None:
        sections.append(
            calibration_section(model.task, calibration.before, y, calibration.record.method, parts.data.labels)
        )
    if study is not None:
        sections.append(tuning_section(study))
    if progress.history:
        sections.append(learning_section(progress.history))
    page = picture_page(
        f"{model.name} v{model.version}, build {build}",
        model.task,
        judgement.outputs[OUTPUT_NAMES[model.task]],
        y,
        judgement.measurement.slices,
        model.evaluate.metric_names,
        judgement.importance,
        sections,
        labels=parts.data.labels,
        queries=parts.data.test.qid if model.task == "ranking" else None,
        weight=parts.manifest.weight,
    )
    files = {PICTURES: page.encode(), CONTRACT_FILE: contract_file(model)}
    if exported.samples:
        files[SAMPLES] = exported.samples.to_json()
    if parts.manifest.profile is not None:
        outputs = judgement.outputs[OUTPUT_NAMES[model.task]]
        answers = answers_profile(model.task, outputs, exported.classes)
        files[PROFILE] = to_json(dataclasses.replace(parts.manifest.profile, answers=answers)).encode()
    if study is not None:
        files[STUDY] = to_json(study).encode()
    if progress.history:
        files[LEARNING_FILE] = to_json(LearningRecord(progress.seed, tuple(progress.history))).encode()
    return files
