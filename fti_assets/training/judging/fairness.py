"""Fairness: how differently a binary model decides for the rows with each value of a column.

Source: the definitions of Fairlearn, with which the tests compare them: demographic parity as in Dwork et al., "Fairness Through
Awareness" (2012), equalized odds and equal opportunity as in Hardt et al., "Equality of Opportunity in Supervised Learning" (2016).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from fti_assets.core.manifest import FairnessRecord, GroupRates
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.slices import By, slice_rows, slices_key

FIGURES = (
    "demographic_parity_difference",
    "demographic_parity_ratio",
    "equal_opportunity_difference",
    "equal_opportunity_ratio",
    "equalized_odds_difference",
    "equalized_odds_ratio",
)
"""Differences are best at 0, ratios at 1."""


def fairness(
    answers: Answers, by: Sequence[By], columns: Mapping[str, np.ndarray], min_rows: int = 1
) -> dict[str, FairnessRecord]:
    """The rates of each slice by its column or columns, and how far they are apart, each column in one pass over the rows.

    A rate without rows is left out: a slice without a yes among its labels has no true positive rate, and does not count for the figures
    that compare these. A ratio of rates that are all 0 is left out too.

    Args:
        answers: those of a binary model, which decides at their threshold.
        by: the columns.
        columns: each column's canonical array ``[n]``.
        min_rows: slices of fewer rows are left out.

    >>> answers = Answers(np.array([1, 0, 1, 0]), np.array([0.9, 0.8, 0.7, 0.1]))
    >>> record = fairness(answers, ["sex"], {"sex": np.array(["f", "f", "m", "m"])})["sex"]
    >>> record.groups["m"]
    GroupRates(rows=2, selection_rate=0.5, true_positive_rate=1.0, false_positive_rate=0.0)
    >>> record.figures["demographic_parity_difference"], record.figures["equalized_odds_ratio"]
    (0.5, 0.0)
    """
    return {slices_key(one): _record(answers, slice_rows(one, columns, min_rows), len(answers.y)) for one in by}


def _record(answers: Answers, slices: Mapping[str, np.ndarray], total: int) -> FairnessRecord:
    said, truth = answers.decided == 1, np.asarray(answers.y) == 1
    position = np.full(total, len(slices))
    for at, rows in enumerate(slices.values()):
        position[rows] = at
    # The rows of each slice by what they are and what was said of them; the last slice is of those left out.
    counts = np.bincount(position * 4 + truth * 2 + said, minlength=4 * (len(slices) + 1)).reshape(-1, 2, 2)[:-1]
    groups = {
        name: GroupRates(
            rows=int(of_slice.sum()),
            selection_rate=float(of_slice[:, 1].sum() / of_slice.sum()),
            true_positive_rate=_rate(of_slice[1]),
            false_positive_rate=_rate(of_slice[0]),
        )
        for name, of_slice in zip(slices, counts, strict=True)
    }
    return FairnessRecord(groups, _figures(list(groups.values())), total - int(counts.sum()))


def _rate(counts: np.ndarray) -> float | None:
    return float(counts[1] / counts.sum()) if counts.sum() else None


def _figures(groups: Sequence[GroupRates]) -> dict[str, float]:
    selected = _apart([one.selection_rate for one in groups])
    hits = _apart([one.true_positive_rate for one in groups])
    alarms = _apart([one.false_positive_rate for one in groups])
    odds = (max(hits[0], alarms[0]), min(hits[1], alarms[1])) if hits and alarms else None
    pairs = zip(("demographic_parity", "equal_opportunity", "equalized_odds"), (selected, hits, odds), strict=True)
    figures = {
        f"{name}_{kind}": value
        for name, pair in pairs
        if pair
        for kind, value in zip(("difference", "ratio"), pair, strict=True)
    }
    return {name: value for name, value in figures.items() if not np.isnan(value)}


def _apart(rates: Sequence[float | None]) -> tuple[float, float] | None:
    """The difference and the ratio of the least and the greatest rate; NaN for a ratio of zeros, None of no rates."""
    defined = [rate for rate in rates if rate is not None]
    if not defined:
        return None
    least, greatest = min(defined), max(defined)
    return greatest - least, least / greatest if greatest else np.nan
