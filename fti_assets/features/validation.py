"""Validation by Pandera, one verdict a rule."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pandera.pandas as pa

from fti_assets.features.schema import column_types
from fti_assets.rules import Rule, Verdict

SAMPLE_ROWS = 10
REJECTED_ROWS = 1_000


@dataclass(frozen=True)
class Validation:
    """The validated frame (coerced, if the schema coerces), the verdicts, and the positions of the failing rows."""

    frame: pd.DataFrame
    verdicts: list[Verdict] = field(default_factory=list)
    failing_rows: Sequence[int] = ()


COLUMNS = Rule("columns", "Every declared column is there with its type")


def rules_of(schema: pa.DataFrameSchema | None) -> list[Rule]:
    """The rules of a schema: its columns and types, each column that may not be null or must be unique, each check."""
    return [] if schema is None else list(_rules_by_failure(schema).values()) + [COLUMNS]


def validate(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> Validation:
    """Validate every rule of a schema and tell the verdict of each; nothing is raised for bad rows."""
    strict_copy = _without_warnings(schema)
    frame = _with_declared_widths(schema, frame.reset_index(drop=True))
    try:
        frame = strict_copy.validate(frame, lazy=True)
        failures = None
    except pa.errors.SchemaErrors as errors:
        failures = errors.failure_cases
    rules = _rules_by_failure(schema)
    everything = [*rules.values(), COLUMNS]
    if failures is None:
        return Validation(frame, [Verdict(rule) for rule in everything])
    found: dict[Rule, list[dict[str, Any]]] = {rule: [] for rule in everything}
    for record in failures.to_dict("records"):
        found[rules.get(_failure_key(schema, record), COLUMNS)].append(record)
    rows = {int(record["index"]) for records in found.values() for record in records if _is_position(record["index"])}
    verdicts = [_verdict(rule, records, frame) for rule, records in found.items()]
    return Validation(frame, verdicts, sorted(rows))


def _rules_by_failure(schema: pa.DataFrameSchema) -> dict[tuple[str | None, Any], Rule]:
    """The rule that each of Pandera's failure cases breaks, by column and check number (or kind of failure)."""
    rules: dict[tuple[str | None, Any], Rule] = {}
    taken: set[str] = {COLUMNS.name}

    def add(key: tuple[str | None, Any], name: str, description: str, blocking: bool = True) -> None:
        name = re.sub(r"\W+", "_", name).strip("_")
        while name in taken:
            name += "_"
        taken.add(name)
        rules[key] = Rule(name, description, blocking)

    for column_name, column in schema.columns.items():
        if not column.nullable:
            add((column_name, "not_nullable"), f"{column_name}_not_null", f"{column_name} is never null")
        if column.unique:
            add((column_name, "field_uniqueness"), f"{column_name}_unique", f"{column_name} is unique")
        for number, check in enumerate(column.checks):
            text = str(check.error or check.name)
            add((column_name, number), f"{column_name}_{check.name}", f"{column_name}: {text}", not check.raise_warning)
    for number, check in enumerate(schema.checks):
        add((None, number), str(check.name), str(check.error or check.name), not check.raise_warning)
    if schema.unique:
        unique = [schema.unique] if isinstance(schema.unique, str) else list(schema.unique)
        add(
            (None, "multiple_fields_uniqueness"),
            f"unique_{'_'.join(unique)}",
            f"{', '.join(unique)} are unique together",
        )
    return rules


def _failure_key(schema: pa.DataFrameSchema, record: dict[str, Any]) -> tuple[str | None, Any]:
    column = record["column"] if record["column"] in schema.columns else None
    if record["schema_context"] == "DataFrameSchema":
        column = None
    number = record["check_number"]
    return (column, record["check"] if number is None or pd.isna(number) else int(number))


def _verdict(rule: Rule, records: list[dict[str, Any]], frame: pd.DataFrame) -> Verdict:
    if not records:
        return Verdict(rule)
    positions = [int(record["index"]) for record in records if _is_position(record["index"])]
    sample = frame.iloc[sorted(set(positions))[:SAMPLE_ROWS]]
    first = records[0]
    failures = len(set(positions)) or len(records)  # of a check on the frame, Pandera tells each column of a row
    problem = f"{rule.description}: {failures} of {len(frame)} rows break it"
    if first["failure_case"] is not None and not pd.isna(first["failure_case"]):
        problem += f", such as {first['failure_case']!r}"
    if not positions:
        problem = f"{rule.description}: {first['failure_case']!r}"
    if rule is COLUMNS:
        problem = "; ".join(_column_problem(record) for record in records[:SAMPLE_ROWS])
    return Verdict(rule, failures, tuple(sample.to_dict("records")), problem)


def _column_problem(record: dict[str, Any]) -> str:
    if record["check"] == "column_in_dataframe":
        return f"column {record['failure_case']!r} is missing"
    if record["check"] == "column_in_schema":
        return f"column {record['failure_case']!r} is not declared"
    return f"column {record['column']!r} should be {record['check']}, there was {record['failure_case']!r}"


def _is_position(index: Any) -> bool:
    return index is not None and not pd.isna(index)


def _without_warnings(schema: pa.DataFrameSchema) -> pa.DataFrameSchema:
    """A copy that reports warnings as failures, so that both come with their rows; the caller tells them apart."""
    strict = copy.deepcopy(schema)
    for check in [*strict.checks, *(check for column in strict.columns.values() for check in column.checks)]:
        check.raise_warning = False
    return strict


def _with_declared_widths(schema: pa.DataFrameSchema, frame: pd.DataFrame) -> pd.DataFrame:
    """Give columns the declared width, time unit or category where that changes no value, so that it is not a failure:
    whole numbers are stored in 64 bits, numbers as doubles, categories as text and times as naive UTC microseconds."""
    changed = {}
    for name, kind in column_types(schema).items():
        declared = getattr(schema.columns[name].dtype, "type", None)
        if name not in frame or declared is None:
            continue
        values = frame[name]
        if kind == "timestamp" and values.dtype.kind == "M":
            changed[name] = _with_declared_time(values, declared)
        elif values.dtype != declared and (
            kind in _family(values.dtype)
            or (isinstance(declared, pd.CategoricalDtype) and "text" in _family(values.dtype))
        ):
            changed[name] = _cast_unless_it_changes(values, declared)
    return frame.assign(**changed) if changed else frame


def _family(dtype: Any) -> set[str]:
    kinds = {"b": "boolean", "i": "integer", "u": "integer", "f": "number", "O": "text"}
    return {kinds.get(dtype.kind, "")} | ({"text"} if pd.api.types.is_string_dtype(dtype) else set())


def _with_declared_time(values: pd.Series, declared: Any) -> pd.Series:
    zone = getattr(declared, "tz", None)
    utc = values.dt.tz_localize("UTC") if values.dt.tz is None else values.dt.tz_convert("UTC")
    moved = utc.dt.tz_localize(None) if zone is None else utc.dt.tz_convert(zone)
    return _cast_unless_it_changes(moved, declared)


def _cast_unless_it_changes(values: pd.Series, declared: Any) -> pd.Series:
    categories = getattr(declared, "categories", None)
    if categories is not None and not (values.isna() | values.isin(categories)).all():
        return values
    try:
        cast = values.astype(declared)
        return cast if cast.astype(values.dtype).equals(values) else values
    except (TypeError, ValueError, OverflowError):  # Pandera says what is wrong with the column
        return values
