"""The blocking rules of a schema that single rows can break, compiled once: which rows of a batch break which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from fti_assets.core.rules import Rule
from fti_assets.core.sql import quote
from fti_assets.features.events.accepted_values import ORDERED, AcceptedValues
from fti_assets.features.validation.checks import BOUNDS, name_of
from fti_assets.features.validation.division import divide
from fti_assets.features.validation.pandera_run import REJECTED_ROWS, TYPE, failed_part
from fti_assets.features.validation.schema import COLUMNS, RuleKey, rules_by_key
from fti_assets.stores.duckdb.extensions import connect_in_memory

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pandera

_BATCH = "__fti_batch"
_PANDERA_ROWS = REJECTED_ROWS
"""Of one call of Pandera, which then says all rows that fail."""


class RowRules:
    """What of a schema each row is held against as it comes. Rules of whole columns are those of the run that follows.

    Args:
        schema: a schema that can be divided.
        types: the DuckDB type in which each column is stored.
    """

    def __init__(self, schema: pandera.DataFrameSchema, types: Mapping[str, str]) -> None:
        self._schema = schema
        rules = rules_by_key(schema)
        division = divide(schema, types)
        # Whether a value is null the reader of events has seen; SQL says it of a column that only the schema forbids.
        self._in_sql: list[tuple[Rule, RuleKey, str, str | None]] = [
            (rules[key], key, check.fails, check.unsure)
            for key, check in division.checks.items()
            if rules[key].blocking and not check.of_column
        ]
        self._misfits = [(name, condition) for name, condition in division.misfits.items()]
        self._by_row = [key for key in division.by_row if key[1] == TYPE or rules[key].blocking]
        self._rules = rules
        self._connection = connect_in_memory({"threads": "1"})
        self._connection.execute("SET TimeZone = 'UTC'")
        self._query = self._compiled()
        self._accepted = self._acceptable(types)

    def problems(self, rows: pa.Table) -> dict[int, str]:
        """By the position of a row that breaks a rule, which it breaks."""
        problems: dict[int, str] = {}
        unsure: list[RuleKey] = []
        if self._query and rows.num_rows and not (self._accepted is not None and self._accepted.covers(rows)):
            self._connection.register(_BATCH, rows)
            try:
                answers = self._connection.execute(self._query).to_arrow_table()
            finally:
                self._connection.unregister(_BATCH)
            for (rule, key, _, doubt), name in zip(self._in_sql, self._names, strict=True):
                if doubt is not None and any(answers.column(f"{name}_unsure").to_pylist()):
                    unsure.append(key)
                    continue
                for position in _true(answers.column(name)):
                    problems.setdefault(position, f"it breaks {rule.name}: {rule.description}")
            for name, _ in self._misfits:
                for position in _true(answers.column(f"misfit_{name}")):
                    dtype = self._schema.columns[name].dtype
                    problems.setdefault(
                        position, f"{name} is {rows.column(name)[position].as_py()!r:.80}, which is not of {dtype}"
                    )
            if self._accepted is not None and not problems:
                self._accepted.add(rows)
        if keys := [*self._by_row, *unsure]:
            for start in range(0, rows.num_rows, _PANDERA_ROWS):
                self._by_pandera(keys, rows.slice(start, _PANDERA_ROWS).to_pandas(), start, problems)
        return problems

    def _acceptable(self, types: Mapping[str, str]) -> AcceptedValues | None:
        """What can be remembered of the values that the query accepts; None if a rule says something else than of single values."""
        forbidden = {name for name, condition in self._misfits if condition == f"{quote(name)} IS NULL"}
        not_null = forbidden | {name for _, (name, rule), _, _ in self._in_sql if name and rule == "not_nullable"}
        others = {name for name, _ in self._misfits} - forbidden
        bounded, judged = set[str](), set[str]()
        for _, (name, rule), _, doubt in self._in_sql:
            if rule == "not_nullable":
                continue
            if name is None or not isinstance(rule, int) or doubt is not None:
                return None
            compares = name_of(self._schema.columns[name].checks[rule]) in BOUNDS
            (bounded if compares and types[name] in ORDERED else judged).add(name)
        judged |= others
        if any(types[name] != "VARCHAR" for name in judged):
            return None
        return AcceptedValues(sorted(not_null), bounded - judged, judged)

    def _by_pandera(self, keys: Sequence[RuleKey], frame: pd.DataFrame, start: int, problems: dict[int, str]) -> None:
        for key, failure in failed_part(self._schema, keys, frame).items():
            rule = self._rules.get(key, COLUMNS)
            if (
                failure.problem and not failure.positions and len(frame) > 1
            ):  # a check that raises does not say at which row
                half = len(frame) // 2
                for first, part in ((0, frame.iloc[:half]), (half, frame.iloc[half:])):
                    self._by_pandera([key], part.reset_index(drop=True), start + first, problems)
                continue
            reason = f"it breaks {rule.name}: {failure.problem or rule.description}"
            for position in failure.positions or range(len(frame)):
                problems.setdefault(start + position, reason)

    def _compiled(self) -> str:
        self._names = [f"rule_{number}" for number in range(len(self._in_sql))]
        items = []
        for (_, _, fails, doubt), name in zip(self._in_sql, self._names, strict=True):
            items.append(f"({fails}) AS {name}")
            items += [f"({doubt}) AS {name}_unsure"] if doubt is not None else []
        items += [f"({condition}) AS {quote(f'misfit_{name}')}" for name, condition in self._misfits]
        return f"SELECT {', '.join(items)} FROM {_BATCH}" if items else ""


def _true(column: pa.ChunkedArray) -> list[int]:
    return [position for position, value in enumerate(column.to_pylist()) if value]
