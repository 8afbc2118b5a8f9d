"""What the page of a monitor shows: the figures of its newest partition, and the history of each column as a small picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import dagster as dg

from fti_assets.core.times import Partition
from fti_assets.monitoring.drift.drift import TRAINING, WEEKS_BEFORE
from fti_assets.monitors.history_picture import History, history_picture
from fti_assets.monitors.monitor import START, Monitor
from fti_assets.monitors.recent_rows import recent_rows
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.judging.pictures.build_pictures import image

MOST_PICTURES = 60
_MOST_ROWS = 15


def page_of(lake: Lake, monitor: Monitor, newest: Partition) -> dict[str, Any]:
    """The metadata of a run's newest partition.

    ``drift`` is a table of the figures that are nearest to their limits or above them, ``history/<column>`` a picture of a column's PSI
    and null rate over the newest 90 partitions until then, of the 60 columns that drift most.
    """
    rows = recent_rows(lake, monitor, newest)
    if rows is None:
        return {}
    histories = _histories(rows)
    most = sorted(histories, key=lambda one: (-one.newest, one.column))[:MOST_PICTURES]
    pictures = {
        f"history/{one.column}": dg.MetadataValue.md(image(history_picture(one), one.column))
        for one in sorted(most, key=lambda one: one.column)
    }
    return {"drift": _table(rows, newest), **pictures}


def answers_by_partition(lake: Lake, monitor: Monitor, partitions: Sequence[Partition]) -> dict[str, dict[str, Any]]:
    """The answers and the warnings of each partition, which Dagster plots."""
    rows = lake.rows(monitor.table, partitions=[one.key for one in partitions])
    query = f"{START}, sum(value) FILTER (statistic = 'answers'), count(*) FILTER (verdict = 'warning')"
    figures = {start: (answers, warnings) for start, answers, warnings in rows.aggregate(query, START).fetchall()}
    results = {}
    for one in partitions:
        answers, warnings = figures.get(one.start, (0, 0))
        results[one.key] = {"answers": int(answers or 0), "warnings": int(warnings)}
    return results


def _histories(rows: Any) -> list[History]:
    of_training = f"statistic IN ('psi', 'null_rate') AND (reference = '{TRAINING}' OR reference = '{WEEKS_BEFORE}')"
    # Of several builds the one that is farthest away, of the references training where there is one.
    figures = rows.filter(of_training).aggregate(
        f"column_name, statistic, reference, {START}, max(value) AS value, max(threshold) AS threshold",
        f"column_name, statistic, reference, {START}",
    )
    histories: dict[str, History] = {}
    order = f"column_name, {START}, reference = '{WEEKS_BEFORE}' DESC"
    for column, statistic, _, start, value, threshold in figures.order(order).fetchall():
        history = histories.setdefault(column, History(column))
        if value is None:
            continue
        if statistic == "psi":
            history.psi[start] = value  # training comes last, so it stays
            history.limit = threshold if threshold is not None else history.limit
        else:
            history.nulls[start] = value
    return [one for one in histories.values() if one.nulls]


def _table(rows: Any, newest: Partition) -> dg.TableMetadataValue:
    own = rows.filter(
        f"{START} = TIMESTAMP '{newest.start}' AND threshold IS NOT NULL AND value IS NOT NULL AND subject <> 'quality'"
    )
    query = "column_name, statistic, reference, round(value, 4), round(threshold, 4), rows, verdict, build"
    ordered = own.order("verdict = 'warning' DESC, value / greatest(threshold, 1e-9) DESC, column_name, statistic")
    names = ("column", "statistic", "reference", "value", "at_most", "rows", "verdict", "build")
    kinds = ("text", "text", "text", "float", "float", "int", "text", "text")
    return dg.MetadataValue.table(
        [
            dg.TableRecord(dict(zip(names, row, strict=True)))
            for row in ordered.limit(_MOST_ROWS).project(query).fetchall()
        ],
        schema=dg.TableSchema([dg.TableColumn(name, kind) for name, kind in zip(names, kinds, strict=True)]),
    )
