"""What the joins found for the rows that a build answers, and the checks of it that only warn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from fti_assets.core.manifest import ViewRecord
from fti_assets.core.rules import Verdict
from fti_assets.core.sql import quoted
from fti_assets.training.datasets.checks import dull_features, lost_joins
from fti_assets.training.datasets.coverage import Coverage, coverage_of
from fti_assets.training.datasets.dataset import VALUED

_FEWEST = 20


@dataclass(frozen=True)
class Inputs:
    """The rows that one build answers: how many, what the joins found for them, and the features without a value."""

    rows: int
    coverage: Coverage
    null: tuple[str, ...]

    def verdicts(self, *, late: bool) -> list[Verdict]:
        """Judge the rows; a few that came late to answers that are stored say nothing of the data."""
        judged = self.rows if not late or self.rows >= _FEWEST else 0
        return [
            lost_joins(self.coverage, judged),
            dull_features(VALUED, judged, null=self.null if judged else ()),
        ]


def inputs_of(rows: duckdb.DuckDBPyRelation, view: ViewRecord) -> Inputs:
    """Count what the features of a view hold.

    Args:
        rows: what ``assemble`` made of ``with_match_columns(view)``.
        view: the view of the build.
    """
    coverage = coverage_of(rows, view)
    known = {what: share for shares in coverage.values() for what, share in shares.items()}
    others = [feature.name for feature in view.features if feature.name not in known]
    counted = ", ".join(["count(*)", *(f"count({quoted(name)})" for name in others)])
    total, *counts = rows.aggregate(counted).fetchall()[0]
    known |= dict(zip(others, counts, strict=True))
    return Inputs(int(total), coverage, tuple(feature.name for feature in view.features if not known[feature.name]))


def coverage_together(answered: Sequence[Inputs]) -> Coverage:
    """The coverage over the rows of all builds; what only some of them join counts over their rows."""
    joined: dict[tuple[str, str], list[tuple[float, int]]] = {}
    for one in answered:
        for group, shares in one.coverage.items():
            for what, share in shares.items():
                joined.setdefault((group, what), []).append((share, one.rows))
    together: Coverage = {}
    for (group, what), parts in joined.items():
        total = sum(rows for _, rows in parts)
        if total:
            together.setdefault(group, {})[what] = sum(share * rows for share, rows in parts) / total
    return together
