"""The checks of a dataset's rows and its train rows that only warn, in one pass over the train rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import duckdb

from fti_assets.core import clock
from fti_assets.core.manifest import Column, ViewRecord
from fti_assets.core.rules import Rule, Verdict
from fti_assets.core.sql import quote
from fti_assets.errors import count_of, list_phrases, list_some
from fti_assets.features.groups.freshness import future_sql
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.datasets.checks.coverage import ROW, Coverage
from fti_assets.training.datasets.dataset import APART, JOINS, PAST, UNKNOWN, VARYING
from fti_assets.training.datasets.leaks.near_tellers import near_tellers, sentences_of
from fti_assets.training.datasets.leaks.tellers import tellers_of_train
from fti_assets.training.datasets.leaks.telling import LabelFacts, telling_sentences

_WIDE = 400
"""The columns of one query: more cost planning, and fewer cost reading the names of all columns once more."""

VISIBLE_LABEL = "_fti_visible_label"
"""The column that says whether a row's label was visible at its prediction time."""
ROW_SPLIT = "_fti_split"
"""The column that says which split a row is in."""


def judge_rows(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    features: Sequence[Column],
    label: Column,
    label_column: str,
    coverage: Coverage,
    joins: Mapping[str, str] | None = None,
    *,
    nulls_lost: Collection[str] = (),
) -> list[Verdict]:
    """Judge a dataset's rows, and its train rows alone, by every rule but that of times.

    What the train rows contradict all rows contradict: one pass over them leaves little to be asked of all.

    Args:
        table: the quoted name of a table with each feature, the label, ``_fti_visible_label`` and ``_fti_split``.
        label_column: what the table calls the label.
        coverage: what the joins found for all rows.
        joins: for each join the column that is null where it found no row.
        nulls_lost: the features whose encoder puts the mean in the place of a null.
    """
    y, joins, of_train = quote(label_column), joins or {}, f"(FROM {table} WHERE {ROW_SPLIT} = 'train')"
    facts = (
        f"SELECT {y} AS y, count(*) AS n, count(*) FILTER ({ROW_SPLIT} = 'train') AS t, "
        f"count(*) FILTER ({VISIBLE_LABEL}) AS visible FROM {table} GROUP BY 1"
    )
    in_time, values, highest, common, total, train_values, train_highest, train_common, train_rows = connection.execute(
        "SELECT sum(visible)::BIGINT, count(*), max(y), arg_max(y, (n, y)), sum(n)::BIGINT, count(*) FILTER (t > 0), "
        f"max(y) FILTER (t > 0), arg_max(y, (t, y)), sum(t)::BIGINT FROM ({facts})"
    ).fetchall()[0]
    in_time, total, train_rows = in_time or 0, total or 0, train_rows or 0  # of no rows, a sum is null
    of_all = LabelFacts(label, y, values, highest, common, total)
    of_label = LabelFacts(label, y, train_values, train_highest, train_common, train_rows)
    train_null, train_one, train_once, join_counts = _dull(
        connection, of_train, train_rows, features, list(joins.values())
    )
    train_dull = {*train_null, *train_one, *train_once}
    maybe = [feature for feature in features if feature.name in train_dull or train_rows < 2]
    null, one, once, _ = _dull(connection, table, total, maybe, [])
    # A vector is as good as never the same twice, and no order of vectors means anything.
    telling = [feature for feature in features if feature.name not in {*null, *one} and feature.type != "vector"]
    tells, train_tells = tellers_of_train(
        connection, table, of_train, telling, of_all, of_label, dull={*train_null, *train_one}
    )
    lost = [name for name, count in zip(joins, join_counts, strict=True) if train_rows and not count]
    in_train = Train(
        train_rows,
        lost=[name for name in lost if coverage[name][ROW]],
        null=[name for name in train_null if name not in {*null, *one}],
        one=[name for name in train_one if name not in {*null, *one}],
        once=[name for name in train_once if name in nulls_lost and name not in {*null, *one, *once}],
    )
    ways = telling_sentences(connection, table, tells, of_all, train=False)
    ways += telling_sentences(connection, of_train, train_tells, of_label, train=True)
    candidates = [feature for feature in telling if feature.name not in {*tells, *train_tells}]
    near = near_tellers(connection, table, candidates, of_all)
    ways += sentences_of(near, label, total)
    return [
        lost_joins(coverage, total, in_train),
        dull_features(
            VARYING, total, null=null, one=one, once=[name for name in once if name in nulls_lost], in_train=in_train
        ),
        _verdict(
            APART,
            len(tells) + len(train_tells) + len(near),
            f"{', and '.join(ways)}: is it known at the prediction time?",
        ),
        _verdict(
            UNKNOWN,
            in_time,
            f"the label {label.name!r} of {in_time} of {total} rows was visible at its own prediction time: give it a group of its "
            "own, whose event_time or available_at says when it was known",
        ),
    ]


@dataclass(frozen=True)
class Train:
    """The train rows: how many, and what holds for them that does not hold for all rows."""

    rows: int
    lost: Sequence[str] = ()
    null: Sequence[str] = ()
    one: Sequence[str] = ()
    once: Sequence[str] = ()


def _dull(
    connection: duckdb.DuckDBPyConnection, source: str, rows: int, features: Sequence[Column], more: Sequence[str]
) -> tuple[list[str], list[str], list[str], list[int]]:
    """The features that are null in every row, those of one value in all of them, those of one value or null, and how many values
    more columns have."""
    expressions: list[tuple[str, ...]] = [(f"count({quote(name)})",) for name in more]
    for name in (quote(feature.name) for feature in features):
        expressions.append((f"count({name})", f"min({name}) IS DISTINCT FROM max({name})"))
    results: list[Any] = []
    for first in range(0, len(expressions), _WIDE):
        aggregates = ", ".join(chain.from_iterable(expressions[first : first + _WIDE]))
        results += connection.execute(f"SELECT {aggregates} FROM {source}").fetchall()[0]
    counts, of_features = results[: len(more)], results[len(more) :]
    null, one, once = [], [], []
    for feature, count, varies in zip(features, of_features[::2], of_features[1::2], strict=True):
        if rows and not count:
            null.append(feature.name)
        elif rows > 1 and count == rows and not varies:
            one.append(feature.name)
        elif count > 1 and not varies:
            once.append(feature.name)
    return null, one, once, counts


def lost_joins(coverage: Coverage, total: int, in_train: Train | None = None) -> Verdict:
    """Judge whether each join found a row for some of the rows, and of the train rows."""
    lost = [group for group, shares in coverage.items() if total and not shares[ROW]]
    of_train = in_train.lost if in_train else ()
    ways = [f"no row of {list_some(lost)} was found for any of {total} rows"] if lost else []
    if in_train and of_train:
        ways.append(f"no row of {list_some(of_train)} was found for any of the {in_train.rows} train rows")
    return _verdict(
        JOINS, len(lost) + len(of_train), f"{', and '.join(ways)}: compare the keys of both sides, and their times"
    )


def dull_features(
    rule: Rule,
    total: int,
    *,
    null: Sequence[str],
    one: Sequence[str] = (),
    once: Sequence[str] = (),
    in_train: Train | None = None,
) -> Verdict:
    """Judge by the features that are null in every row, those that have one value in all of them, and those of one value or null
    whose encoder makes one value of them; or in the train rows."""
    ways, failures = [], 0
    train = (f"the {in_train.rows} train", in_train.null, in_train.one, in_train.once) if in_train else ("", (), (), ())
    for rows, empty, same, nearly in ((f"{total}", null, one, once), train):
        dull = [f"{list_some(empty)} null in every row"] if empty else []
        dull += [f"{list_some(same)} of one value in all of them"] if same else []
        dull += [f"{list_some(nearly)} of one value or null, of which the encoder makes one value"] if nearly else []
        ways += [f"of {rows} rows, {list_phrases(dull)}"] if dull else []
        failures += len(empty) + len(same) + len(nearly)
    return _verdict(rule, failures, "; ".join(ways))


def judge_times(lake: Lake, view: ViewRecord, groups: Sequence[FeatureGroup], *, snapshot: int) -> Verdict:
    """Judge whether groups have rows from after now, as local times have that are taken as UTC.

    A spine without an ``available_at`` may: its event time is when a prediction will be made.
    """
    results, now = {}, clock.now()
    for group in groups:
        is_plan = group.name == view.spine and group.available_at is None
        if group.event_time is None or is_plan:
            continue
        ledger = lake.ledger(group.table, snapshot=snapshot)
        # Where the clock is set back, as in a replay, partitions of runs to come are no sign of local times.
        until_now = [key for key, record in ledger.items() if record.run_at <= now]
        partitions = until_now if len(until_now) < len(ledger) else None
        rows = lake.rows(group.table, snapshot=snapshot, partitions=partitions)
        [(number,)] = rows.filter(future_sql(group, now)).aggregate("count(*)").fetchall()
        if number:
            results[group.table_name] = int(number)
    message = ", ".join(f"{count_of(number, 'row')} of {table}" for table, number in results.items())
    return _verdict(
        PAST,
        sum(results.values()),
        f"{message} with times after now, both of being true and of being available: are their times local, not UTC?",
    )


def _verdict(rule: Rule, failures: int, problem: str) -> Verdict:
    return Verdict(rule, failures, (), problem if failures else "")
