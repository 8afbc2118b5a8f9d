"""Fairness: how differently a binary model decides for the rows with each value of a column.

Source: the definitions of Fairlearn, with which the tests compare them: demographic parity as in Dwork et al., "Fairness Through
Awareness" (2012), equalized odds and equal opportunity as in Hardt et al., "Equality of Opportunity in Supervised Learning" (2016).
"""

from collections.abc import Mapping, Sequence

import numpy as np

from fti_assets.core.manifest import FairnessRecord, GroupRates
from fti_assets.errors import excerpt
from fti_assets.training.judging.metrics.answers import Answers
from fti_assets.training.judging.slices import LARGEST_SLICES, By, Division, divide, slices_key

FIGURES = (
    "demographic_parity_difference",
    "demographic_parity_ratio",
    "equal_opportunity_difference",
    "equal_opportunity_ratio",
    "equalized_odds_difference",
    "equalized_odds_ratio",
)
"""Differences are best at 0, ratios at 1."""

_NAMED = 10  # of slices without a rate


def fairness(
    answers: Answers, by: Sequence[By], columns: Mapping[str, np.ndarray], min_rows: int = 1
) -> dict[str, FairnessRecord]:
    """The rates of each slice by its column or columns, and how far they are apart, each column in one pass over the rows.

    A rate without rows is left out: a slice without a yes among its labels has no true positive rate, and does not count for the figures
    that compare these. One slice alone differs from none: figures of a rate that fewer than two slices have are left out, and so is a
    ratio of rates that are all 0.

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
    return {slices_key(one): _record(answers, divide(one, columns, min_rows), min_rows) for one in by}


def lacking(record: FairnessRecord, figure: str) -> str:
    """What does not count for a figure, and why, as text that goes on after a reason; empty if all rows count.

    >>> lacking(FairnessRecord({}, {}, left_out=12, slices_left_out=1, largest_left_out={"AT": 12}, min_rows=100), FIGURES[0])
    "; left out: 'AT' (12 rows, fewer than 100)"
    """
    parts = [
        f"{excerpt(value)} ({rows} {'row' if rows == 1 else 'rows'}, "
        f"{f'fewer than {record.min_rows}' if rows < record.min_rows else f'not among the {LARGEST_SLICES} largest'})"
        for value, rows in record.largest_left_out.items()
    ]
    if more := record.slices_left_out - len(parts):
        parts.append(f"{more:,} smaller {'slice' if more == 1 else 'slices'}")
    if not figure.startswith("demographic_parity"):
        parts += _unknown_rates(record, "true_positive_rate", "no yes among its labels")
    if figure.startswith("equalized_odds"):
        parts += _unknown_rates(record, "false_positive_rate", "no no among its labels")
    return f"; left out: {', '.join(parts)}" if parts else ""


def _unknown_rates(record: FairnessRecord, rate: str, why: str) -> list[str]:
    values = [value for value, rates in record.groups.items() if getattr(rates, rate) is None]
    more = [f"{len(values) - _NAMED:,} more of {why}"] if len(values) > _NAMED else []
    return [f"{excerpt(value)} ({why})" for value in values[:_NAMED]] + more


def _record(answers: Answers, division: Division, min_rows: int) -> FairnessRecord:
    slices, total = division.evaluated, len(answers.y)
    positives, truth = answers.decided == 1, np.asarray(answers.y) == 1
    position = np.full(total, len(slices))
    for at, places in enumerate(slices.values()):
        position[places] = at
    # The rows of each slice by what they are and what was said of them; the last slice is of those left out.
    cells, width = position * 4 + truth * 2 + positives, 4 * (len(slices) + 1)
    rows = np.bincount(cells, minlength=width).reshape(-1, 2, 2)[:-1]
    counts = np.bincount(cells, weights=answers.weight, minlength=width).reshape(-1, 2, 2)[:-1]
    groups = {
        name: GroupRates(
            rows=int(rows_of_slice.sum()),
            selection_rate=float(of_slice[:, 1].sum() / of_slice.sum()),
            true_positive_rate=_rate(of_slice[1]),
            false_positive_rate=_rate(of_slice[0]),
        )
        for name, of_slice, rows_of_slice in zip(slices, counts, rows, strict=True)
    }
    return FairnessRecord(
        groups,
        _figures(list(groups.values())),
        total - int(rows.sum()),
        division.slices_left_out,
        division.largest_left_out,
        min_rows,
    )


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
    """The difference and the ratio of the least and the greatest rate; NaN for a ratio of zeros, None of fewer than two rates."""
    defined = [rate for rate in rates if rate is not None]
    if len(defined) < 2:
        return None
    least, greatest = min(defined), max(defined)
    return greatest - least, least / greatest if greatest else np.nan
