"""What Pandera runs itself: a whole frame of a schema that changes rows, and parts of a schema on batches or whole columns."""

from __future__ import annotations

import copy
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pandera.pandas as pa
from pandera.backends.pandas.container import DataFrameSchemaBackend
from pandera.errors import FailureCaseMetadata, SchemaError

from fti_assets.core.rules import Rule, Verdict
from fti_assets.features.validation.coercion import Coercion, coerced_rows, coerces, with_declared_types, wrapped_values
from fti_assets.features.validation.schema import COLUMNS, COLUMNS_KEY, RuleKey, rules_by_key

SAMPLE_ROWS = 10
REJECTED_ROWS = 1_000
TYPE, TOGETHER = "type", "multiple_fields_uniqueness"
"""The kinds of two rules that have no number: that a column is of its declared type, and that columns are unique together."""


@dataclass(frozen=True)
class RuleFailure:
    """How a rule was broken.

    Args:
        failures: rows that break it; 1 for one that is not of single rows.
        positions: the first of these rows, in order.
        example: a value that breaks it, or None.
        problem: what was wrong, where it is not of single rows.
    """

    failures: int
    positions: tuple[int, ...] = ()
    example: Any = None
    problem: str = ""

    def join(self, batch: RuleFailure, start: int) -> RuleFailure:
        """With what a later batch says, which begins at a position; a check that raises in one says so of the whole."""
        if self.problem or batch.problem:
            return self if self.problem else batch
        positions = (*self.positions, *(start + position for position in batch.positions))
        example = batch.example if self.example is None else self.example
        return RuleFailure(self.failures + batch.failures, positions[:REJECTED_ROWS], example)


NONE_BROKEN = RuleFailure(0)


@dataclass(frozen=True)
class Validation:
    """The validated frame (coerced, if the schema coerces), what coercion changed of it, the verdicts, and the positions of
    some failing rows."""

    frame: pd.DataFrame
    verdicts: list[Verdict] = field(default_factory=list)
    failing_rows: Sequence[int] = ()
    coercion: Coercion | None = None


def validate(schema: pa.DataFrameSchema, frame: pd.DataFrame, only: Container[str] | None = None) -> Validation:
    """Validate every rule of a schema by Pandera; nothing is raised for bad rows.

    Args:
        schema: the schema.
        frame: all rows.
        only: the columns that are to be coerced, all that the schema coerces by default.
    """
    frame = with_declared_types(schema, frame.reset_index(drop=True))
    if only is not None:
        schema = copy.deepcopy(schema)
        for name, column in schema.columns.items():
            column.coerce = name in only
        schema.coerce = False
    frame_after, failures = pandera_failures(schema, frame)
    coerced, wrapped = frame_after, list[dict[str, Any]]()
    if coerces(schema):  # rows that break a warning are stored too, and coerced like the others
        coerced = pandera_failures(without_rules(schema), frame)[0] if failures else frame_after
        wrapped = wrapped_values(frame, coerced)
    failures_by_rule = failed_rules(schema, failures + wrapped)
    verdicts = verdicts_of(schema, failures_by_rule, len(frame_after), frame_after)
    coercion = None
    if coerces(schema) and not wrapped:  # which are refused, and shown as they came
        frame_after = coerced
        coercion = coerced_rows(frame, frame_after, schema)
    return Validation(frame_after, verdicts, first_positions(failures_by_rule.values()), coercion)


def without_rules(schema: pa.DataFrameSchema) -> pa.DataFrameSchema:
    """The schema of the columns and their types alone."""
    bare = copy.deepcopy(schema)
    bare.checks, bare.unique = [], None
    for column in bare.columns.values():
        column.checks, column.nullable, column.unique = [], True, False
    return bare


def failed_part(schema: pa.DataFrameSchema, keys: Iterable[RuleKey], frame: pd.DataFrame) -> dict[RuleKey, RuleFailure]:
    """How some rows break some rules of a schema that can be divided."""
    numbers: dict[RuleKey, RuleKey] = {}
    part = pa.DataFrameSchema({str(name): pa.Column(nullable=True) for name in frame})
    for name, kind in keys:
        owner, whole = (part, schema) if name is None else (part.columns[name], schema.columns[name])
        if kind == TYPE:
            owner.dtype = whole.dtype
        elif kind == TOGETHER:
            owner.unique = whole.unique
        else:
            numbers[(name, len(owner.checks))] = (name, kind)
            owner.checks = [*owner.checks, whole.checks[kind]]
    failures = pandera_failures(part, with_declared_types(schema, frame))[1]
    for record in failures:
        if record["check_number"] is not None and not pd.isna(record["check_number"]):
            name = record["column"] if record["schema_context"] == "Column" else None
            record["check_number"] = numbers[(name, int(record["check_number"]))][1]
    return failed_rules(schema, failures)


def pandera_failures(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> tuple[pd.DataFrame, list[dict[str, Any]]]:
    """The frame as Pandera gives it back, and a record of each of its failure cases; warnings and every failing row are among
    them, and the caller tells them apart and keeps a few."""
    # A copy: the user's schema is also the declaration, and is used by other steps of the process.
    strict = copy.deepcopy(schema)
    strict.get_backend = lambda *_, **__: _WithTimes()  # type: ignore[method-assign]
    for check in [*strict.checks, *(check for column in strict.columns.values() for check in column.checks)]:
        # Warnings count like errors here and are told apart by their rule: Pandera itself only warns, without rows.
        check.raise_warning = False
        # All cases, since the verdict counts them.
        check.n_failure_cases = None
    try:
        return strict.validate(frame, lazy=True), []
    except pa.errors.SchemaErrors as errors:
        return frame, errors.failure_cases.to_dict("records")


def failed_rules(schema: pa.DataFrameSchema, failures: Iterable[Mapping[str, Any]]) -> dict[RuleKey, RuleFailure]:
    """How each rule that has a failure case was broken."""
    rules = rules_by_key(schema)
    results: dict[RuleKey, list[Mapping[str, Any]]] = {}
    for record in failures:
        of_frame = record["schema_context"] == "DataFrameSchema" or record["column"] not in schema.columns
        number = record["check_number"]
        key = (
            None if of_frame else record["column"],
            record["check"] if number is None or pd.isna(number) else int(number),
        )
        results.setdefault(key if key in rules else COLUMNS_KEY, []).append(record)
    return {key: _failure(records, of_columns=key == COLUMNS_KEY) for key, records in results.items()}


def first_positions(failures: Iterable[RuleFailure]) -> tuple[int, ...]:
    """The positions of the first rows that break any rule, in order."""
    return tuple(sorted({position for one in failures for position in one.positions})[:REJECTED_ROWS])


def verdicts_of(
    schema: pa.DataFrameSchema, failures: Mapping[RuleKey, RuleFailure], rows: int, frame: pd.DataFrame
) -> list[Verdict]:
    """The verdict of each rule of a schema, with a sample of the rows that break it.

    Args:
        schema: the schema.
        failures: how the rules were broken that were.
        rows: how many rows there are in all.
        frame: a frame whose index holds the positions of the samples at least.
    """
    rules = [*rules_by_key(schema).items(), (COLUMNS_KEY, COLUMNS)]
    return [_verdict(rule, failures[key], rows, frame) if key in failures else Verdict(rule) for key, rule in rules]


def _verdict(rule: Rule, failure: RuleFailure, rows: int, frame: pd.DataFrame) -> Verdict:
    sample = frame.loc[list(failure.positions[:SAMPLE_ROWS])]
    problem = f"{rule.description}: {failure.failures} of {rows} rows break it"
    if failure.example is not None:
        problem += f", such as {failure.example!r}"
    if failure.problem:
        problem = failure.problem if rule is COLUMNS else f"{rule.description}: {failure.problem}"
    return Verdict(rule, failure.failures, tuple(sample.to_dict("records")), problem)


def _failure(records: list[Mapping[str, Any]], *, of_columns: bool) -> RuleFailure:
    at = [record["index"] for record in records if record["index"] is not None and not pd.isna(record["index"])]
    positions = sorted({int(position) for position in at})
    failures = len(positions) or len(records)  # of a check on the frame, Pandera tells each column of a row
    problem, example = "", records[0]["failure_case"]
    if not positions:
        problem = repr(example)
    if of_columns:
        problem = "; ".join(_column_problem(record) for record in records[:SAMPLE_ROWS])
    if pd.api.types.is_scalar(example) and pd.isna(example):
        example = None
    return RuleFailure(failures, tuple(positions[:REJECTED_ROWS]), example, problem)


def _column_problem(record: Mapping[str, Any]) -> str:
    problems = {
        "in_dataframe": "is missing",
        "in_schema": "is not declared",
        "ordered": "is not where the schema has it",
    }
    problem = problems.get(str(record["check"]).removeprefix("column_"))
    if problem is not None:
        return f"column {record['failure_case']!r} {problem}"
    return f"column {record['column']!r} should be {record['check']}, there was {record['failure_case']!r}"


class _WithTimes(DataFrameSchemaBackend):
    """Pandera's own, where columns of different time units fail at once: in one column of failure cases, a time of the year
    9999 in microseconds does not fit beside one in nanoseconds."""

    def failure_cases_metadata(self, schema_name: str, schema_errors: list[SchemaError]) -> FailureCaseMetadata:
        for error in schema_errors:
            cases = error.failure_cases
            if isinstance(cases, pd.DataFrame) and cases["failure_case"].dtype.kind in "mM":
                error.failure_cases = cases.astype({"failure_case": object})
        return super().failure_cases_metadata(schema_name, schema_errors)
