"""What the joins found for the rows that a build answers, and the checks of it that only warn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import duckdb

from fti_assets.core.manifest import ViewRecord
from fti_assets.core.rules import Verdict
from fti_assets.core.sql import quote
from fti_assets.core.types import EXACT
from fti_assets.training.datasets.checks.coverage import Coverage, coverage_of
from fti_assets.training.datasets.checks.rows import dull_features, lost_joins
from fti_assets.training.datasets.dataset import HAVE_VALUES, HOLD_WHOLE_NUMBERS

_FEWEST = 20


@dataclass(frozen=True)
class Inputs:
    """The rows that one build answers: how many, what the joins found for them, the features without a value, and in how many rows
    float64 rounds the whole number of a feature."""

    rows: int
    coverage: Coverage
    null: tuple[str, ...]
    roundings: Mapping[str, int]

    def verdicts(self, *, late: bool) -> list[Verdict]:
        """Judge the rows; a few that came late to answers that are stored say nothing of the data."""
        rows = self.rows if not late or self.rows >= _FEWEST else 0
        return [
            lost_joins(self.coverage, rows),
            dull_features(HAVE_VALUES, rows, null=self.null if rows else ()),
            _whole_numbers_verdict(self.roundings),
        ]


def _whole_numbers_verdict(roundings: Mapping[str, int]) -> Verdict:
    counts = ", ".join(f"{count} of {name!r}" for name, count in roundings.items())
    problem = (
        f"{counts} are whole numbers that float64, in which a model gets them, rounds, so that others have the same answer: if they name "
        "something, store text in a new version of the group"
    )
    return Verdict(HOLD_WHOLE_NUMBERS, sum(roundings.values()), (), problem if roundings else "")


def inputs_of(rows: duckdb.DuckDBPyRelation, view: ViewRecord) -> Inputs:
    """Count what the features of a build's view hold, in what ``assemble`` made of ``with_match_columns(view)``."""
    names = [feature.name for feature in view.features]
    whole = [feature.name for feature in view.features if feature.type == "integer"]
    expressions = [*(f"count({quote(name)})" for name in names), *(_rounded_sql(quote(name)) for name in whole)]
    total, *counts = rows.aggregate(", ".join(["count(*)", *expressions])).fetchall()[0]
    null = tuple(name for name, count in zip(names, counts, strict=False) if not count)
    roundings = {name: count for name, count in zip(whole, counts[len(names) :], strict=True) if count}
    return Inputs(int(total), coverage_of(rows, view), null, roundings)


def _rounded_sql(value: str) -> str:
    """The SQL of how many whole numbers float64 rounds."""
    return f"count(*) FILTER (abs({value}::HUGEINT) >= {EXACT} AND {value}::DOUBLE::HUGEINT <> {value})"


def coverage_over(inputs: Sequence[Inputs]) -> Coverage:
    """The coverage over the rows of all builds; what only some of them join counts over their rows."""
    parts: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for one in inputs:
        for group, shares in one.coverage.items():
            for what, share in shares.items():
                parts.setdefault((group, what), []).append((share, one.rows))
    coverage: Coverage = {}
    for (group, what), of_builds in parts.items():
        if total := sum(rows for _, rows in of_builds):
            coverage.setdefault(group, {})[what] = sum(share * rows for share, rows in of_builds) / total
    return coverage
