"""Validation of a table: one query for what SQL can say of the stored types, Pandera for the rest, one verdict a rule."""

from __future__ import annotations

import copy
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import duckdb
import pandas as pd
import pandera.pandas as pa

from fti_assets.core.rules import Rule, Verdict
from fti_assets.core.sql import quote
from fti_assets.core.types import compared_type, type_of_sql
from fti_assets.errors import count_of
from fti_assets.features.validation.coercion import Coercion, exact_columns, with_declared_types
from fti_assets.features.validation.division import Division, can_be_divided, divide
from fti_assets.features.validation.pandera_run import (
    NONE_BROKEN,
    SAMPLE_ROWS,
    TYPE,
    RuleFailure,
    failed_part,
    failed_rules,
    first_positions,
    pandera_failures,
    validate,
    verdicts_of,
    without_rules,
)
from fti_assets.features.validation.schema import COLUMNS_KEY, RuleKey, column_types
from fti_assets.features.validation.table_rows import TableRows


@dataclass(frozen=True)
class RowRule:
    """A rule that a table's layout adds: what breaks it in SQL, or the columns that no two rows share; ``problem`` is what
    to say after ``2 rows``, which break it, and ``example`` what to say of one of them."""

    rule: Rule
    problem: str
    fails: str = ""
    unique: tuple[str, ...] = ()
    example: Callable[[Mapping[str, Any]], str] | None = None


@dataclass(frozen=True)
class TableValidation:
    """Verdicts over a table.

    Args:
        verdicts: one for each rule of the schema, in order, then one for each added rule.
        failing: some of the rows that break any of them, at most ``REJECTED_ROWS``, or None.
        coercion: the columns and rows that replace the table's, if the schema changed it.
        rows: how many rows the table has.
        whole: the columns that a check had to see whole, so that they were fetched whole.
    """

    verdicts: list[Verdict] = field(default_factory=list)
    failing: pd.DataFrame | None = None
    coercion: Coercion | None = None
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
    rows = TableRows.of(connection, table, columns)
    if schema is not None and not can_be_divided(schema):
        return _by_pandera(rows, schema, rules, None)
    division = Division() if schema is None else divide(schema, rows.types)
    counts = _count(rows, division, rules)
    if schema is None:
        return TableValidation(_added_verdicts(rows, rules, counts), rows=counts["rows"])
    wrong = {*division.wrong, *(name for name in division.misfits if counts["misfits", name])}
    odd = {str(name) for name, kind in division.by_row if kind == TYPE}  # their type is known when Pandera has run
    coerced_names = {name for name in wrong | odd if schema.coerce or schema.columns[name].coerce}
    if coerced_names:
        return _by_pandera(rows, schema, rules, coerced_names)
    return _judge(rows, schema, rules, division, counts)


def _count(rows: TableRows, division: Division, rules: Sequence[RowRule]) -> dict[Any, Any]:
    """What one query says; checks that SQL is unsure of, and columns without duplicates, are taken out of the division."""
    queries: dict[Any, str] = {"rows": "count(*)"}
    queries |= {key: check.count for key, check in division.checks.items()}
    queries |= {("unsure", key): f"count_if({check.unsure})" for key, check in division.checks.items() if check.unsure}
    queries |= {("misfits", name): f"count_if({misfit})" for name, misfit in division.misfits.items()}
    whole_numbers = [name for name, kind in rows.types.items() if compared_type(kind) in ("integer", "boolean")]
    queries |= {("nulls", name): f"count(*) - count({quote(name)})" for name in whole_numbers if division.by_row}
    queries |= {rule: f"count_if({rule.fails})" for rule in rules if rule.fails}
    # How many values of a column are there again: one aggregate, where telling which needs a query of its own.
    once: dict[Any, str] = {
        key: f"count({one[0]}) - count(DISTINCT {one[0]})" for key, one in division.unique.items() if len(one) == 1
    }
    once |= {rule: f"count(*) - count(DISTINCT {quote(*rule.unique)})" for rule in rules if len(rule.unique) == 1}
    queries |= once
    answer = rows.connection.execute(f"SELECT {', '.join(queries.values())} FROM {rows.table}").fetchall()[0]
    counts = {what: int(count or 0) for what, count in zip(queries, answer, strict=True)}
    for key in [key for key in division.checks if counts.get(("unsure", key))]:
        del division.checks[key]
        division.by_row.append(key)
    for key in [key for key in division.unique if not counts.get(key, 1)]:
        del division.unique[key]
    return counts


def _by_pandera(
    rows: TableRows, schema: pa.DataFrameSchema, rules: Sequence[RowRule], coerced_names: Collection[str] | None
) -> TableValidation:
    """All rows at once in pandas, for a schema that cannot be divided or that changes the rows."""
    schema = _without_types_of_vectors(schema, rows)
    frame = rows.whole(list(rows.types)).df()
    for name in exact_columns(schema, rows.types):
        frame[name] = rows.whole([name]).to_arrow_table().column(0).to_pandas()
    validation = validate(schema, frame, coerced_names)
    failing = frame.iloc[list(validation.failing_rows)] if len(validation.failing_rows) else None
    verdicts = validation.verdicts
    if validation.coercion is None:
        verdicts = [*verdicts, *_added_verdicts(rows, rules, _count(rows, Division(), rules))]
    return TableValidation(verdicts, failing, validation.coercion, len(frame), tuple(rows.types))


def _without_types_of_vectors(schema: pa.DataFrameSchema, rows: TableRows) -> pa.DataFrameSchema:
    """The schema without the types of columns that are declared vectors and are: in a frame they are arrays, not Arrow's lists."""
    kinds = column_types(schema)
    of_vectors = [name for name, kind in rows.types.items() if kinds.get(name) == "vector" == type_of_sql(kind)]
    if not of_vectors:
        return schema
    result = copy.deepcopy(schema)
    for name in of_vectors:
        result.columns[name].dtype = None
        result.columns[name].coerce = False
    return result


def _judge(
    rows: TableRows, schema: pa.DataFrameSchema, rules: Sequence[RowRule], division: Division, counts: Mapping[Any, int]
) -> TableValidation:
    failures = {**_broken_in_sql(rows, division, counts), **_broken_in_pandera(rows, schema, division, counts)}
    of_columns = [*_column_failures(rows, schema, division, counts), failures.pop(COLUMNS_KEY, NONE_BROKEN)]
    if any(one.failures for one in of_columns):
        problem = "; ".join(one.problem for one in of_columns if one.problem)
        failures[COLUMNS_KEY] = RuleFailure(
            sum(one.failures for one in of_columns), first_positions(of_columns), problem=problem
        )
    positions = first_positions(failures.values())
    sample_positions = {position for one in failures.values() for position in one.positions[:SAMPLE_ROWS]}
    failing_rows = rows.at(sorted(sample_positions.union(positions))) if positions else pd.DataFrame()
    sample = with_declared_types(schema, failing_rows)
    for (name, kind), one in failures.items():
        if one.positions and not one.problem and one.example is None and name is not None and kind != "not_nullable":
            first = sample[[name]].loc[[one.positions[0]]].to_dict("records")[0]
            failures[name, kind] = replace(one, example=first[name])
    verdicts = [*verdicts_of(schema, failures, counts["rows"], sample), *_added_verdicts(rows, rules, counts)]
    failing = failing_rows.loc[list(positions)].reset_index(drop=True) if positions else None
    whole = tuple(rows.types) if None in division.whole else tuple(map(str, division.whole))
    return TableValidation(verdicts, failing, None, counts["rows"], whole)


def _broken_in_sql(rows: TableRows, division: Division, counts: Mapping[Any, int]) -> dict[RuleKey, RuleFailure]:
    failing = {key: check for key, check in division.checks.items() if counts[key]}
    of_rows = {key: check.fails for key, check in failing.items() if not check.of_column}
    positions = rows.first(list(of_rows.values()), [counts[key] for key in of_rows])
    failures = {key: RuleFailure(counts[key], at) for key, at in zip(of_rows, positions, strict=True)}
    failures |= {key: RuleFailure(1, problem=repr(False)) for key, check in failing.items() if check.of_column}
    for key, values in division.unique.items():
        without_value = " AND ".join(f"{value} IS NULL" for value in values)
        duplicates = rows.duplicates(values, but=without_value)  # a null is no value that another row has too
        if duplicates is not None:
            failures[key] = duplicates
    return failures


def _broken_in_pandera(
    rows: TableRows, schema: pa.DataFrameSchema, division: Division, counts: Mapping[Any, int]
) -> dict[RuleKey, RuleFailure]:
    failures: dict[RuleKey, RuleFailure] = {}
    for name, keys in division.whole.items():
        failures |= failed_part(schema, keys, rows.whole(list(rows.types) if name is None else [name]).df())
    if not division.by_row:
        return failures
    of_frame = any(name is None for name, _ in division.by_row)
    columns = list(rows.types if of_frame else dict.fromkeys(str(name) for name, _ in division.by_row))
    for start, batch in rows.batches(columns):
        # DuckDB gives whole numbers and booleans in another type where a batch has a null: all batches get the one with nulls.
        nullable = {name: batch[name].convert_dtypes() for name in columns if counts.get(("nulls", name))}
        for key, failure in failed_part(schema, division.by_row, batch.assign(**nullable)).items():
            failures[key] = failures.get(key, NONE_BROKEN).join(failure, start)
    return failures


def _column_failures(
    rows: TableRows, schema: pa.DataFrameSchema, division: Division, counts: Mapping[Any, int]
) -> list[RuleFailure]:
    """What is wrong with the columns and their types, but for those types that Pandera judges."""
    names = without_rules(schema)
    for column in names.columns.values():
        column.dtype = None
    missing = failed_rules(schema, pandera_failures(names, pd.DataFrame(columns=list(rows.types)))[1])
    failures = [*missing.values(), *(RuleFailure(1, problem=problem) for problem in division.wrong.values())]
    wide = {name: misfit for name, misfit in division.misfits.items() if counts["misfits", name]}
    positions = rows.first(list(wide.values()), [counts["misfits", name] for name in wide])
    for name, at in zip(wide, positions, strict=True):
        example = rows.at(at[:1])[name].iloc[0]
        problem = f"column {name!r} should be {schema.columns[name].dtype}, there was {example!r}"
        failures.append(RuleFailure(counts["misfits", name], at, problem=problem))
    return failures


def _added_verdicts(rows: TableRows, rules: Sequence[RowRule], counts: Mapping[Any, int]) -> list[Verdict]:
    verdicts = []
    for rule in rules:
        failure = None
        if counts.get(rule, 1) and rule.unique:
            failure = rows.duplicates([quote(name) for name in rule.unique])
        elif counts.get(rule):
            failure = RuleFailure(counts[rule], rows.first([rule.fails], [counts[rule]])[0])
        if failure is None:
            verdicts.append(Verdict(rule.rule))
            continue
        sample = rows.at(failure.positions[:SAMPLE_ROWS]).to_dict("records")
        example = rule.example(sample[0]) if rule.example is not None and sample else ""
        verdicts.append(
            Verdict(
                rule.rule,
                failure.failures,
                tuple(sample),
                f"{count_of(failure.failures, 'row')} {rule.problem}{example}",
            )
        )
    return verdicts
