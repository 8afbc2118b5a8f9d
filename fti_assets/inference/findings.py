"""What the joins and features of batch predictions hold, for the rows that a run answers, whichever builds answer them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import duckdb

from fti_assets.rules import Verdict
from fti_assets.stores.manifest import ViewRecord
from fti_assets.stores.sql import quoted
from fti_assets.training.coverage import ROW, Coverage, coverage_of
from fti_assets.training.dataset_warnings import judge_joins, judge_values

_FEWEST = 20
"""Fewer rows are often those of new keys, which have no history yet."""


@dataclass(frozen=True)
class Findings:
    """How many rows were answered, what the joins found for them, and how many have a value of each feature."""

    rows: int = 0
    coverage: Coverage = field(default_factory=dict)
    values: Counter[str] = field(default_factory=Counter)

    @property
    def verdicts(self) -> list[Verdict]:
        """What of it is worth a warning, by the rule of the datasets."""
        enough = self.rows >= _FEWEST
        found = {group: shares[ROW] for group, shares in self.coverage.items()} if enough else {}
        null = [name for name, rows in self.values.items() if not rows] if enough else []
        return [judge_joins(found, self.rows), judge_values(null, self.rows)]


def findings_of(rows: duckdb.DuckDBPyRelation, view: ViewRecord) -> Findings:
    """Count what one build's rows hold.

    Args:
        rows: what ``assemble`` made of ``with_found(view)``.
        view: the build's view.
    """
    names = [feature.name for feature in view.features]
    total, *values = rows.aggregate(", ".join(["count(*)", *(f"count({quoted(name)})" for name in names)])).fetchall()[
        0
    ]
    return Findings(total, coverage_of(rows, view), Counter(dict(zip(names, values, strict=True))))


def found_by(builds: Iterable[Findings]) -> Findings:
    """The findings of all builds as one: a share is of the rows of the builds that have the join."""
    parts = [part for part in builds if part.rows]
    coverage: Coverage = {}
    for group in dict.fromkeys(group for part in parts for group in part.coverage):
        having = [part for part in parts if group in part.coverage]
        coverage[group] = {}
        for name in dict.fromkeys(name for part in having for name in part.coverage[group]):
            within = [part for part in having if name in part.coverage[group]]
            found = sum(part.coverage[group][name] * part.rows for part in within)
            coverage[group][name] = found / sum(part.rows for part in within)
    values: Counter[str] = Counter()
    for part in parts:
        values.update(part.values)
    return Findings(sum(part.rows for part in parts), coverage, values)
