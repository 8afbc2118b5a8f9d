"""A stored table's columns: what may be added to them, and what is refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from fti_assets.core.names import PARTITION, TableName
from fti_assets.core.sql import quoted
from fti_assets.errors import SchemaChangedError

if TYPE_CHECKING:
    from fti_assets.stores.lake.lake import Lake


def fit(lake: Lake, table: TableName, staged: str) -> None:
    """Give the table the staged columns: by further ones if only these differ, else it is empty or not there and made anew.

    Within a transaction, after ``refuse_other_schema``.
    """
    stored, types = lake.types(table), lake.staged_types(staged)
    if stored and stored.items() <= types.items():
        for name in (name for name in types if name not in stored):
            lake.connection.execute(f"ALTER TABLE {table.sql} ADD COLUMN {quoted(name)} {types[name]}")
        return
    if lake.has(table):
        refuse_other_schema(lake, table, types, ())
        lake.connection.execute(f"DROP TABLE {table.sql}")
    _create(lake, table, staged)


def _create(lake: Lake, table: TableName, staged: str) -> None:
    """Make a table without rows, with a staged table's columns, and its ledger; within a transaction."""
    execute = lake.connection.execute
    execute(f"CREATE SCHEMA IF NOT EXISTS {quoted('lake', table.schema)}")
    execute(f"CREATE TABLE {table.sql} AS SELECT * FROM {quoted(staged)} LIMIT 0")
    execute(f"ALTER TABLE {table.sql} SET PARTITIONED BY ({PARTITION})")
    execute(
        f"CREATE TABLE IF NOT EXISTS {table.ledger_sql} (partition VARCHAR, data_version VARCHAR, rows BIGINT, committed_at TIMESTAMP, "
        "run_at TIMESTAMP, run_id VARCHAR, record VARCHAR)"
    )


def refuse_other_schema(lake: Lake, table: TableName, types: Mapping[str, str], addable: Collection[str]) -> None:
    """Refuse columns and types that a table with rows cannot get; one without rows can get any.

    Args:
        table: the table, which need not be there.
        types: the columns that it is to have, and their DuckDB types.
        addable: the columns of them that it may lack.

    Raises:
        SchemaChangedError: the stored table has other columns or types.
    """
    stored = lake.types(table)
    if not stored:
        return
    if not lake.connection.execute(f"SELECT coalesce(sum(rows), 0) FROM {table.ledger_sql}").fetchall()[0][0]:
        return
    new = [name for name in types if name not in stored]
    changes = [f"{name} {kind} is gone" for name, kind in stored.items() if name not in types]
    changes += [
        f"{name} was {stored[name]} and is now {kind}"
        for name, kind in types.items()
        if name in stored and stored[name] != kind
    ]
    if changes or not set(new) <= set(addable):
        changes = [*(f"{name} {types[name]} is new" for name in new), *changes]
        raise SchemaChangedError(
            f"{table} is stored with another schema: {'; '.join(changes)}. Nothing was stored. Raise the version, so "
            f"that the new schema gets a table of its own, {_line(table)}, or give the columns back their old types. While nobody "
            f"needs what is stored, you can start over: fti reset {table.name}"
        )


def _line(table: TableName) -> str:
    """What to type for the next version of a table's declaration."""
    name, _, version = table.name.rpartition("_v")
    following = int(version) + 1 if version.isdigit() else 2
    match table.schema:
        case "features":
            return f"@fti.feature_group(name={name!r}, version={following}, ...)"
        case "datasets" if name.endswith("_dataset"):
            view = name.removesuffix("_dataset")
            dataset, own = f"fti.training_dataset(name={name!r}, ...)", f"fti.FeatureView(name={view!r}, ...)"
            return f"version={following} in {dataset}, or in {own} where a view makes its own"
    return f"version={following} where {name!r} is declared"
