"""The checks of a dataset's rows that only warn, in one pass over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

from fti_assets.core import clock
from fti_assets.core.manifest import Column, ViewRecord
from fti_assets.core.rules import Rule, Verdict
from fti_assets.core.sql import literal, quoted
from fti_assets.errors import listed
from fti_assets.features.groups.freshness import future_sql
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.stores.duckdb.relations import view_of
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.datasets.coverage import ROW, Coverage
from fti_assets.training.datasets.warnings import APART, JOINS, PAST, UNKNOWN, VARYING

KNOWN = "_fti_known"
"""The column that says whether a row's label was visible at its prediction time."""

_FEWEST = 20
"""Of fewer rows chance alone may tell every label."""
_SAMPLE = 2_000
"""A feature that does not tell the labels of so many rows does not tell those of all."""
_FIRST = 100
"""Of each side of the label, the rows that rule out most features for little."""
_TOGETHER = 50
"""The columns of one query: what planning one costs grows with the square of their number."""
_NUMBERS = ("boolean", "integer", "number")


def judge_rows(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    features: Sequence[Column],
    label: Column,
    label_column: str,
    coverage: Coverage,
) -> list[Verdict]:
    """Judge a dataset's rows by every rule but that of times, in one pass and one more over what samples leave open.

    Args:
        connection: the connection of the table.
        table: the quoted name of a table with each feature, the label and ``_fti_known``.
        features: the features and their types.
        label: the label's name and type.
        label_column: what the table calls the label.
        coverage: what the joins found.
    """
    y = quoted(label_column)
    asked = ["count(*)", f"count(*) FILTER ({KNOWN})", f"count(DISTINCT {y})", f"max({y})"]
    for feature in features:
        name = quoted(feature.name)
        asked += [f"count({name})", f"min({name}) IS DISTINCT FROM max({name})"]
    total, known, labels, highest, *found = connection.execute(f"SELECT {', '.join(asked)} FROM {table}").fetchall()[0]
    names = [feature.name for feature in features]
    counts, vary = dict(zip(names, found[::2], strict=True)), dict(zip(names, found[1::2], strict=True))
    null = [name for name in names if total and not counts[name]]
    one = [name for name in names if total > 1 and counts[name] == total and not vary[name]]
    dull_names = {*null, *one}
    open_ = [feature for feature in features if feature.name not in dull_names]
    open_ = (
        _not_ruled_out(connection, table, open_, label, y, labels, highest) if labels > 1 and total >= _FEWEST else []
    )
    if total > 5 * _SAMPLE:
        sample = f"(FROM {table} USING SAMPLE reservoir({_SAMPLE} ROWS) REPEATABLE (1))"
        open_ = _telling(connection, sample, open_, label, y, labels, highest, least=0)
    telling = [one.name for one in _telling(connection, table, open_, label, y, labels, highest, least=_FEWEST)]
    lost = [group for group, shares in coverage.items() if total and not shares[ROW]]
    dull = [f"{listed(null)} null in every row"] if null else []
    dull += [f"{listed(one)} of one value in all of them"] if one else []
    return [
        _verdict(
            JOINS,
            len(lost),
            f"no row of {listed(lost)} was found for any of {total} rows: compare the keys of both sides, and their times",
        ),
        _verdict(VARYING, len(null) + len(one), f"of {total} rows, {' and '.join(dull)}"),
        _verdict(
            APART,
            len(telling),
            f"{listed(telling)} alone tells the label {label.name!r} of every one of {total} rows: is it known at the "
            "prediction time?",
        ),
        _verdict(
            UNKNOWN,
            known,
            f"the label {label.name!r} of {known} of {total} rows was visible at its own prediction time: give it a group of its "
            "own, whose event_time or available_at says when it was known",
        ),
    ]


def judge_times(lake: Lake, view: ViewRecord, groups: Sequence[FeatureGroup], *, snapshot: int) -> Verdict:
    """Judge whether groups have rows from after now, as local times have that are taken as UTC.

    A spine without an ``available_at`` may: its event time is when a prediction will be made.
    """
    found, now = {}, clock.now()
    for group in groups:
        planned = group.name == view.spine and group.available_at is None
        if group.event_time is None or planned:
            continue
        ledger = lake.ledger(group.table_name, snapshot=snapshot)
        # Where the clock is set back, as in a replay, partitions of runs to come are no sign of local times.
        until_now = [key for key, record in ledger.items() if record.run_at <= now]
        rows = lake.rows(
            group.table_name, snapshot=snapshot, partitions=until_now if len(until_now) < len(ledger) else None
        )
        number = lake.connection.execute(
            f"SELECT count(*) FROM {view_of(rows)} WHERE {future_sql(group, now)}"
        ).fetchall()[0][0]
        if number:
            found[group.table] = int(number)
    told = ", ".join(f"{number} rows of {table}" for table, number in found.items())
    return _verdict(
        PAST, sum(found.values()), f"{told} are said to be true or available after now: are their times local, not UTC?"
    )


def _verdict(rule: Rule, failures: int, problem: str) -> Verdict:
    return Verdict(rule, failures, (), problem if failures else "")


def _telling(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    features: Sequence[Column],
    label: Column,
    y: str,
    labels: int,
    highest: Any,
    *,
    least: int,
) -> list[Column]:
    """The features that nothing contradicts to tell the label, where they have at least that many rows."""
    rows = f"(SELECT *, {y} = $highest AS __fti_high FROM {source})"
    telling: list[Column] = []
    for first in range(0, len(features), _TOGETHER):
        some = features[first : first + _TOGETHER]
        asked = [_tells(feature, label, y, labels, least) for feature in some]
        answers = connection.execute(f"SELECT {', '.join(asked)} FROM {rows}", {"highest": highest}).fetchall()[0]
        telling += [feature for feature, tells in zip(some, answers, strict=True) if tells]
    return telling


def _not_ruled_out(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    features: Sequence[Column],
    label: Column,
    y: str,
    labels: int,
    highest: Any,
) -> list[Column]:
    """The features that a few rows do not rule out, asked column below column: a query of the table's width plans for seconds."""
    sides = [f"(FROM {table} WHERE {y} {side} $highest LIMIT {_FIRST})" for side in ("=", "<>")]
    left: set[str] = set()
    for kind in dict.fromkeys(feature.type for feature in features):
        some = [feature.name for feature in features if feature.type == kind]
        names, values = (", ".join(map(one, some)) for one in (literal, quoted))
        below = (
            f"SELECT {y}, {y} = $highest AS __fti_high, unnest([{names}]) AS __fti_name, unnest([{values}]) AS __fti_value "
            f"FROM ({' UNION ALL '.join(sides)})"
        )
        tells = _tells(Column("__fti_value", kind), label, y, labels, 0)
        found = connection.execute(
            f"SELECT __fti_name FROM ({below}) GROUP BY __fti_name HAVING {tells}", {"highest": highest}
        ).fetchall()
        left |= {name for (name,) in found}
    return [feature for feature in features if feature.name in left]


def _tells(feature: Column, label: Column, y: str, labels: int, least: int) -> str:
    """The SQL of whether a feature tells the label: it equals it, parts it, lies on a line with it, decides it by its values,
    or by being null. Without ``least`` the rows are a sample, which can only rule that out."""
    f = quoted(feature.name)
    enough = f"count({f}) >= {least}"
    ways = []
    if feature.type in _NUMBERS and label.type in _NUMBERS:
        ways.append(f"({enough} AND coalesce(bool_and({f}::DOUBLE = {y}::DOUBLE), true))")
        if labels > 2:
            line = f"corr({f}::DOUBLE, {y}::DOUBLE) FILTER (abs({f}::DOUBLE) < 1e100 AND abs({y}::DOUBLE) < 1e100)"
            ways.append(f"({enough} AND coalesce(abs({line}) > 1 - {1e-12 if least else 1e-6}, {not least}))")
    elif feature.type == label.type:
        ways.append(f"({enough} AND coalesce(bool_and({f} = {y}), true))")
    if labels == 2:
        each = f"least(count({f}) FILTER (__fti_high), count({f}) FILTER (NOT __fti_high)) >= {least // 2}"
        if feature.type != "text":
            low, high = "FILTER (NOT __fti_high)", "FILTER (__fti_high)"
            parts = f"max({f}) {low} < min({f}) {high} OR min({f}) {low} > max({f}) {high}"
            ways.append(f"({each} AND coalesce({parts}, true))")
        both = f"least(count(*) FILTER (__fti_high), count(*) FILTER (NOT __fti_high)) >= {least // 2}"
        null = f"bool_and(__fti_high = ({f} IS NULL)) OR bool_and(__fti_high = ({f} IS NOT NULL))"
        ways.append(f"({both} AND coalesce({null}, true))")
    if feature.type != "number":
        values, pairs = f"count(DISTINCT {{'f': {f}}})", f"count(DISTINCT {{'f': {f}, 'y': {y}}})"
        repeated = f"count(*) >= {least} AND 2 * {values} <= count(*) AND " if least else ""
        ways.append(f"({repeated}{values} = {pairs})")
    return f"({' OR '.join(ways) or 'false'})"
