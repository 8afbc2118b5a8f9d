"""Coverage of the joins of a training dataset: how many rows found something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import dagster as dg
import duckdb

from fti_assets.core.manifest import JoinedColumn, ViewRecord
from fti_assets.core.sql import quote

_MATCH = "_fti_matched_"

Coverage = dict[str, dict[str, float]]
"""For each join the share of rows that got a row of the group, under ``(row)``, and of those that got a value, by feature."""

ROW = "(row)"


def with_match_columns(view: ViewRecord) -> ViewRecord:
    """The view with a column more a join, a key of the group's: null where no row was found, or only an expired one."""
    joins = [
        replace(join, columns=(*join.columns, JoinedColumn(f"{_MATCH}{number}", join.keys[0].group, join.keys[0].type)))
        for number, join in enumerate(view.joins)
    ]
    return replace(view, joins=tuple(joins))


def match_columns(view: ViewRecord) -> dict[str, str]:
    """The column that ``with_match_columns`` adds for each join."""
    return {name: f"{_MATCH}{number}" for number, name in enumerate(_names(view))}


def coverage_of(rows: duckdb.DuckDBPyRelation, view: ViewRecord) -> Coverage:
    """Count in one scan what the joins of a view found, in what ``assemble`` made of ``with_match_columns(view)``."""
    joins = {
        name: {ROW: f"{_MATCH}{number}", **{column.feature: column.feature for column in join.columns}}
        for number, (name, join) in enumerate(zip(_names(view), view.joins, strict=True))
    }
    columns = [column for of_join in joins.values() for column in of_join.values()]
    total, *counts = rows.aggregate(", ".join(["count(*)", *(f"count({quote(name)})" for name in columns)])).fetchall()[
        0
    ]
    share = {name: count / total if total else 0.0 for name, count in zip(columns, counts, strict=True)}
    return {name: {what: share[column] for what, column in of_join.items()} for name, of_join in joins.items()}


def _names(view: ViewRecord) -> list[str]:
    """The joins' tables, with their keys in the spine where one is joined twice, and their feature where by the same keys."""
    tables = Counter(join.table_name for join in view.joins)
    by_keys = [f"{join.table_name} by {', '.join(key.spine for key in join.keys)}" for join in view.joins]
    return [
        join.table_name
        if tables[join.table_name] == 1
        else name
        if by_keys.count(name) == 1
        else f"{name} for {join.columns[0].feature}"
        for name, join in zip(by_keys, view.joins, strict=True)
    ]


def coverage_metadata(coverage: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """Coverage as a table on the dataset's page."""
    records = [
        dg.TableRecord({"group": group, "what": "a row" if what == ROW else what, "share": round(share, 6)})
        for group, shares in coverage.items()
        for what, share in shares.items()
    ]
    return {"coverage": dg.MetadataValue.table(records)} if records else {}


def coverage_plots(coverage: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """A number a join, which Dagster plots over the cutoffs: the share of rows that got a row."""
    return {f"coverage/{group}": shares[ROW] for group, shares in coverage.items()}
