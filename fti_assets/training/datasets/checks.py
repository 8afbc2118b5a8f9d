"""The checks of a dataset's rows that only warn, in one pass over them."""

from __future__ import annotations

from collections.abc import Sequence

import duckdb

from fti_assets.core import clock
from fti_assets.core.manifest import Column, ViewRecord
from fti_assets.core.rules import Rule, Verdict
from fti_assets.core.sql import quoted
from fti_assets.errors import listed
from fti_assets.features.groups.freshness import future_sql
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.datasets.coverage import ROW, Coverage
from fti_assets.training.datasets.dataset import APART, JOINS, PAST, UNKNOWN, VARYING
from fti_assets.training.datasets.tellers import LabelFacts, tellers

VISIBLE_LABEL = "_fti_visible_label"
"""The column that says whether a row's label was visible at its prediction time."""


def judge_rows(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    features: Sequence[Column],
    label: Column,
    label_column: str,
    coverage: Coverage,
) -> list[Verdict]:
    """Judge a dataset's rows by every rule but that of times, in one pass and two more over what samples leave open.

    Args:
        table: the quoted name of a table with each feature, the label and ``_fti_visible_label``.
        label_column: what the table calls the label.
        coverage: what the joins found.
    """
    y = quoted(label_column)
    expressions = ["count(*)", f"count(*) FILTER ({VISIBLE_LABEL})", f"count(DISTINCT {y})", f"max({y})", f"mode({y})"]
    for feature in features:
        name = quoted(feature.name)
        expressions += [f"count({name})", f"min({name}) IS DISTINCT FROM max({name})"]
    total, in_time, labels, highest, commonest, *results = connection.execute(
        f"SELECT {', '.join(expressions)} FROM {table}"
    ).fetchall()[0]
    null, one, telling = [], [], []
    for feature, count, varies in zip(features, results[::2], results[1::2], strict=True):
        if total and not count:
            null.append(feature.name)
        elif total > 1 and count == total and not varies:
            one.append(feature.name)
        else:
            telling.append(feature)
    tells = tellers(connection, table, telling, LabelFacts(label, y, labels, highest, commonest, total))
    return [
        lost_joins(coverage, total),
        dull_features(VARYING, total, null=null, one=one),
        _verdict(
            APART,
            len(tells),
            f"{listed(tells)} alone tells the label {label.name!r} of every one of {total} rows: is it known at the "
            "prediction time?",
        ),
        _verdict(
            UNKNOWN,
            in_time,
            f"the label {label.name!r} of {in_time} of {total} rows was visible at its own prediction time: give it a group of its "
            "own, whose event_time or available_at says when it was known",
        ),
    ]


def lost_joins(coverage: Coverage, total: int) -> Verdict:
    """Judge whether each join found a row for some of the rows."""
    lost = [group for group, shares in coverage.items() if total and not shares[ROW]]
    return _verdict(
        JOINS,
        len(lost),
        f"no row of {listed(lost)} was found for any of {total} rows: compare the keys of both sides, and their times",
    )


def dull_features(rule: Rule, total: int, *, null: Sequence[str], one: Sequence[str] = ()) -> Verdict:
    """Judge by the features that are null in every row, and those that have one value in all of them."""
    dull = [f"{listed(null)} null in every row"] if null else []
    dull += [f"{listed(one)} of one value in all of them"] if one else []
    return _verdict(rule, len(null) + len(one), f"of {total} rows, {' and '.join(dull)}")


def judge_times(lake: Lake, view: ViewRecord, groups: Sequence[FeatureGroup], *, snapshot: int) -> Verdict:
    """Judge whether groups have rows from after now, as local times have that are taken as UTC.

    A spine without an ``available_at`` may: its event time is when a prediction will be made.
    """
    results, now = {}, clock.now()
    for group in groups:
        planned = group.name == view.spine and group.available_at is None
        if group.event_time is None or planned:
            continue
        ledger = lake.ledger(group.table, snapshot=snapshot)
        # Where the clock is set back, as in a replay, partitions of runs to come are no sign of local times.
        until_now = [key for key, record in ledger.items() if record.run_at <= now]
        partitions = until_now if len(until_now) < len(ledger) else None
        rows = lake.rows(group.table, snapshot=snapshot, partitions=partitions)
        [(number,)] = rows.filter(future_sql(group, now)).aggregate("count(*)").fetchall()
        if number:
            results[group.table_name] = int(number)
    message = ", ".join(f"{number} rows of {table}" for table, number in results.items())
    return _verdict(
        PAST,
        sum(results.values()),
        f"{message} are said to be true and available only after now: are their times local, not UTC?",
    )


def _verdict(rule: Rule, failures: int, problem: str) -> Verdict:
    return Verdict(rule, failures, (), problem if failures else "")
