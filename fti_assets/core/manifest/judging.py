"""What was measured of a build, and how, as records."""

from dataclasses import field
from typing import Literal

from fti_assets.core.records import record


@record(frozen=True)
class ThresholdRecord:
    """The probability from which on a binary model says yes; ``goal`` is what it makes largest on so many ``rows`` of the validation
    part, or empty if it was declared. Compare the float32 probabilities of the graph with it as it stands: ``probability >= value``."""

    value: float
    goal: str = ""
    rows: int = 0


@record(frozen=True)
class GroupRates:
    """How a binary model decides for the rows of one slice; a rate is None where no row could count for it."""

    rows: int
    selection_rate: float
    true_positive_rate: float | None = None
    false_positive_rate: float | None = None


@record(frozen=True)
class FairnessRecord:
    """The slices of a column by value, and by how much their rates differ.

    ``figures`` has ``demographic_parity_difference`` and ``demographic_parity_ratio``, and likewise those of ``equal_opportunity`` and
    ``equalized_odds``, where at least two slices have the rate. ``left_out`` counts the rows of slices that are too small, of fewer than
    ``min_rows``, or beyond the 200 largest; ``slices_left_out`` counts these slices, and ``largest_left_out`` has the rows of the largest.
    """

    groups: dict[str, GroupRates]
    figures: dict[str, float]
    left_out: int = 0
    slices_left_out: int = 0
    largest_left_out: dict[str, int] = field(default_factory=dict)
    min_rows: int = 1


@record(frozen=True)
class BootstrapRecord:
    """How the intervals of a build's metrics were made: the draws of the test rows, their seed, and the column whose values were drawn
    with all their rows, empty if each row was drawn by itself."""

    draws: int
    seed: int
    cluster: str = ""


@record(frozen=True)
class CalibrationRecord:
    """How a build's probabilities were calibrated: by which method, on so many rows of the validation part.

    ``before`` and ``after`` are ``ece``, ``log_loss`` and ``brier`` on the test split. ``largest_difference`` is how far the graph is from
    the calibrator on those rows.
    """

    method: Literal["platt", "isotonic"]
    rows: int
    before: dict[str, float]
    after: dict[str, float]
    largest_difference: float
