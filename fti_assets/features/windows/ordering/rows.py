"""A part of the keys at a time: when their rows enter and leave, in the order that an aggregate asks for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from fti_assets.core.sql import quote
from fti_assets.features.windows.axis import AT, EVENT, Windows
from fti_assets.features.windows.ordering.standing import Moments, Standing, Whole
from fti_assets.stores.duckdb.relations import relation_name

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

_MOST_ROWS = 1 << 17
"""Rows and targets of one part, of which what is looked up stays in a processor's cache; a key is never divided."""
_MOST_MOMENTS = 1 << 62
GROUP, TARGET = "__fti_group", "__fti_target"
_WIDE = {"hugeint", "uhugeint"}
"""Types that Arrow has not."""


def in_arrow(value: str, kind: str) -> str:
    """The SQL of a value in a form that Arrow holds to the last digit."""
    return f"({value})::VARCHAR" if kind in _WIDE else value


@dataclass(frozen=True)
class Ordered:
    """Rows in an order, the groups one after another.

    Args:
        groups: each row's group.
        enters: the position from which on it counts.
        leaves: for each window the position from which on it does no more.
        columns: what else is fetched of each row.
        positions: how many a group has, the one after the last too: by so many moments a group is after the one before.
    """

    groups: Whole
    enters: Whole
    leaves: Sequence[Whole]
    columns: pa.Table
    positions: int

    def moments(self, groups: Whole, positions: Whole) -> Whole:
        """Each position of a group as a moment of ``Standing``."""
        return groups * self.positions + positions

    @cached_property
    def entering(self) -> Whole:
        """The moment at which each row enters."""
        return self.moments(self.groups, self.enters)

    def leaving(self, window: int) -> Whole:
        """The moment at which each row leaves a window."""
        return np.maximum(self.entering, self.moments(self.groups, self.leaves[window]))

    def numbers(self, column: str) -> Whole:
        """A column of whole numbers."""
        result: Whole = self.columns[column].to_numpy().astype(np.int64, copy=False)
        return result


@dataclass(frozen=True)
class Part:
    """Some groups of the targets.

    Args:
        connection: where the tables are.
        windows: what is declared.
        rows: the table of rows, with their group.
        first: the first group.
        last: the last one.
        targets: their numbers, groups and positions, in the order of both.
    """

    connection: duckdb.DuckDBPyConnection
    windows: Windows
    rows: str
    first: int
    last: int
    targets: pa.Table

    @cached_property
    def numbers(self) -> pa.ChunkedArray:
        """The targets' numbers."""
        return self.targets[TARGET]

    def ordered(self, columns: str, order: str, condition: str = "true") -> Ordered:
        """Rows in an order within their groups, with some columns.

        Args:
            columns: the SQL of what is fetched of each row.
            order: the SQL of the order; rows that are equal in it are alike to who asks.
            condition: the SQL of which rows are fetched.
        """
        leaves = [f"__fti_leaves_{number}" for number in range(len(self.windows.lengths))]
        table = self.connection.execute(
            f"SELECT {GROUP}, __fti_enters, {', '.join(leaves)}, {columns} FROM {self.rows} "
            f"WHERE {GROUP} BETWEEN {self.first} AND {self.last} AND {condition} ORDER BY {GROUP}, {order}"
        ).to_arrow_table()
        groups, enters, *left = (table[name].to_numpy() for name in (GROUP, "__fti_enters", *leaves))
        return Ordered(groups - self.first, enters, left, table, self.windows.axis.number + 1)

    def at_targets(self, standing: Standing) -> tuple[Moments, Whole]:
        """What has happened by the targets, once where nothing does between them, and which of these each target has."""
        moments = standing.at(self._targets)
        new = np.ones(len(self._targets), bool)
        new[1:] = (np.diff(moments.entered) != 0) | (np.diff(moments.left) != 0)
        return moments[new], np.cumsum(new) - 1

    def first_targets(self, of_target: Whole) -> Whole:
        """The moment of the first target of each number in ``of_target``, which rises by 1 at most."""
        new = np.ones(len(of_target), bool)
        new[1:] = np.diff(of_target) != 0
        return self._targets[new]

    @cached_property
    def _targets(self) -> Whole:
        groups, positions = (self.targets[name].to_numpy() for name in (GROUP, AT))
        moments: Whole = (groups - self.first) * (self.windows.axis.number + 1) + positions
        return moments


def parts_of(connection: duckdb.DuckDBPyConnection, windows: Windows, *, targets: str, rows: str) -> Iterator[Part]:
    """The targets in parts of whole groups.

    Args:
        connection: where the tables are.
        windows: what is declared.
        targets: a table with ``__fti_target``, ``__fti_group`` and ``__fti_at``.
        rows: a table of the rows, as ``Windows.spans`` gives them, with ``__fti_group``.
    """
    sizes = connection.execute(
        f"SELECT {GROUP}, count(*) AS size FROM (SELECT {GROUP} FROM {targets} UNION ALL SELECT {GROUP} FROM {rows}) "
        f"GROUP BY {GROUP} ORDER BY {GROUP}"
    ).fetchnumpy()
    groups, ends = sizes[GROUP], np.cumsum(sizes["size"])
    most_groups = max(1, _MOST_MOMENTS // (windows.axis.number + 2))
    first, before = 0, 0
    while first < len(groups):
        end = max(first + 1, int(np.searchsorted(ends, before + _MOST_ROWS, side="right")))
        end = min(end, first + most_groups)
        least, most = int(groups[first]), int(groups[end - 1])
        table = connection.execute(
            f"SELECT {TARGET}, {GROUP}, {AT} FROM {targets} WHERE {GROUP} BETWEEN {least} AND {most} ORDER BY {GROUP}, {AT}"
        ).to_arrow_table()
        yield Part(connection, windows, rows, least, most, table)
        first, before = end, ends[end - 1]


def store_rows(windows: Windows, values: Sequence[str], groups: str, table: str) -> None:
    """Make a table of the rows that count somewhere, with their group and some values.

    Args:
        windows: what is declared.
        values: SQL of a row's columns, each with its name.
        groups: a table of the keys and their group.
        table: the table to make, quoted.
    """
    rows = windows.rows
    recent = " OR ".join(f"({one})" for one in windows.recent())
    spans = windows.spans(f"(SELECT * FROM {relation_name(rows.relation)} WHERE {recent})", values)
    keys = ", ".join(map(quote, windows.keys))
    # Stored in the order of the groups, so that a part reads its own blocks.
    rows.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} AS "
        f"SELECT * EXCLUDE ({keys}) FROM ({spans}) JOIN {groups} USING ({keys}) ORDER BY {GROUP}, {EVENT}"
    )
