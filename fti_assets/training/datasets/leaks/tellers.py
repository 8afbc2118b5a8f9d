"""The features that alone tell a label. Samples rule out most of them before all rows are asked."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import duckdb

from fti_assets.core.manifest import Column
from fti_assets.training.datasets.leaks.orders import in_order, in_runs, maybe_in_order, maybe_in_runs
from fti_assets.training.datasets.leaks.telling import AGREEING, FEWEST, LabelFacts, not_ruled_out, telling_features

_SAMPLE = 2_000
"""A feature that does not tell the labels of so many rows does not tell those of all."""


def tellers_of_train(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    train: str,
    features: Sequence[Column],
    label: LabelFacts,
    of_train: LabelFacts,
    *,
    dull: Collection[str],
) -> tuple[list[str], list[str]]:
    """The names of the features that tell the label of every row, and of those that tell only that of every train row.

    Args:
        connection: the connection of the table.
        table: the quoted name of a table with each feature and the label, which is never null.
        train: the SQL of its train rows.
        features: the features that are not null in every row, nor of one value in all.
        label: the label of all rows.
        of_train: the label of the train rows.
        dull: the names of the features that are null in every train row, or of one value in all.
    """
    if not of_train.rows or of_train.rows == label.rows:
        left = candidates(connection, table, features, label)
        return deciding_features(connection, table, left, label), []
    if label.kind == of_train.kind:
        # What train rows contradict all rows do: they are asked once for both, by the facts that allow more.
        left = left_of_train = candidates(connection, train, features, label, rows=of_train.rows)
    else:
        left = candidates(connection, table, features, label)
        left_of_train = candidates(connection, train, features, of_train)
    of_all = deciding_features(connection, table, left, label)
    only = left_of_train.without({*dull, *of_all})
    return of_all, deciding_features(connection, train, only, of_train)


@dataclass(frozen=True)
class Candidates:
    """The features that a few rows leave open: by their values, by their order, by the runs of classes."""

    by_value: Sequence[Column] = ()
    orderly: Sequence[Column] = ()
    apart: Sequence[Column] = ()

    def without(self, names: Collection[str]) -> Candidates:
        return Candidates(
            *([one for one in some if one.name not in names] for some in (self.by_value, self.orderly, self.apart))
        )


def candidates(
    connection: duckdb.DuckDBPyConnection,
    source: str,
    features: Sequence[Column],
    label: LabelFacts,
    *,
    rows: int | None = None,
) -> Candidates:
    """The features that a few rows of a source do not rule out; of a source of fewer rows than the label has, how many."""
    if label.values < 2 or label.rows < FEWEST:
        return Candidates()
    by_value = not_ruled_out(connection, source, features, label)
    orderly = [one for one in features if one.type in ("integer", "number")] if label.is_amount else []
    orderly = maybe_in_order(connection, source, orderly, label.y)
    sides = " UNION ALL ".join(
        f"(FROM {source} WHERE {label.y} {side} $commonest LIMIT {FEWEST})" for side in ("=", "<>")
    )
    parameters = {"commonest": label.commonest}
    apart = maybe_in_runs(connection, f"({sides})", features, label.y, parameters) if label.is_class else []
    if label.rows > 5 * _SAMPLE:
        # A sample rules out almost every feature; only what is left is asked of all rows. Repeatable, so that a rerun
        # says the same.
        few = (label.rows if rows is None else rows) <= 5 * _SAMPLE
        sample = source if few else f"(FROM {source} USING SAMPLE reservoir({_SAMPLE} ROWS) REPEATABLE (1))"
        by_value = telling_features(connection, sample, by_value, label, least=0)
        orderly = in_order(connection, sample, orderly, label.y)
        apart = maybe_in_runs(connection, sample, apart, label.y)
    return Candidates(by_value, orderly, apart)


def deciding_features(
    connection: duckdb.DuckDBPyConnection, source: str, left: Candidates, label: LabelFacts
) -> list[str]:
    """The names of the candidates that tell the label of every row of a source."""
    if label.values < 2 or label.rows < FEWEST:
        return []
    results = {
        *telling_features(connection, source, left.by_value, label, least=FEWEST),
        *in_order(connection, source, left.orderly, label.y, least=FEWEST),
    }
    names = {one.name for one in results}
    apart = left.without(names).apart
    names |= {one.name for one in in_runs(connection, source, apart, label.y, least=FEWEST, agreeing=AGREEING)}
    every = dict.fromkeys(one.name for some in (left.by_value, left.orderly, left.apart) for one in some)
    return [name for name in every if name in names]
