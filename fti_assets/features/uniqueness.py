"""Keys and times are unique in a whole table: rows that are to be stored beside the rows that are."""

from __future__ import annotations

from dataclasses import replace

import duckdb

from fti_assets.core.rules import Verdict
from fti_assets.errors import count_of
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.rows.layout import UNIQUE
from fti_assets.features.rows.staging import StagedRows
from fti_assets.features.validation.pandera_run import SAMPLE_ROWS
from fti_assets.stores.lake.lake import Lake


def comparable(lake: Lake, group: FeatureGroup, staging: str) -> bool:
    """Whether a staged table's keys and times can be those of stored rows.

    Where a type differs, nothing is stored yet and the table is made again, or the rows are refused when they are to be stored.
    """
    stored_types, types = lake.types(group.table), lake.staged_types(staging)
    return all(stored_types.get(name) == types[name] for name in group.identity)


def count_clashes(clashes: duckdb.DuckDBPyRelation | None) -> int:
    """How many rows clash; None are none."""
    return 0 if clashes is None else int(clashes.aggregate("count(*)").fetchall()[0][0])


def with_duplicates_in_table(
    staged_rows: StagedRows, clashes: duckdb.DuckDBPyRelation | None, problem: str
) -> StagedRows:
    """Rows that clash with stored ones break the rule that rows are unique, unless more of them break it among themselves.

    Args:
        staged_rows: the rows with their verdicts.
        clashes: the rows that clash, or None where none can.
        problem: what is wrong with them, said after ``2 rows``.
    """
    number = count_clashes(clashes)
    if clashes is None or not number:
        return staged_rows
    sample = clashes.limit(SAMPLE_ROWS).df().to_dict("records")
    rows = tuple({str(name): value for name, value in row.items()} for row in sample)
    clash = Verdict(UNIQUE, number, rows, f"{count_of(number, 'row')} {problem}")
    verdicts = [max(v, clash, key=lambda one: one.failures) if v.rule == UNIQUE else v for v in staged_rows.verdicts]
    return replace(staged_rows, verdicts=verdicts)
