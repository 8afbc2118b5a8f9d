"""What lies beside a build of its tuning: every trial with its parameters, values and seconds."""

from __future__ import annotations

from collections import Counter
from dataclasses import field
from typing import Any, Literal

from fti_assets.core.manifest import TuningRecord
from fti_assets.core.records import record

STUDY = "tuning.json"
"""The study's file name in a build."""


@record(frozen=True)
class TrialRecord:
    """One trial.

    ``value`` is that of the tuned metric on validation, None unless the trial is complete. ``reported`` are the values that the function
    reported, by epoch. ``seed`` is that of the sampler. ``same_as`` is the trial that had the same parameters: this one was not trained.
    """

    number: int
    state: Literal["complete", "pruned", "failed"]
    parameters: dict[str, Any]
    value: float | None
    reported: dict[str, float]
    seconds: float
    seed: int
    error: str = ""
    same_as: int | None = None
    rungs: dict[str, float] = field(default_factory=dict)


@record(frozen=True)
class Study:
    """The trials of one build.

    ``space`` is how the space was written, by parameter. ``importance`` is the share of the variance of the metric that each parameter
    explains, of those that all trials have. ``resumed`` is the number of trials that a run made that ended before its build was there.
    """

    metric: str
    higher_is_better: bool
    pruning: str
    seed: int
    sampler: str
    space: dict[str, str]
    trials: tuple[TrialRecord, ...]
    importance: dict[str, float] = field(default_factory=dict)
    resumed: int = 0
    format: int = 1

    @property
    def best(self) -> TrialRecord | None:
        """The trial with the best value, of equal ones the first; None if no trial is complete."""
        sign = -1 if self.higher_is_better else 1
        complete = [one for one in self.trials if one.value is not None and one.state == "complete"]
        return min(complete, key=lambda one: (sign * (one.value or 0.0), one.number), default=None)

    @property
    def counts(self) -> dict[str, int]:
        """How many trials ended in each way."""
        return dict(Counter(one.state for one in self.trials))

    @property
    def in_short(self) -> TuningRecord:
        """What the manifest says of it."""
        best = self.best
        assert best is not None  # a study without a complete trial makes no build
        return TuningRecord(
            metric=self.metric,
            value=float(best.value or 0.0),
            parameters=best.parameters,
            best=best.number,
            trials=len(self.trials),
            pruned=self.counts.get("pruned", 0),
            failed=self.counts.get("failed", 0),
            seed=self.seed,
        )


def parameters_text(parameters: dict[str, Any]) -> str:
    """Parameters as a line tells them.

    >>> parameters_text({"alpha": 0.123456789, "family": "ridge"})
    'alpha=0.123457, family=ridge'
    """
    return ", ".join(f"{name}={_value_text(value)}" for name, value in parameters.items())


def _value_text(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
