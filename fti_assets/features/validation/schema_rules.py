"""The rules that a Pandera schema states, as they are known before any row is there."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from fti_assets.core.rules import Rule

if TYPE_CHECKING:
    import pandera.pandas as pa

RuleKey = tuple[str | None, Any]
"""What tells a rule of a schema: its column and the check's number, or the kind of failure."""

COLUMNS_KEY: RuleKey = (None, "columns")

COLUMNS = Rule("columns", "Every declared column is there with its type")


def rules_of(schema: pa.DataFrameSchema | None) -> list[Rule]:
    """The rules of a schema: its columns and types, each column that may not be null or must be unique, each check."""
    return [] if schema is None else [*rules_by_key(schema).values(), COLUMNS]


def rules_by_key(schema: pa.DataFrameSchema) -> dict[RuleKey, Rule]:
    """The rules of a schema without that of its columns, each by what tells it."""
    rules: dict[RuleKey, Rule] = {}
    taken: set[str] = {COLUMNS.name}

    def add(key: RuleKey, name: str, description: str, blocking: bool = True) -> None:
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
            f"unique_{'_'.join(map(str, unique))}",
            f"{', '.join(map(str, unique))} are unique together",
        )
    return rules
