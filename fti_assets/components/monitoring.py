"""Monitors and parities in YAML: what judges a system as it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import dagster as dg

import fti_assets as fti
from fti_assets.components.attributes import AssetAttributes
from fti_assets.components.declaring import ComponentTree, DeclaringComponent
from fti_assets.components.predictions import PredictionLogComponent, PredictionsComponent
from fti_assets.components.scaffold import MonitorScaffolder, ParityScaffolder
from fti_assets.core.names import versioned_name
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.inference.log.log import PredictionLog
from fti_assets.monitors.late_labels.sensor import late_label_sensors
from fti_assets.monitors.monitor import Monitor
from fti_assets.monitors.parity.parity import Parity


class DriftAttributes(dg.Resolvable, dg.Model):  # type: ignore[misc]
    """How far values may drift; the attributes are those of ``fti.Drift``, with its own defaults."""

    statistic: str
    at_most: float | None = None
    columns: Sequence[str] | None = None
    in_a_row: int | None = None
    min_rows: int | None = None
    unusual: bool | None = None
    reference: Literal["training", "weeks_before"] | None = None

    def declare(self) -> fti.Drift:
        """The rule."""
        return fti.Drift(**self.model_dump(exclude_none=True))


class QualityAttributes(dg.Resolvable, dg.Model):  # type: ignore[misc]
    """A metric of the answers and how bad it may be; the attributes are those of ``fti.Quality``, with its own defaults."""

    metric: str
    at_least: float | None = None
    at_most: float | None = None
    drop: float | None = None
    in_a_row: int | None = None
    min_rows: int | None = None
    slices: Sequence[str | Sequence[str]] | None = None

    def declare(self) -> fti.Quality:
        """The rule."""
        return fti.Quality(**self.model_dump(exclude_none=True))


class _WatchingComponent(AssetAttributes, DeclaringComponent):
    """What watches answers: batch predictions, or a log."""

    name: str
    predictions: str | None = None
    log: str | None = None
    version: int = 1

    def names(self) -> Sequence[str]:
        """``delay_monitor`` and ``delay_monitor_v1``."""
        return self.name, versioned_name(self.name, self.version)

    def _predictions(self, tree: ComponentTree, what: str) -> BatchPredictions | None:
        if self.predictions is None:
            return None
        kinds = {PredictionsComponent: BatchPredictions}
        return self.look_up(tree, kinds, self.predictions, what=f"predictions of {what}")

    def _log(self, tree: ComponentTree, what: str) -> PredictionLog | None:
        if self.log is None:
            return None
        return self.look_up(tree, {PredictionLogComponent: PredictionLog}, self.log, what=f"log of {what}")


@dg.scaffold_with(MonitorScaffolder)
class MonitorComponent(_WatchingComponent):
    """A monitor: how values drift that a model sees and gives, and how good it was. The attributes are those of ``fti.monitor``.

    Args:
        name: the name of the monitor, by which a model's triggers call it.
        predictions: the batch predictions that are watched, by their name.
        log: the prediction log that is watched, by its name, in place of predictions.
        drift: ``[{statistic: psi, at_most: 0.25, columns: [temp]}]``; the rules of ``fti.monitor`` by default.
        weeks: how many weeks before a partition it is compared with.
        quality: ``[{metric: roc_auc, at_least: 0.7, in_a_row: 2}]``, the metrics that are measured.
        estimate: whether metrics are estimated until the labels have come.
    """

    drift: Sequence[DriftAttributes] | None = None
    weeks: int = 4
    quality: Sequence[QualityAttributes] = ()
    estimate: bool = True

    summary = "A monitor: drift and quality of answers, partition by partition, with checks that warn."

    def declare(self, tree: ComponentTree) -> Monitor:
        """The monitor."""
        what = f"monitor {self.name!r}"
        return fti.monitor(
            name=self.name,
            version=self.version,
            predictions=self._predictions(tree, what),
            log=self._log(tree, what),
            drift=None if self.drift is None else [rule.declare() for rule in self.drift],
            weeks=self.weeks,
            quality=[rule.declare() for rule in self.quality],
            estimate=self.estimate,
            **self.options(),
        )

    def sensors_of(self, declaration: Monitor) -> Sequence[dg.SensorDefinition]:
        """The sensor of labels that come late."""
        return late_label_sensors([declaration])


@dg.scaffold_with(ParityScaffolder)
class ParityComponent(_WatchingComponent):
    """A parity: past requests, replayed online, against the offline join of then. The attributes are those of ``fti.parity``.

    Args:
        name: the name of the parity.
        log: the prediction log whose answers are compared, by its name.
        predictions: batch predictions in place of a log, by their name.
        sample: how many requests of a partition are compared.
        lag: how much later than the lake the online store may be loaded, ``1min``.
    """

    sample: int = 1_000
    lag: str = "1min"

    summary = "A parity: past requests, replayed online, compared with the offline join of then."

    def declare(self, tree: ComponentTree) -> Parity:
        """The parity."""
        what = f"parity {self.name!r}"
        return fti.parity(
            name=self.name,
            version=self.version,
            log=self._log(tree, what),
            predictions=self._predictions(tree, what),
            sample=self.sample,
            lag=self.lag,
            **self.options(),
        )
