"""The rows of a temporary table, told by their positions: which break a condition, which are there twice, and parts for pandas."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb
import pandas as pd

from fti_assets.core.sql import number_rows, quote
from fti_assets.features.validation.pandera_run import REJECTED_ROWS, SAMPLE_ROWS, RuleFailure

_VECTORS_A_BATCH = 64
"""Of 2,048 rows each."""


@dataclass(frozen=True)
class TableRows:
    """A temporary table.

    Args:
        connection: its connection.
        table: its name, quoted.
        types: the DuckDB type of each column that a schema is about.
        numbered_rows: the table with the position of each row, in SQL.
        position: that position.
    """

    connection: duckdb.DuckDBPyConnection
    table: str
    types: dict[str, str]
    numbered_rows: str
    position: str

    @classmethod
    def of(cls, connection: duckdb.DuckDBPyConnection, name: str, columns: Sequence[str] | None) -> TableRows:
        """The rows of a table by its name."""
        relation = connection.table(quote(name))
        types = {column: str(kind) for column, kind in zip(relation.columns, relation.types, strict=True)}
        column_types = {column: kind for column, kind in types.items() if columns is None or column in columns}
        return cls(connection, quote(name), column_types, *number_rows(quote(name), relation.columns))

    def whole(self, columns: Sequence[str]) -> duckdb.DuckDBPyConnection:
        """A query of columns whole, in the table's order."""
        column_list = ", ".join(map(quote, columns))
        return self.connection.execute(f"SELECT {column_list} FROM {self.numbered_rows} ORDER BY {self.position}")

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[int, pd.DataFrame]]:
        """Batches with the position of their first row; one without rows of an empty table, where a check may raise as well."""
        answer = self.connection.execute(f"SELECT {', '.join(map(quote, columns))} FROM {self.table}")
        start, frame = 0, answer.fetch_df_chunk(_VECTORS_A_BATCH)
        while len(frame) or not start:
            yield start, frame
            start, frame = start + max(len(frame), 1), answer.fetch_df_chunk(_VECTORS_A_BATCH)

    def at(self, positions: Sequence[int]) -> pd.DataFrame:
        """Rows by their positions, which are the frame's index."""
        position_list = ", ".join(map(str, positions)) or "NULL"
        within = f"BETWEEN {min(positions, default=0)} AND {max(positions, default=0)}"
        result = self.connection.execute(
            f"SELECT {', '.join(map(quote, self.types))}, {self.position} AS __fti_row FROM {self.numbered_rows} "
            f"WHERE {self.position} {within} AND {self.position} IN ({position_list}) ORDER BY {self.position}"
        ).df()
        return result.set_index("__fti_row")

    def first(self, conditions: Sequence[str], counts: Sequence[int]) -> list[tuple[int, ...]]:
        """The positions of the first rows of any condition, and of each condition as many as a sample needs.

        DuckDB keeps the order of rows under LIMIT and stops at it, so that common failures are found at once.
        """
        if not conditions:
            return []
        flags = ", ".join(f"coalesce({condition}, false)" for condition in conditions)
        any_of = " OR ".join(f"({condition})" for condition in conditions)
        rows = self._positions(f", {flags} FROM {self.numbered_rows} WHERE {any_of} LIMIT {REJECTED_ROWS}")
        positions = [tuple(row[0] for row in rows if row[at]) for at in range(1, len(conditions) + 1)]
        for at, (condition, count) in enumerate(zip(conditions, counts, strict=True)):
            if len(positions[at]) < min(count, SAMPLE_ROWS):
                rows = self._positions(f"FROM {self.numbered_rows} WHERE {condition} LIMIT {SAMPLE_ROWS}")
                positions[at] = tuple(row[0] for row in rows)
        return positions

    def duplicates(self, values: Sequence[str], *, but: str = "false") -> RuleFailure | None:
        """How rows break that no two share these values, in SQL, nulls being equal; some rows are left out."""
        keys = {f"__fti_key_{at}": value for at, value in enumerate(values)}
        items = ", ".join(f"{value} AS {key}" for key, value in keys.items())
        groups = (
            f"SELECT {items}, count(*) AS __fti_rows FROM {self.table} WHERE NOT ({but}) GROUP BY {', '.join(keys)} "
            "HAVING count(*) > 1"
        )
        count = self.connection.execute(f"SELECT coalesce(sum(__fti_rows), 0) FROM ({groups})").fetchall()[0][0]
        if not count:
            return None
        same = " AND ".join(f"{value} IS NOT DISTINCT FROM {key}" for key, value in keys.items())
        rows = self._positions(
            f"FROM {self.numbered_rows} SEMI JOIN ({groups}) ON {same} ORDER BY ALL LIMIT {REJECTED_ROWS}"
        )
        return RuleFailure(int(count), tuple(row[0] for row in rows))

    def _positions(self, what: str) -> list[tuple[int, ...]]:
        rows: list[tuple[int, ...]] = self.connection.execute(f"SELECT {self.position} {what}").fetchall()
        return rows
