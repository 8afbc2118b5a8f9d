"""The rules that SQL cannot say, by Pandera: batches of rows where a part can be checked by itself, else whole columns."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import duckdb
import pandas as pd
import pandera.pandas as pa

from fti_assets.core.sql import numbered, quoted
from fti_assets.features.validation.declared_types import in_pandas_types, with_declared_types
from fti_assets.features.validation.schema_rules import RuleKey
from fti_assets.features.validation.schema_sql import Division, is_grouped
from fti_assets.features.validation.validation import (
    REJECTED_ROWS,
    RuleFailure,
    failed_rules,
    pandera_failures,
)

_VECTORS_A_BATCH = 64
"""Of 2,048 rows each."""


class PanderaChecks:
    """Pandera's part of a division.

    Args:
        schema: the schema.
        division: who answers what.
        connection: the table's connection.
        table: the table, quoted.
        held: the type in which pandas holds each column.
    """

    def __init__(
        self,
        schema: pa.DataFrameSchema,
        division: Division,
        connection: duckdb.DuckDBPyConnection,
        table: str,
        held: Mapping[str, Any],
    ) -> None:
        self._schema = schema
        self._division = division
        self._connection = connection
        self._table = table
        self._held = held

    @property
    def whole(self) -> tuple[str, ...]:
        """The columns that are fetched whole."""
        if self._division.by_frame:
            return tuple(self._held)
        return tuple(dict.fromkeys([*self._division.columns, *(str(name) for name, _ in self._division.by_column)]))

    def broken(self, structure: Sequence[Mapping[str, Any]]) -> dict[RuleKey, RuleFailure]:
        """How each of its rules was broken; ``structure`` is what else Pandera said of the columns."""
        division = self._division
        failures = list(structure)
        for name in division.columns:
            part, numbers = self._everything_of(name)
            failures += _failures(part, with_declared_types(part, self._rows([name])), numbers)
        for name, keys in _by_column(division.by_column).items():
            part, numbers = self._part(keys)
            failures += _failures(part, in_pandas_types(self._rows([name]), self._held), numbers)
        if division.by_frame:
            part, numbers = self._part(division.by_frame, beside=self._held)
            failures += _failures(part, with_declared_types(self._schema, self._rows(list(self._held))), numbers)
        broken = failed_rules(self._schema, failures)
        return {**broken, **self._in_batches()}

    def _everything_of(self, name: str) -> tuple[pa.DataFrameSchema, dict[RuleKey, RuleKey]]:
        """All that is asked of a column but what needs others beside it."""
        column = copy.deepcopy(self._schema.columns[name])
        kept = [number for number, check in enumerate(column.checks) if not is_grouped(check)]
        column.checks, column.coerce = [column.checks[number] for number in kept], False
        return pa.DataFrameSchema({name: column}), {(name, at): (name, number) for at, number in enumerate(kept)}

    def _part(
        self, keys: Sequence[RuleKey], *, beside: Iterable[str] = ()
    ) -> tuple[pa.DataFrameSchema, dict[RuleKey, RuleKey]]:
        """A schema of some rules and columns only, and the rule in the whole schema of each of its own."""
        numbers: dict[RuleKey, RuleKey] = {}
        columns: dict[str, list[pa.Check]] = {name: [] for name in beside}
        checks: list[pa.Check] = []
        unique = None
        for name, number in keys:
            if number == "multiple_fields_uniqueness":
                unique = self._schema.unique
                continue
            of = checks if name is None else columns.setdefault(name, [])
            numbers[(name, len(of))] = (name, number)
            of.append((self._schema if name is None else self._schema.columns[name]).checks[number])
        declared = {name: pa.Column(None, of, nullable=True) for name, of in columns.items()}
        return pa.DataFrameSchema(declared, checks=checks, unique=unique), numbers

    def _rows(self, columns: Sequence[str]) -> pd.DataFrame:
        listed = ", ".join(map(quoted, columns))
        source, position = numbered(self._table, self._connection.table(self._table).columns)
        return self._connection.execute(f"SELECT {listed} FROM {source} ORDER BY {position}").df()

    def _in_batches(self) -> dict[RuleKey, RuleFailure]:
        keys = self._division.by_row
        if not keys:
            return {}
        columns = list(self._held) if any(name is None for name, _ in keys) else list(_by_column(keys))
        part, numbers = self._part(keys)
        results: dict[RuleKey, RuleFailure] = {}
        for start, frame in self._batches(columns):
            batch = in_pandas_types(frame, self._held)
            for key, broken in failed_rules(self._schema, _failures(part, batch, numbers)).items():
                results[key] = _joined(results.get(key), broken, start)
        return results

    def _batches(self, columns: Sequence[str]) -> Iterator[tuple[int, pd.DataFrame]]:
        """Batches with the position of their first row; one without rows of an empty table, where a check may raise as well."""
        listed = ", ".join(map(quoted, columns))
        answer = self._connection.execute(f"SELECT {listed} FROM {self._table}")
        first = answer.fetch_df_chunk(_VECTORS_A_BATCH)
        yield 0, first
        start = len(first)
        while len(frame := answer.fetch_df_chunk(_VECTORS_A_BATCH)):
            yield start, frame
            start += len(frame)


def _failures(
    schema: pa.DataFrameSchema, frame: pd.DataFrame, numbers: Mapping[RuleKey, RuleKey]
) -> list[dict[str, Any]]:
    """Pandera's failure cases of a part of the rules, under their numbers in the whole schema."""
    failures = pandera_failures(schema, frame)[1]
    for record in failures:
        if record["check_number"] is not None and not pd.isna(record["check_number"]) and numbers:
            name = record["column"] if record["schema_context"] == "Column" else None
            record["check_number"] = numbers[(name, int(record["check_number"]))][1]
    return failures


def _by_column(keys: Sequence[RuleKey]) -> dict[str, list[RuleKey]]:
    columns: dict[str, list[RuleKey]] = {}
    for key in keys:
        columns.setdefault(str(key[0]), []).append(key)
    return columns


def _joined(before: RuleFailure | None, batch: RuleFailure, start: int) -> RuleFailure:
    """What two batches say together; a check that raises in one says so of the whole."""
    if before is not None and before.said:
        return before
    if batch.said:
        return batch
    positions = tuple(start + position for position in batch.positions)
    if before is None:
        return RuleFailure(batch.failures, positions, batch.example)
    return RuleFailure(
        before.failures + batch.failures, (*before.positions, *positions)[:REJECTED_ROWS], before.example
    )
