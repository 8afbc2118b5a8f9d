"""Training once a monitor warns of drift, or of a model that does worse."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.concise import Concise
from fti_assets.training.triggers.trigger import Breach, Cause, Situation, breach_cause, checked_monitor

QUALITY, SERVICE = "quality", "service"
"""The subjects of a monitor's figures that are no drift."""

MISSING_ANSWERS = "missing_answers"
"""The statistic that is no drift of values: a model that is trained again answers no more."""


class _OnBreaches(Concise):
    """What the triggers of a monitor's breaches share; each says which of them count."""

    monitor: Any

    @property
    def monitor_name(self) -> str:
        """The monitor's name."""
        return str(self.monitor)

    def cause(self, situation: Situation) -> Cause | None:
        """As late as the last partition that breaches."""
        return breach_cause(
            [one for one in situation.breaches(self.monitor_name) if self._counts(one)], self.monitor_name
        )

    def _counts(self, breach: Breach) -> bool:
        raise NotImplementedError


@checked_arguments(itself=["monitor"])
@dataclass(frozen=True, repr=False)
class OnDrift(_OnBreaches):
    """Retrain when a monitor warns that values have drifted.

    A breach is a figure whose newest judged partition has the verdict ``warning``; the monitor says how many consecutive partitions
    that takes. Each partition triggers once, so a lasting drift triggers again after the cool-down. A warning that was measured
    together with or after a later partition, because rows or labels came late, also counts. It counts as far back from the newest
    partition as the cool-down is long, unless the newest build has learned from its partition.

    Args:
        monitor: its name, or ``name_v2`` for one of several versions. A monitor of this model depends on the model, so only its
            name can be given.
        statistics: such as ``["psi", "ks"]``; by default all that the monitor judges except ``missing_answers``.
        columns: features, labels or outputs; all by default.
        slices: whether a breach of a slice also counts, not only one of all rows.

    >>> OnDrift("delay_monitor", statistics=["psi"]).name
    'on_drift_in_delay_monitor'
    """

    monitor: Any
    statistics: Sequence[str] | None = None
    columns: Sequence[str] | None = None
    slices: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "monitor", checked_monitor(self.monitor, what="OnDrift"))

    @property
    def name(self) -> str:
        """``on_drift_in_<monitor>``."""
        return f"on_drift_in_{self.monitor}"

    def _counts(self, breach: Breach) -> bool:
        return (
            breach.subject not in (QUALITY, SERVICE)
            and (self.statistics is not None or breach.statistic != MISSING_ANSWERS)
            and (self.slices or not breach.slice)
            and (self.statistics is None or breach.statistic in self.statistics)
            and (self.columns is None or breach.column_name in self.columns)
        )


@checked_arguments(itself=["monitor"])
@dataclass(frozen=True, repr=False)
class OnDegradation(_OnBreaches):
    """Retrain when a monitor warns that a metric of the answers is beyond its bound; breaches count as in ``OnDrift``.

    Args:
        metric: a metric that the monitor judges, such as ``"roc_auc"``.
        monitor: its name, or ``name_v2`` for one of several versions. A monitor of this model depends on the model, so only its
            name can be given.
        estimated: whether an estimate from before the labels arrived also counts; by default only mature labels do.
        slices: whether a breach of a slice also counts, not only one of all rows.

    >>> OnDegradation("roc_auc", monitor="delay_monitor").name
    'on_degradation_of_roc_auc_in_delay_monitor'
    """

    metric: str
    monitor: Any
    estimated: bool = False
    slices: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "monitor", checked_monitor(self.monitor, what=f"OnDegradation({self.metric!r})"))

    @property
    def name(self) -> str:
        """``on_degradation_of_<metric>_in_<monitor>``."""
        return f"on_degradation_of_{self.metric}_in_{self.monitor}"

    def _counts(self, breach: Breach) -> bool:
        return (
            breach.subject == QUALITY
            and breach.statistic == self.metric
            and (self.slices or not breach.slice)
            and (self.estimated or not breach.estimated)
        )
