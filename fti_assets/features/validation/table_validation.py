"""Validation of a table: one query for what SQL can say, Pandera for the rest, one verdict a rule.

A rule is told by SQL only where that is the same answer as Pandera's own (``checks_sql``). What a column's type is to pandas is
asked of Pandera over two or three rows that have the types of the whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import duckdb
import pandas as pd
import pandera.pandas as pa

from fti_assets.core.rules import Rule, Verdict
from fti_assets.core.sql import numbered, quoted
from fti_assets.features.validation.coercion import Coerced, exact_columns
from fti_assets.features.validation.declared_types import in_pandas_types, with_declared_types
from fti_assets.features.validation.pandera_rest import PanderaChecks
from fti_assets.features.validation.probe import ColumnFacts, needed_aggregates, probe
from fti_assets.features.validation.schema_rules import COLUMNS, COLUMNS_KEY, RuleKey, rules_by_key
from fti_assets.features.validation.schema_sql import Division, can_be_divided, divided
from fti_assets.features.validation.validation import (
    REJECTED_ROWS,
    SAMPLE_ROWS,
    RuleFailure,
    columns_to_coerce,
    first_positions,
    structural_failures,
    validate,
    verdict_of,
)


@dataclass(frozen=True)
class RowRule:
    """A rule that a table's layout adds: what breaks it in SQL, or the columns that no two rows share; ``problem`` is what
    to say after the number of rows that break it."""

    rule: Rule
    problem: str
    fails: str = ""
    unique: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableValidation:
    """Verdicts over a table.

    Args:
        verdicts: one for each rule of the schema, in order, then one for each added rule.
        failing: some of the rows that break any of them, at most ``REJECTED_ROWS``, or None.
        coerced: the columns and rows that replace the table's, if the schema changed it.
        rows: how many rows the table has.
        whole: the columns that a check had to see whole, so that they were fetched whole.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    failing: pd.DataFrame | None = None
    coerced: Coerced | None = None
    rows: int = 0
    whole: tuple[str, ...] = ()


def validate_table(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    schema: pa.DataFrameSchema | None,
    *,
    columns: Sequence[str] | None = None,
    rules: Sequence[RowRule] = (),
) -> TableValidation:
    """Validate a temporary table of DuckDB; nothing is raised for bad rows.

    Args:
        connection: the table's connection.
        table: the name of a table of this connection, not of a view.
        schema: a Pandera schema, or None.
        columns: the columns that the schema is about, all by default.
        rules: further rules of single rows, and of rows that are unique.

    >>> connection = duckdb.connect()
    >>> _ = connection.execute("CREATE TEMP TABLE readings AS SELECT unnest([1.5, -2.0, NULL]) AS temp")
    >>> schema = pa.DataFrameSchema({"temp": pa.Column(float, pa.Check.ge(0), nullable=True)})
    >>> [(one.rule.name, one.failures) for one in validate_table(connection, "readings", schema).verdicts]
    [('temp_greater_than_or_equal_to', 1), ('columns', 0)]
    """
    stored = connection.table(quoted(table))
    types = {
        name: str(kind)
        for name, kind in zip(stored.columns, stored.types, strict=True)
        if columns is None or name in columns
    }
    rows = _TableRows(connection, quoted(table), types, *numbered(quoted(table), stored.columns))
    if schema is not None and not can_be_divided(schema):
        return _by_pandera(rows, schema, rules)
    asked = _asked(rows, schema, rules)
    if schema is not None and columns_to_coerce(schema, asked.structure):
        return _by_pandera(rows, schema, rules)
    return _judged(rows, schema, rules, asked)


@dataclass(frozen=True)
class _TableRows:
    connection: duckdb.DuckDBPyConnection
    table: str
    types: dict[str, str]
    numbered: str
    """The table with the position of each row."""
    position: str

    @property
    def columns(self) -> str:
        return ", ".join(map(quoted, self.types))

    def at(self, positions: Sequence[int]) -> pd.DataFrame:
        """Rows by their positions, which are the frame's index."""
        listed = ", ".join(map(str, positions)) or "NULL"
        within = f"BETWEEN {min(positions, default=0)} AND {max(positions, default=0)}"
        result = self.connection.execute(
            f"SELECT {self.columns}, {self.position} AS __fti_row FROM {self.numbered} "
            f"WHERE {self.position} {within} AND {self.position} IN ({listed}) ORDER BY {self.position}"
        ).df()
        return result.set_index("__fti_row")

    def first(self, conditions: Sequence[str], counts: Sequence[int]) -> list[tuple[int, ...]]:
        """The positions of the first rows of any condition, and of each condition as many as a sample needs.

        DuckDB keeps the order of rows under LIMIT and stops at it, so that common failures are found at once.
        """
        if not conditions:
            return []
        message = ", ".join(f"coalesce({condition}, false)" for condition in conditions)
        rows = self.connection.execute(
            f"SELECT {self.position}, {message} FROM {self.numbered} WHERE {' OR '.join(f'({one})' for one in conditions)} "
            f"LIMIT {REJECTED_ROWS}"
        ).fetchall()
        positions = [tuple(row[0] for row in rows if row[at]) for at in range(1, len(conditions) + 1)]
        for at, (condition, count) in enumerate(zip(conditions, counts, strict=True)):
            if len(positions[at]) < min(count, SAMPLE_ROWS):
                own = self.connection.execute(
                    f"SELECT {self.position} FROM {self.numbered} WHERE {condition} LIMIT {SAMPLE_ROWS}"
                ).fetchall()
                positions[at] = tuple(position for (position,) in own)
        return positions

    def duplicates(self, columns: tuple[str, ...], *, but: str = "false") -> RuleFailure | None:
        """How rows break that no two share these columns, nulls being equal; some rows are left out."""
        listed = ", ".join(map(quoted, columns))
        groups = (
            f"SELECT {listed}, count(*) AS __fti_rows FROM {self.table} WHERE NOT ({but}) GROUP BY {listed} "
            "HAVING count(*) > 1"
        )
        count = self.connection.execute(f"SELECT coalesce(sum(__fti_rows), 0) FROM ({groups})").fetchall()[0][0]
        if not count:
            return None
        same = " AND ".join(f"one.{quoted(name)} IS NOT DISTINCT FROM many.{quoted(name)}" for name in columns)
        rows = self.connection.execute(
            f"SELECT one.{self.position} FROM {self.numbered} one SEMI JOIN ({groups}) many ON {same} ORDER BY ALL LIMIT {REJECTED_ROWS}"
        ).fetchall()
        return RuleFailure(int(count), tuple(position for (position,) in rows))


@dataclass(frozen=True)
class _Counts:
    """What the one query said."""

    division: Division
    seen: ColumnFacts
    counts: dict[RuleKey, int]
    added: list[int]
    distinct: frozenset[tuple[str, ...]]
    structure: list[dict[str, object]]
    frame: pd.DataFrame


def _asked(rows: _TableRows, schema: pa.DataFrameSchema | None, rules: Sequence[RowRule]) -> _Counts:
    division = Division() if schema is None else divided(schema, rows.types)
    checks = list(division.checks.items())
    counted = ["count(*)"]
    counted += [f"({said.fails})::INT" if said.of_column else f"count_if({said.fails})" for _, said in checks]
    unsure = [(key, said.unsure) for key, said in checks if said.unsure is not None]
    counted += [f"count_if({condition})" for _, condition in unsure]
    added = [rule for rule in rules if rule.fails]
    counted += [f"count_if({rule.fails})" for rule in added]
    aggregates = {} if schema is None else needed_aggregates(schema, rows.types)
    counted += aggregates.values()
    screened = [columns for columns in division.unique.values() if len(columns) == 1]
    counted += [_repeats(columns[0]) for columns in screened]
    screened_added = [rule.unique for rule in rules if len(rule.unique) == 1]
    counted += [f"{_repeats(columns[0])} + count(*) - count({quoted(columns[0])})" for columns in screened_added]
    answers = list(rows.connection.execute(f"SELECT {', '.join(counted)} FROM {rows.table}").fetchall()[0])
    total = int(answers.pop(0))
    counts = {key: int(answers.pop(0) or 0) for key, _ in checks}
    for key, _ in unsure:
        if answers.pop(0):
            del counts[key], division.checks[key]
            division.by_row.append(key)
    in_added = [int(answers.pop(0) or 0) for _ in added]
    seen = ColumnFacts(total, {name: answers.pop(0) for name in aggregates})
    repeated = {columns for columns in screened if answers.pop(0)}
    division.unique = {key: at for key, at in division.unique.items() if len(at) > 1 or at in repeated}
    distinct = frozenset(columns for columns in screened_added if not answers.pop(0))
    if schema is None:
        return _Counts(division, seen, counts, in_added, distinct, [], pd.DataFrame())
    frame = probe(rows.connection, rows.table, rows.types, seen)
    return _Counts(
        division,
        seen,
        counts,
        in_added,
        distinct,
        structural_failures(schema, frame),
        with_declared_types(schema, frame),
    )


def _by_pandera(rows: _TableRows, schema: pa.DataFrameSchema, rules: Sequence[RowRule]) -> TableValidation:
    """All rows at once in pandas, for a schema that cannot be divided or that changes the rows."""
    ordered = f"FROM {rows.numbered} ORDER BY {rows.position}"
    frame = rows.connection.execute(f"SELECT {rows.columns} {ordered}").df()
    for name in exact_columns(schema, rows.types):
        decimals = rows.connection.execute(f"SELECT {quoted(name)} {ordered}").to_arrow_table()
        frame[name] = decimals.column(0).to_pandas()
    validation = validate(schema, frame)
    failing = frame.iloc[list(validation.failing_rows)] if len(validation.failing_rows) else None
    if validation.coerced is not None:
        return TableValidation(validation.verdicts, failing, validation.coerced, len(frame), tuple(rows.types))
    added = _asked(rows, None, rules)
    verdicts = [*validation.verdicts, *_added_verdicts(rows, rules, added)]
    return TableValidation(verdicts, failing, None, len(frame), tuple(rows.types))


def _judged(
    rows: _TableRows, schema: pa.DataFrameSchema | None, rules: Sequence[RowRule], asked: _Counts
) -> TableValidation:
    if schema is None:
        return TableValidation(_added_verdicts(rows, rules, asked), None, None, asked.seen.rows)
    broken, whole = _broken_rules(rows, schema, asked)
    failing, sample = _failing(rows, broken, asked.frame)
    verdicts = [
        verdict_of(rule, _with_example(key, broken.get(key), sample), asked.seen.rows, sample)
        for key, rule in [*rules_by_key(schema).items(), (COLUMNS_KEY, COLUMNS)]
    ]
    verdicts += _added_verdicts(rows, rules, asked)
    return TableValidation(verdicts, failing, None, asked.seen.rows, whole)


def _with_example(key: RuleKey, broken: RuleFailure | None, sample: pd.DataFrame) -> RuleFailure | None:
    """The first value that breaks the rule of a column."""
    column, kind = key
    if broken is None or broken.said or broken.example is not None or column is None or kind == "not_nullable":
        return broken
    return replace(broken, example=sample[[column]].loc[[broken.positions[0]]].to_dict("records")[0][column])


def _broken_rules(
    rows: _TableRows, schema: pa.DataFrameSchema, asked: _Counts
) -> tuple[dict[RuleKey, RuleFailure], tuple[str, ...]]:
    division = asked.division
    for name in {str(record["column"]) for record in asked.structure if record["column"] in rows.types}:
        _give_to_pandera(division, name)
    rest = PanderaChecks(schema, division, rows.connection, rows.table, asked.frame.dtypes.to_dict())
    structure = [record for record in asked.structure if record["column"] not in rows.types]
    broken = rest.broken(structure)
    failing = {key: said for key, said in division.checks.items() if asked.counts[key]}
    of_rows = [key for key, said in failing.items() if not said.of_column]
    counts = [asked.counts[key] for key in of_rows]
    positions = rows.first([failing[key].fails for key in of_rows], counts)
    broken |= {key: RuleFailure(count, at) for key, count, at in zip(of_rows, counts, positions, strict=True)}
    broken |= {key: RuleFailure(1, said=repr(False)) for key, said in failing.items() if said.of_column}
    for key, columns in division.unique.items():
        without_value = " AND ".join(f"{quoted(column)} IS NULL" for column in columns)
        duplicates = rows.duplicates(columns, but=without_value)  # which Pandera does not tell
        if duplicates is not None:
            broken[key] = duplicates
    return broken, rest.whole


def _give_to_pandera(division: Division, column: str) -> None:
    """Of a column that has another type than declared, Pandera answers everything."""
    for rules in (division.checks, division.unique):
        for key in [key for key in rules if key[0] == column]:
            del rules[key]  # type: ignore[attr-defined]
    for keys in (division.by_row, division.by_column):
        keys[:] = [key for key in keys if key[0] != column]
    if column not in division.columns:
        division.columns.append(column)


def _failing(
    rows: _TableRows, broken: Mapping[RuleKey, RuleFailure], probed: pd.DataFrame
) -> tuple[pd.DataFrame | None, pd.DataFrame]:
    """Some failing rows, and these with the sample of each rule, in the types that pandas holds the whole in."""
    kept = first_positions(broken.values())
    shown = {position for one in broken.values() for position in one.positions[:SAMPLE_ROWS]}
    if not kept:
        return None, pd.DataFrame()
    result = rows.at(sorted(shown.union(kept)))
    return result.loc[list(kept)].reset_index(drop=True), in_pandas_types(result, probed.dtypes.to_dict())


def _repeats(column: str) -> str:
    """How many values of a column are there again: one aggregate, where telling which needs a query of its own."""
    return f"count({quoted(column)}) - count(DISTINCT {quoted(column)})"


def _added_verdicts(rows: _TableRows, rules: Sequence[RowRule], asked: _Counts) -> list[Verdict]:
    counted = iter(asked.added)
    verdicts = []
    for rule in rules:
        if rule.unique:
            broken = None if rule.unique in asked.distinct else rows.duplicates(rule.unique)
        else:
            count = next(counted)
            broken = RuleFailure(count, rows.first([rule.fails], [count])[0]) if count else None
        if broken is None:
            verdicts.append(Verdict(rule.rule))
            continue
        sample = rows.at(broken.positions[:SAMPLE_ROWS]).to_dict("records")
        verdicts.append(Verdict(rule.rule, broken.failures, tuple(sample), f"{broken.failures} {rule.problem}"))
    return verdicts
