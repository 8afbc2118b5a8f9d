"""The figures of a sample of answered rows: metrics of those that have turned out, estimates of all, and how far estimates were."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from fti_assets.core.manifest import Task, each_task
from fti_assets.core.manifest.intervals import Interval
from fti_assets.monitoring.measurement import Measurement
from fti_assets.monitoring.quality.estimate import Estimate, can_estimate, errors_of, estimates
from fti_assets.monitoring.quality.judging import CALIBRATION, ERROR, QUALITY, judged
from fti_assets.monitoring.quality.quality import LABEL_RATE, Quality, slicings
from fti_assets.monitors.quality.sample import Sample
from fti_assets.training.judging.evaluation import Evaluation
from fti_assets.training.judging.measurement import FEWEST_ROWS, measure
from fti_assets.training.judging.metrics.metric import base_of
from fti_assets.training.judging.metrics.registry import metric_named
from fti_assets.training.judging.slices import By, columns_of, slice_rows, slices_key

OF_THRESHOLDS = ("accuracy", "precision", "recall", "f1", "exact_match")
"""The metrics of a binary model, or of several such labels, that need its threshold."""


def needs_threshold(metric: str, task: Task) -> bool:
    """Whether a metric of a task's answers needs a threshold."""
    return each_task(task) == "binary" and base_of(metric_named(metric)).name in OF_THRESHOLDS


_SLICE_DRAWS = 400


@dataclass(frozen=True)
class SampleFigures:
    """All that is measured of a sample in a partition.

    Args:
        sample: the rows.
        start: of the partition.
        column: what the figures are called by, where several models answer in one row.
        rules: those that fit the model.
        estimate: whether estimates are made.
    """

    sample: Sample
    start: datetime
    column: str
    rules: Sequence[Quality]
    estimate: bool

    def measurements(self) -> Iterator[Measurement]:
        """The figures, each judged by itself.

        Raises:
            ModelError: a metric of the user's own fails.
        """
        sample = self.sample
        mature = int(sample.is_whole.sum())
        labelled = sample.part(sample.is_judged)
        rows = len(labelled.rows.labels)
        if mature:
            yield from self._label_rates()
            yield from self._truths(labelled, rows)
        if self.estimate and sample.probabilities is not None:
            yield from self._estimates(labelled if rows else None, mature=mature == len(sample.rows.labels))

    def _label_rates(self) -> Iterator[Measurement]:
        """Which share of the mature rows has turned out, over all and of the slices of its rule."""
        mature = self.sample.part(self.sample.is_whole)
        counts = mature.is_judged
        rule = next((one for one in self.rules if one.is_label_rate), None)
        over_all = self._figure(LABEL_RATE, float(counts.mean()), len(counts))
        if rule is None:
            yield over_all
            return
        yield self._judged(rule, over_all)
        for by in rule.sliced_by:
            if any(name not in mature.rows.columns for name in columns_of(by)):
                continue
            for value, at in slice_rows(by, mature.rows.columns, FEWEST_ROWS).items():
                figure = self._figure(LABEL_RATE, float(counts[at].mean()), len(at), part=f"{slices_key(by)}={value}")
                yield self._judged(rule, figure)

    @property
    def _metric_rules(self) -> list[Quality]:
        return [rule for rule in self.rules if not rule.is_label_rate]

    @property
    def _names(self) -> list[str]:
        names = [rule.metric for rule in self._metric_rules]
        if self.sample.threshold is not None:
            return names
        return [name for name in names if not needs_threshold(name, self.sample.task)]

    @property
    def _slicings(self) -> list[By]:
        """The slicings whose columns are there."""
        columns = self.sample.rows.columns
        return [by for by in slicings(self._metric_rules) if all(name in columns for name in columns_of(by))]

    def _truths(self, labelled: Sample, rows: int) -> Iterator[Measurement]:
        if not rows or not self._names:
            for rule in self._metric_rules:
                yield self._judged(rule, self._figure(rule.metric, None, rows))
            return
        names = self._names
        evaluation = Evaluation(metrics=names, slices=self._slicings)
        of_sample = measure(evaluation, labelled.judged_answers(), labelled.rows.columns, labelled.clusters)
        for rule in self._metric_rules:
            interval = of_sample.intervals.get(rule.metric)
            yield self._judged(rule, self._figure(rule.metric, of_sample.metrics.get(rule.metric), rows, interval))
            for key in map(slices_key, rule.sliced_by):
                for value, scores in of_sample.slices.get(key, {}).items():
                    interval = of_sample.slice_intervals.get(key, {}).get(value, {}).get(rule.metric)
                    figure = self._figure(
                        rule.metric, scores.get(rule.metric), int(scores["rows"]), interval, part=f"{key}={value}"
                    )
                    yield self._judged(rule, figure, key, value)

    def _estimates(self, labelled: Sample | None, *, mature: bool) -> Iterator[Measurement]:
        """Estimates of all answers, which are judged until so many labels have come that these are, and the errors of those that have come.

        Args:
            labelled: the rows that have turned out, None if none has.
            mature: whether all rows are, so that those are all that are awaited.
        """
        answered = self.sample.part(self.sample.is_answered)
        names = [name for name in self._names if can_estimate(name, self.sample.task)]
        rules = {rule.metric: rule for rule in self._metric_rules if rule.metric in names}
        if not names or not len(answered.rows.labels):
            return
        of_all = _estimated(answered, names)
        came = 0 if labelled is None or not mature else len(labelled.rows.labels)
        for name, rule in rules.items():
            yield from self._estimate(rule, of_all.get(name), len(answered.rows.labels), final=came >= rule.min_rows)
        for by in self._slicings:
            of_labels = slice_rows(by, labelled.rows.columns, 1) if labelled is not None and mature else {}
            sliced = [rule for rule in rules.values() if slices_key(by) in map(slices_key, rule.sliced_by)]
            for value, at in slice_rows(by, answered.rows.columns, FEWEST_ROWS).items() if sliced else ():
                of_slice = _estimated(answered.part(at), [rule.metric for rule in sliced], draws=_SLICE_DRAWS)
                came = len(of_labels[value]) if value in of_labels else 0
                for rule in sliced:
                    final = came >= rule.min_rows
                    yield from self._estimate(
                        rule, of_slice.get(rule.metric), len(at), slices_key(by), value, final=final
                    )
        if labelled is not None:
            truth = measure(Evaluation(metrics=names, confidence=None), labelled.judged_answers(), {}).metrics
            for name, error in errors_of(_estimated(labelled, names, draws=0), truth).items():
                yield self._figure(f"{name}{ERROR}", error, len(labelled.rows.labels))

    def _estimate(
        self, rule: Quality, one: Estimate | None, rows: int, key: str = "", value: str = "", *, final: bool
    ) -> Iterator[Measurement]:
        if one is None:
            return
        part = f"{key}={value}" if key else ""
        figure = self._figure(rule.metric, one.value, rows, one.interval, part=part, estimated=True)
        yield figure if final else self._judged(rule, figure, key, value)

    def _figure(
        self,
        statistic: str,
        value: float | None,
        rows: int,
        interval: Interval | None = None,
        *,
        part: str = "",
        estimated: bool = False,
    ) -> Measurement:
        return Measurement(
            partition_start=self.start,
            subject=QUALITY,
            column_name=self.column,
            statistic=statistic,
            reference=CALIBRATION if estimated else "",
            slice=part,
            build=self.sample.build,
            arm=self.sample.arm,
            value=value,
            low=None if interval is None else interval.low,
            high=None if interval is None else interval.high,
            rows=rows,
            estimated=estimated,
        )

    def _judged(self, rule: Quality, figure: Measurement, key: str = "", value: str = "") -> Measurement:
        manifest = self.sample.manifest
        own: Mapping[str, float] = {}
        if manifest is not None:
            own = manifest.slices.get(key, {}).get(value, {}) if key else manifest.metrics
        return judged(figure, rule, own.get(rule.metric))


def _estimated(sample: Sample, names: Sequence[str], draws: int | None = None) -> dict[str, Estimate]:
    assert sample.probabilities is not None
    return estimates(names, sample.answers_alone(), sample.probabilities, draws=draws)
