"""Validation by Pandera, one verdict a rule."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandera.backends.pandas.container import DataFrameSchemaBackend
from pandera.errors import FailureCaseMetadata, SchemaError

from fti_assets.core.rules import Rule, Verdict
from fti_assets.features.validation.coercion import Coerced, coerced_rows
from fti_assets.features.validation.declared_types import with_declared_types
from fti_assets.features.validation.schema_rules import COLUMNS, COLUMNS_KEY, RuleKey, rules_by_key
from fti_assets.features.validation.schema_sql import can_be_divided, coerces

SAMPLE_ROWS = 10
REJECTED_ROWS = 1_000


@dataclass(frozen=True)
class Validation:
    """The validated frame (coerced, if the schema coerces), what coercion changed of it, the verdicts, and the positions of
    some failing rows."""

    frame: pd.DataFrame
    verdicts: list[Verdict] = field(default_factory=list)
    failing_rows: Sequence[int] = ()
    coerced: Coerced | None = None


@dataclass(frozen=True)
class RuleFailure:
    """How a rule was broken.

    Args:
        failures: rows that break it; 1 for one that is not of single rows.
        positions: the first of these rows, in order.
        example: a value that breaks it, or None.
        said: what was wrong, where it is not of single rows.
    """

    failures: int
    positions: tuple[int, ...] = ()
    example: Any = None
    said: str = ""


def validate(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> Validation:
    """Validate every rule of a schema and tell the verdict of each; nothing is raised for bad rows.

    A column that is of its type as it is is not coerced, whatever the schema says.
    """
    frame = with_declared_types(schema, frame.reset_index(drop=True))
    schema = _coercing_only(schema, frame)
    validated, failures = pandera_failures(schema, frame)
    broken = failed_rules(schema, failures)
    verdicts = [
        verdict_of(rule, broken.get(key), len(validated), validated)
        for key, rule in [*rules_by_key(schema).items(), (COLUMNS_KEY, COLUMNS)]
    ]
    coerced = None
    if coerces(schema):  # rows that break a warning are stored too, and coerced like the others
        whole = pandera_failures(without_rules(schema), frame)[0] if failures else validated
        validated, coerced = whole, coerced_rows(frame, whole, schema)
    return Validation(validated, verdicts, first_positions(broken.values()), coerced)


def _coercing_only(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> pa.DataFrameSchema:
    if not (coerces(schema) and can_be_divided(schema)):
        return schema
    needed = columns_to_coerce(schema, structural_failures(schema, frame))
    narrowed = copy.deepcopy(schema)
    narrowed.coerce = False
    for name, column in narrowed.columns.items():
        column.coerce = name in needed
    return narrowed


def structural_failures(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> list[dict[str, Any]]:
    """What Pandera says of a frame's columns and their types, whatever the values are."""
    bare = without_rules(schema)
    bare.coerce = False
    for column in bare.columns.values():
        column.coerce = False
    return pandera_failures(bare, with_declared_types(schema, frame))[1]


def columns_to_coerce(schema: pa.DataFrameSchema, structure: Iterable[Mapping[str, Any]]) -> set[str]:
    """The columns that are not of their type as they are, and that the schema coerces."""
    wrong = {str(record["column"]) for record in structure}
    return {name for name, column in schema.columns.items() if name in wrong and (schema.coerce or column.coerce)}


def without_rules(schema: pa.DataFrameSchema) -> pa.DataFrameSchema:
    """The schema of the columns and their types alone."""
    bare = copy.deepcopy(schema)
    bare.checks, bare.unique = [], None
    for column in bare.columns.values():
        column.checks, column.nullable, column.unique = [], True, False
    return bare


def pandera_failures(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The frame as Pandera gives it back, and a record of each of its failure cases, warnings included."""
    try:
        return _reporting_all(schema).validate(frame, lazy=True), []
    except pa.errors.SchemaErrors as errors:
        return frame, errors.failure_cases.to_dict("records")


def failed_rules(schema: pa.DataFrameSchema, failures: Iterable[Mapping[str, Any]]) -> dict[RuleKey, RuleFailure]:
    """How each rule that has a failure case was broken."""
    rules = rules_by_key(schema)
    results: dict[RuleKey, list[Mapping[str, Any]]] = {}
    for record in failures:
        key = _failure_key(schema, record)
        results.setdefault(key if key in rules else COLUMNS_KEY, []).append(record)
    return {key: _broken(records, of_columns=key == COLUMNS_KEY) for key, records in results.items()}


def first_positions(broken: Iterable[RuleFailure]) -> tuple[int, ...]:
    """The positions of the first rows that break any rule, in order."""
    return tuple(sorted({position for one in broken for position in one.positions})[:REJECTED_ROWS])


def verdict_of(rule: Rule, broken: RuleFailure | None, rows: int, frame: pd.DataFrame) -> Verdict:
    """The verdict of a rule, with a sample of the rows that break it.

    Args:
        rule: the rule.
        broken: how it was broken, or None if it was not.
        rows: how many rows there are in all.
        frame: a frame whose index holds the positions of the sample at least.
    """
    if broken is None:
        return Verdict(rule)
    sample = frame.loc[list(broken.positions[:SAMPLE_ROWS])]
    problem = f"{rule.description}: {broken.failures} of {rows} rows break it"
    if broken.example is not None:
        problem += f", such as {broken.example!r}"
    if broken.said:
        problem = broken.said if rule is COLUMNS else f"{rule.description}: {broken.said}"
    return Verdict(rule, broken.failures, tuple(sample.to_dict("records")), problem)


def _failure_key(schema: pa.DataFrameSchema, record: Mapping[str, Any]) -> RuleKey:
    column = record["column"] if record["column"] in schema.columns else None
    if record["schema_context"] == "DataFrameSchema":
        column = None
    number = record["check_number"]
    return (column, record["check"] if number is None or pd.isna(number) else int(number))


def _broken(records: list[Mapping[str, Any]], *, of_columns: bool) -> RuleFailure:
    at = [record["index"] for record in records if record["index"] is not None and not pd.isna(record["index"])]
    positions = sorted({int(position) for position in at})
    failures = len(positions) or len(records)  # of a check on the frame, Pandera tells each column of a row
    message, example = "", records[0]["failure_case"]
    if not positions:
        message = repr(example)
    if of_columns:
        message = "; ".join(_column_problem(record) for record in records[:SAMPLE_ROWS])
    if pd.api.types.is_scalar(example) and pd.isna(example):
        example = None
    return RuleFailure(failures, tuple(positions[:REJECTED_ROWS]), example, message)


def _column_problem(record: Mapping[str, Any]) -> str:
    if record["check"] == "column_in_dataframe":
        return f"column {record['failure_case']!r} is missing"
    if record["check"] == "column_in_schema":
        return f"column {record['failure_case']!r} is not declared"
    if record["check"] == "column_ordered":
        return f"column {record['failure_case']!r} is not where the schema has it"
    return f"column {record['column']!r} should be {record['check']}, there was {record['failure_case']!r}"


def _reporting_all(schema: pa.DataFrameSchema) -> pa.DataFrameSchema:
    """A copy that reports warnings as failures, so that both come with their rows, and every row that fails; the caller
    tells them apart and keeps a few."""
    strict = copy.deepcopy(schema)
    strict.get_backend = lambda *_, **__: _WithTimes()  # type: ignore[method-assign]
    for check in [*strict.checks, *(check for column in strict.columns.values() for check in column.checks)]:
        check.raise_warning = False
        check.n_failure_cases = None
    return strict


class _WithTimes(DataFrameSchemaBackend):
    """Pandera's own, where columns of different time units fail at once: in one column of failure cases, a time of the year
    9999 in microseconds does not fit beside one in nanoseconds."""

    def failure_cases_metadata(self, schema_name: str, schema_errors: list[SchemaError]) -> FailureCaseMetadata:
        for error in schema_errors:
            cases = error.failure_cases
            if isinstance(cases, pd.DataFrame) and cases["failure_case"].dtype.kind in "mM":
                error.failure_cases = cases.astype({"failure_case": object})
        return super().failure_cases_metadata(schema_name, schema_errors)
