"""A stored table's columns: what may be added to them, and what is refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from fti_assets.core.names import PARTITION, TableName, in_partitions
from fti_assets.core.sql import quote, temporary_name
from fti_assets.errors import SchemaChangedError
from fti_assets.stores.lake.files.current_files import refuse_damaged_files
from fti_assets.stores.lake.files.damage import unreadable_files
from fti_assets.stores.lake.reader import LakeReader
from fti_assets.stores.lake.tables.placeholders import CommonType, common_types, rows_without


def settle(lake: LakeReader, table: TableName, staging: str) -> bool:
    """Give staged columns without values the types of the stored ones; whether any got another type.

    Under the writers' lock: another run may have stored the first values meanwhile.
    """
    types, has_changed = lake.staged_types(staging), False
    for name, common in _common_types(lake, table, staging, types).items():
        if common.sql_type != types[name]:
            column = quote(name)
            lake.connection.execute(
                f"ALTER TABLE {quote(staging)} ALTER COLUMN {column} TYPE {common.sql_type} USING {common.cast(name)}"
            )
            has_changed = True
    return has_changed


def settled_rows(lake: LakeReader, table: TableName, staging: str) -> str | None:
    """The SQL of staged rows as ``settle`` would leave them, None if it would leave them as they are."""
    types = lake.staged_types(staging)
    common = {
        name: its for name, its in _common_types(lake, table, staging, types).items() if its.sql_type != types[name]
    }
    casts = ", ".join(f"{its.cast(name)} AS {quote(name)}" for name, its in common.items())
    return f"(SELECT * REPLACE ({casts}) FROM {quote(staging)})" if casts else None


def fit(lake: LakeReader, table: TableName, staging: str, unreadable: Collection[str] = ()) -> None:
    """Give the table the staged columns: further ones, and the type of the first values; one without rows is made again.

    Within a transaction, after ``settle`` and ``refuse_other_schema``; ``catalog.put_columns`` follows the commit.

    Args:
        unreadable: the partitions that are replaced and cannot be read.
    """
    stored_types, types = lake.types(table), lake.staged_types(staging)
    other = [name for name in stored_types if types.get(name) != stored_types[name]]
    if stored_types and (not other or _has_rows(lake, table)):
        if other:
            refuse_other_schema(lake, table, staging, types)
            common = _common_types(lake, table, staging, types)
            lake.about_to_alter()
            _retype(lake, table, {name: types[name] for name in other}, common, unreadable)
        for name in (name for name in types if name not in stored_types):
            lake.about_to_alter()
            lake.connection.execute(f"ALTER TABLE {table.sql} ADD COLUMN {quote(name)} {types[name]}")
        return
    is_stored = lake.has(table)
    lake.about_to_alter()
    if is_stored:
        lake.connection.execute(f"DROP TABLE {table.sql}")
    _create(lake, table, staging)


def as_fitted(lake: LakeReader, table: TableName, staging: str) -> str:
    """The SQL of the stored rows as they will be when ``fit`` has given the table its columns."""
    stored_types, types = lake.types(table), lake.staged_types(staging)
    common = _common_types(lake, table, staging, types)
    additions = [f"NULL::{kind} AS {quote(name)}" for name, kind in types.items() if name not in stored_types]
    casts = ", ".join(f"{its.cast(name)} AS {quote(name)}" for name, its in common.items())
    items = [f"* REPLACE ({casts})" if casts else "*", *additions]
    return f"(SELECT {', '.join(items)} FROM {table.sql})" if casts or additions else table.sql


def _retype(
    lake: LakeReader,
    table: TableName,
    types: Mapping[str, str],
    common: Mapping[str, CommonType],
    unreadable: Collection[str],
) -> None:
    """Give columns without values another type, as new columns of the old names, so that old snapshots keep the old ones.

    Lists, structs and maps without values in them are written again.
    """
    execute = lake.connection.execute
    casts = ", ".join(f"{common[name].cast(name)} AS {quote(name)}" for name in types)
    has_value = " OR ".join(f"{quote(name)} IS NOT NULL" for name in types)
    where = f"({has_value})"
    if unreadable:
        where += f" AND {in_partitions([key for key in lake.ledger(table) if key not in unreadable])}"
    partitions = [key for (key,) in execute(f"SELECT DISTINCT {PARTITION} FROM {table.sql} WHERE {where}").fetchall()]
    rows = quote(temporary_name("moved"))
    of_moved = in_partitions(partitions)
    if partitions:
        refuse_damaged_files(lake, table, partitions)  # or their new files would hold the damage as what was written
        execute(f"CREATE TEMP TABLE {rows} AS SELECT * REPLACE ({casts}) FROM {table.sql} WHERE {of_moved}")
        execute(f"DELETE FROM {table.sql} WHERE {of_moved}")
    for name, kind in types.items():
        # DuckLake widens numbers only; any other change of type is a new column under the old name.
        execute(f"ALTER TABLE {table.sql} DROP COLUMN {quote(name)}")
        execute(f"ALTER TABLE {table.sql} ADD COLUMN {quote(name)} {kind}")
    if partitions:
        execute(f"INSERT INTO {table.sql} BY NAME FROM {rows}")
        execute(f"DROP TABLE {rows}")
        lake.sync_new_files(table, partitions)


def _create(lake: LakeReader, table: TableName, staging: str) -> None:
    """Make a table without rows, with a staged table's columns, and its ledger; within a transaction."""
    execute = lake.connection.execute
    execute(f"CREATE SCHEMA IF NOT EXISTS {quote('lake', table.schema)}")
    execute(f"CREATE TABLE {table.sql} AS SELECT * FROM {quote(staging)} LIMIT 0")
    # Before the first row: files are partitioned as they are written, and never again.
    execute(f"ALTER TABLE {table.sql} SET PARTITIONED BY ({PARTITION})")
    execute(
        f"CREATE TABLE IF NOT EXISTS {table.ledger_sql} (partition VARCHAR, data_version VARCHAR, rows BIGINT, committed_at TIMESTAMP, "
        "run_at TIMESTAMP, run_id VARCHAR, record VARCHAR)"
    )


def refuse_other_schema(lake: LakeReader, table: TableName, staging: str, addable: Collection[str]) -> None:
    """Refuse columns and types that a table with rows cannot get; one without rows can get any.

    Args:
        lake: the open lake.
        table: the table, which need not be there.
        staging: a temporary table with the columns that it is to have.
        addable: the columns of them that it may lack.

    Raises:
        SchemaChangedError: the stored table has other columns or types, of which it has values.
    """
    stored_types, types = lake.types(table), lake.staged_types(staging)
    if not stored_types or stored_types == types or not _has_rows(lake, table):
        return
    new = [name for name in types if name not in stored_types]
    common = _common_types(lake, table, staging, types)
    changes = [f"{name} {kind} is gone" for name, kind in stored_types.items() if name not in types]
    changes += [
        f"{name} was {stored_types[name]} and is now {kind}"
        for name, kind in types.items()
        if name in stored_types and stored_types[name] != kind and (name not in common or common[name].sql_type != kind)
    ]
    if changes or not set(new) <= set(addable):
        changes = [*(f"{name} {types[name]} is new" for name in new), *changes]
        for name, kind in types.items():
            if stored_types.get(name, kind) != kind and _are_decimals(stored_types[name], kind):
                changes.append(other_digits(name, stored_types[name], kind))
        raise SchemaChangedError(
            f"{table.full_name} is stored with another schema: {'; '.join(changes)}. Nothing was stored. Raise the version, so "
            f"that the new schema gets a table of its own, {_line(table)}, or give the columns back their old types. While what is "
            f"stored is not needed, you can start over: fti reset {table.name}"
        )


def other_digits(column: str, stored_type: str, kind: str) -> str:
    """What to do about a decimal column with values that its stored digits do not hold.

    Args:
        column: its name.
        stored_type: the type that is stored, such as ``DECIMAL(6,6)``.
        kind: that of the values.
    """
    return (
        f"a decimal has the digits of the values that came first, unless its schema states them: state those of {column} in the new "
        f"version's schema, pa.Column(pa.Decimal{_holding_both(stored_type, kind)}) in Pandera, or round the values to {stored_type}"
    )


def _holding_both(one: str, other: str) -> str:
    """The digits of a decimal that holds the values of two, as far as one of 38 does: ``(20, 2)``."""
    digits = [[int(part) for part in kind.removeprefix("DECIMAL(").rstrip(")").split(",")] for kind in (one, other)]
    scale = max(scale for _, scale in digits)
    whole = max(width - scale for width, scale in digits)
    return f"({min(38, whole + scale)}, {scale})"


def _are_decimals(*kinds: str) -> bool:
    return all(kind.startswith("DECIMAL(") and kind.endswith(")") for kind in kinds)


def _has_rows(lake: LakeReader, table: TableName) -> bool:
    return any(record.rows for record in lake.ledger(table).values())


def _common_types(lake: LakeReader, table: TableName, staging: str, types: Mapping[str, str]) -> dict[str, CommonType]:
    stored_types = lake.types(table)
    if all(types.get(name, kind) == kind for name, kind in stored_types.items()) or not _has_rows(lake, table):
        return {}
    partitions = lake.connection.execute(f"SELECT DISTINCT {PARTITION} FROM {quote(staging)}").fetchall()
    damage = {file.partition for file in unreadable_files(lake, table, {key for (key,) in partitions})}
    return common_types(lake, rows_without(lake, table, damage), stored_types, quote(staging), types)


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
