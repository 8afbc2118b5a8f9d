"""Coverage of the joins of a training dataset: how many rows found something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import dagster as dg
import duckdb

from fti_assets.core.manifest import JoinedColumn, JoinedGroup, ViewRecord
from fti_assets.core.sql import quoted

_FOUND = "_fti_found_"

Coverage = dict[str, dict[str, float]]
"""For each join the share of rows that got a row of the group, under ``(row)``, and of those that got a value, by feature."""

ROW = "(row)"


def with_match_columns(view: ViewRecord) -> ViewRecord:
    """The view with a column more a join, a key of the group's: null where no row was found, or only an expired one."""
    joins = [
        replace(join, columns=(*join.columns, JoinedColumn(f"{_FOUND}{number}", join.keys[0].group, join.keys[0].type)))
        for number, join in enumerate(view.joins)
    ]
    return replace(view, joins=tuple(joins))


def coverage_of(rows: duckdb.DuckDBPyRelation, view: ViewRecord) -> Coverage:
    """Count what the joins of a view found, in one scan.

    Args:
        rows: what ``assemble`` made of ``with_match_columns(view)``.
        view: the view.
    """
    if not view.joins:
        return {}
    counted = [
        name
        for number, join in enumerate(view.joins)
        for name in (f"{_FOUND}{number}", *(column.feature for column in join.columns))
    ]
    total, *known = rows.aggregate(f"count(*), {', '.join(f'count({quoted(name)})' for name in counted)}").fetchall()[0]
    share = {name: count / total if total else 0.0 for name, count in zip(counted, known, strict=True)}
    return {
        name: {ROW: share[f"{_FOUND}{number}"], **{column.feature: share[column.feature] for column in join.columns}}
        for number, (name, join) in enumerate(zip(_names(view), view.joins, strict=True))
    }


def _names(view: ViewRecord) -> list[str]:
    """The joins' tables, with their keys in the spine where one is joined twice, and their feature where by the same keys."""
    times = Counter(join.table_name for join in view.joins)
    by_keys = Counter((join.table_name, _keys(join)) for join in view.joins)
    return [
        join.table_name
        if times[join.table_name] == 1
        else f"{join.table_name} by {_keys(join)}{f' for {join.columns[0].feature}' if by_keys[join.table_name, _keys(join)] > 1 else ''}"
        for join in view.joins
    ]


def _keys(join: JoinedGroup) -> str:
    return ", ".join(key.spine for key in join.keys)


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
