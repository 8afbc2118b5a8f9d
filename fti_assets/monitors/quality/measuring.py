"""The quality of what was answered in some partitions: of each build and arm, and over all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np

from fti_assets.core.manifest import BY_NAME, ModelManifest, Task, each_task
from fti_assets.core.times import Partition
from fti_assets.errors import FtiError, list_some
from fti_assets.monitoring.measurement import Measurement
from fti_assets.monitoring.quality.estimate import can_estimate
from fti_assets.monitoring.quality.quality import Quality, slicings, with_each_label
from fti_assets.monitors.answers.answered import Answered
from fti_assets.monitors.quality.answered_rows import AnsweredRows, answered_rows, features_beside, has_label
from fti_assets.monitors.quality.calibration import calibration_of
from fti_assets.monitors.quality.figures import SampleFigures, needs_threshold
from fti_assets.monitors.quality.sample import Sample, over_all
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.judging.metrics.answers import THRESHOLD, Thresholds
from fti_assets.training.judging.slices import columns_of
from fti_assets.training.judging.thresholds import cuts_of
from fti_assets.training.models.model import Model


@dataclass
class Qualities:
    """What was measured, and in words what could not be."""

    measurements: list[Measurement] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def quality_of(
    answers: Answered, store: ModelStore, partitions: Sequence[Partition], rules: Sequence[Quality], *, estimate: bool
) -> Qualities:
    """Measure the quality of one model's answers in some partitions; what cannot be measured of one build stops no other.

    Args:
        answers: of one model.
        store: with its builds.
        partitions: of the monitor.
        rules: the monitor's; those whose metric is for the model are measured.
        estimate: whether there are estimates of what has no mature label yet.
    """
    model, results = answers.model, Qualities()
    if not isinstance(model, Model) or answers.is_list:
        return results
    fitting = [rule for rule in rules if rule.is_for(model.task, list(model.view.labels))]
    if not fitting:
        return results
    fitting = with_each_label(fitting, model.task, list(model.view.labels))
    columns = list(dict.fromkeys(name for by in slicings(fitting) for name in columns_of(by)))
    try:
        rows = answered_rows(answers, partitions, columns)
    except FtiError as error:
        results.problems.append(f"the quality of the answers of {model.name!r} is not measured: {error}")
        return results
    of_builds = _Builds(answers, store, partitions, fitting, columns, estimate, results)
    samples = [one for build in np.unique(rows.build) for one in of_builds.samples(str(build), rows)]
    column = model.name if answers.prefix else ""
    # Without a maturity a label may lack because its group's run has not ended yet.
    is_awaited = any(label.age for label in model.view.labels.values())
    least = min(rule.min_rows for rule in fitting)
    for partition in partitions:
        own = [part for one in samples if len((part := _of_partition(one, partition)).rows.labels)]
        every = over_all(own) if own else None
        if own and every is None:
            results.problems.append(
                f"the builds that answered on {partition.key} have other classes or thresholds: they are measured one by one, not over all"
            )
        if is_awaited:
            results.problems += chain.from_iterable(_without_labels(sample, partition, least) for sample in own)
        of_each = [_figures(sample, partition, column, fitting, estimate, results) for sample in own]
        if len(own) == 1:
            results.measurements += [replace(one, build="", arm="") for one in of_each[0]]
        elif every is not None:
            results.measurements += _figures(every, partition, column, fitting, estimate, results)
        results.measurements += chain.from_iterable(of_each)
    return results


def _of_partition(sample: Sample, partition: Partition) -> Sample:
    return sample.part(sample.rows.partition == partition.key)


def _figures(
    sample: Sample, partition: Partition, column: str, rules: Sequence[Quality], estimate: bool, results: Qualities
) -> list[Measurement]:
    assert partition.start is not None
    if sample.build:
        results.problems += _left_out(sample, partition)
    try:
        return list(SampleFigures(sample, partition.start, column, rules, estimate).measurements())
    except FtiError as error:
        results.problems.append(
            f"the quality of {sample.build or 'all answers'} on {partition.key} is not measured: {error}"
        )
        return []


def _without_labels(sample: Sample, partition: Partition, least: int) -> Iterator[str]:
    """That no label has come though all rows are old enough, and so many that they could be judged."""
    rows = len(sample.rows.labels)
    if rows >= least and sample.is_whole.all() and not has_label(sample.rows.labels).any():
        yield f"none of the {rows} answers of {sample.build} on {partition.key} has a label: look at what brings the labels"


def _left_out(sample: Sample, partition: Partition) -> Iterator[str]:
    """What is wrong with answers and labels."""
    where = f"of {sample.build} on {partition.key}"
    if wrong := int((~sample.is_answered).sum()):
        yield f"{wrong} answer{'s are' if wrong > 1 else ' is'} left out {where}: not a finite number"
    if wrong := sample.strange_labels:
        kinds: dict[str, str] = {"binary": "is 0 or 1", "multiclass": "is one of its classes"}
        what = kinds.get(each_task(sample.task), "is a finite number")
        yield f"{wrong} label{'s are' if wrong > 1 else ' is'} left out {where}: a label {what}"


@dataclass
class _Builds:
    """What the answers of each build mean."""

    answers: Answered
    store: ModelStore
    partitions: Sequence[Partition]
    rules: Sequence[Quality]
    columns: Sequence[str]
    estimate: bool
    results: Qualities

    def samples(self, build: str, rows: AnsweredRows) -> Iterator[Sample]:
        """The rows of a build, by arm."""
        own, model = rows.part(rows.build == build), self.answers.model
        task, manifest = model.task, self._manifest(build)
        if task in BY_NAME:
            own = own.by_name(_names(own, task) if manifest is None else manifest.classes)
        if manifest is not None:
            own = self._with_features(own, manifest)
        sample = Sample(own, task, own.names, _threshold(manifest), build, manifest=manifest)
        sample = replace(sample, probabilities=self._probabilities(sample))
        for arm in np.unique(own.arm):
            yield replace(sample.part(own.arm == arm), arm=str(arm))

    def _manifest(self, build: str) -> ModelManifest | None:
        try:
            return self.store.manifest(self.answers.model.name, build)
        except FtiError as error:
            task = self.answers.model.task
            metrics = [
                rule.metric for rule in self.rules if not rule.is_label_rate and needs_threshold(rule.metric, task)
            ]
            without = f", but for {', '.join(metrics)}, since its threshold is not known" if metrics else ""
            self.results.problems.append(f"{build} is lost, its quality is measured all the same{without}: {error}")
            return None

    def _with_features(self, rows: AnsweredRows, manifest: ModelManifest) -> AnsweredRows:
        """The rows with the slices' columns that are features, as the build saw them."""
        joined = {one.name for one in manifest.view.features} - {one.name for one in manifest.view.request}
        names = [name for name in self.columns if name in joined or name not in rows.columns]
        if not names:
            return rows
        try:
            rows = features_beside(self.answers, rows, manifest, self.partitions, names)
        except FtiError as error:
            self.results.problems.append(
                f"what {manifest.reference} saw cannot be told, so it has no slices by {', '.join(names)}: {error}"
            )
            return replace(rows, columns={name: one for name, one in rows.columns.items() if name not in names})
        if absent := [name for name in names if name not in rows.columns]:
            self.results.problems.append(
                f"{manifest.reference} has no slices by {list_some(absent)}, neither a feature that it saw nor a column of its spine"
            )
        return rows

    def _probabilities(self, sample: Sample) -> np.ndarray | None:
        manifest = sample.manifest
        if not self.estimate or not any(can_estimate(rule.metric, sample.task) for rule in self.rules):
            return None
        if manifest is None:
            return None
        try:
            calibrated = calibration_of(self.answers.lake, self.store, manifest)
        except FtiError as error:
            self.results.problems.append(f"there are no estimates of {manifest.reference}: {error}")
            return None
        finite = sample.is_answered
        result = np.full(sample.rows.answers.shape, np.nan)
        probabilities = calibrated(sample.rows.answers[finite])
        if sample.task == "multiclass":
            probabilities = probabilities / probabilities.sum(axis=1, keepdims=True)
        result[finite] = probabilities
        return result


def _threshold(manifest: ModelManifest | None) -> Thresholds | None:
    """From which probability on a build says yes, of several labels each; None if it is lost."""
    if manifest is None:
        return None
    if manifest.thresholds:
        return cuts_of({label: manifest.thresholds[label] for label in manifest.classes})
    return THRESHOLD if manifest.threshold is None else manifest.threshold.value


def _names(rows: AnsweredRows, task: Task) -> Sequence[str]:
    """What the numbers of a lost build's answers are called: those that it gave some of, of several labels these."""
    if rows.label_names:
        return rows.label_names
    present = [name for place, name in enumerate(rows.names) if not np.isnan(rows.answers[:, place]).all()]
    return sorted(present, key=float) if task == "quantile" else sorted(present)
