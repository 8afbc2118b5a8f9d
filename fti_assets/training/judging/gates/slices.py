"""Gates on slices: how much worse a build may be for some of its rows."""

import math
from dataclasses import dataclass

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import GateVerdict
from fti_assets.errors import DeclarationError, ModelError, excerpt, one_of
from fti_assets.training.judging.gates.gate import defined_value, lead, undefined_text
from fti_assets.training.judging.metrics.metric import plain_name
from fti_assets.training.judging.metrics.registry import metric_named
from fti_assets.training.judging.scores import Scores
from fti_assets.training.judging.ties import resolution


@checked_arguments(itself=["min_rows"])
@dataclass(frozen=True)
class SliceGap:
    """Pass a challenger whose worst slice is at most ``at_most`` worse than all test rows together.

    Slices with fewer than ``min_rows`` test rows are left out, and so are those on which the metric is undefined. With none left
    there is nothing to fail on, and the verdict says so. Slices that the evaluation's own ``min_rows`` leaves out cannot be judged.

    Source: sliced thresholds as in TensorFlow Model Analysis.

    Args:
        metric: a metric's name.
        by: a column of the evaluation's slices, or crossed ones joined by commas, ``"origin, carrier"``.
        at_most: in the metric's own unit, at least 0; a gap of exactly this much passes.
        min_rows: the fewest test rows of a slice that counts.

    Raises:
        DeclarationError: there is no such metric, the gap is negative or not finite, or ``min_rows`` is not a whole number above 0.

    >>> gate = SliceGap("roc_auc", by="origin", at_most=0.15, min_rows=500)
    >>> slices = {"origin": {"JFK": {"roc_auc": 0.58, "rows": 900.0}, "LGA": {"roc_auc": 0.3, "rows": 5.0}}}
    >>> gate.judge(Scores({"roc_auc": 0.75}, slices=slices)).reason
    "roc_auc 0.58 of origin 'JFK' (900 rows) is worse than 0.75 overall by 0.17, more than 0.15; 1 slice of fewer than \
500 rows left out"
    """

    metric: str
    by: str
    at_most: float
    min_rows: int = 100

    def __post_init__(self) -> None:
        metric_named(self.metric)
        what = f"SliceGap({self.metric!r}, by={self.by!r})"
        if not (math.isfinite(self.at_most) and self.at_most >= 0):
            raise DeclarationError(f"{what} has at_most={self.at_most!r}: give a finite number, 0 or more")
        if not isinstance(self.min_rows, int) or isinstance(self.min_rows, bool) or not 1 <= self.min_rows < 2**63:
            raise DeclarationError(f"{what} has min_rows={excerpt(self.min_rows)}: give a whole number, 1 or more")

    @property
    def name(self) -> str:
        """``slice_gap_<metric>_by_<column>``; crossed columns are joined by ``_``."""
        return f"slice_gap_{plain_name(self.metric)}_by_{self.by.replace(', ', '_')}"

    def judge(self, scores: Scores) -> GateVerdict:
        """Judge a challenger's slices; an undefined overall metric does not pass.

        Raises:
            ModelError: the evaluation was not sliced by the column.
        """
        overall = defined_value(scores.metrics, self.metric)
        if overall is None:
            return GateVerdict(self.name, False, undefined_text(self.metric, "the model"))
        if self.by not in scores.slices:
            raise ModelError(f"the gate {self.name} needs the slices of {self.by!r}: there is {one_of(scores.slices)}")
        slices = scores.slices[self.by]
        large = {value: match for value, match in slices.items() if match["rows"] >= self.min_rows}
        left_out = _left_out(len(slices) - len(large), f"of fewer than {self.min_rows} rows")
        candidates = {
            value: score for value, match in large.items() if (score := defined_value(match, self.metric)) is not None
        }
        left_out += _left_out(len(large) - len(candidates), f"without a defined {self.metric}")
        if not candidates:
            return GateVerdict(self.name, True, f"no slice of {self.by} can be judged{left_out}")
        worst = min(candidates, key=lambda value: (lead(self.metric, candidates[value], overall), value))
        gap = -lead(self.metric, candidates[worst], overall)
        which = f"{self.metric} {candidates[worst]:.6g} of {self.by} {worst!r} ({large[worst]['rows']:.0f} rows)"
        passes = gap <= self.at_most + resolution(self.metric, candidates[worst], overall)
        more = f"{'at most' if passes else 'more than'} {self.at_most:.6g}"
        reason = f"{which} is worse than {overall:.6g} overall by {gap:.6g}, {more}"
        if gap <= 0:
            reason = f"{which}, the worst slice, is not worse than {overall:.6g} overall"
        return GateVerdict(self.name, passes, f"{reason}{left_out}", value=gap, bound=self.at_most)


def _left_out(number: int, why: str) -> str:
    return f"; {number} slice{'s' if number > 1 else ''} {why} left out" if number else ""
