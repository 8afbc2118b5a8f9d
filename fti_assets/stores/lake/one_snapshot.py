"""What one snapshot of the lake holds, each thing asked once: a snapshot never changes.

Tables and ledgers are read from the tables of DuckLake's own catalog. DuckLake would list tables with statistics of each, and to read
a ledger it would load the whole schema once more, as it was when that ledger was made.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import duckdb

from fti_assets.core.names import LEDGER, PARTITION, PartitionRecord, TableName
from fti_assets.core.sql import quote
from fti_assets.stores.lake.connection import AskedStore


class OneSnapshot:
    """The tables of a snapshot, their types and their ledgers.

    Args:
        connection: a connection to the lake.
        store: where the lake is.
        number: the snapshot's.
        types: what is certain of the types of tables already.
    """

    def __init__(
        self,
        connection: duckdb.DuckDBPyConnection,
        store: AskedStore,
        number: int,
        types: Mapping[TableName, dict[str, str]] | None = None,
    ) -> None:
        self.number = number
        self._connection = connection
        self._store = store
        self._inlined: dict[TableName, str | None] | None = None
        self._types: dict[TableName, dict[str, str]] = dict(types or {})
        self._ledgers: dict[TableName, dict[str, PartitionRecord]] = {}

    def tables(self) -> list[TableName]:
        """Every table but the ledgers, by name."""
        return sorted(
            (table for table in self._tables() if table.schema != LEDGER), key=lambda one: (one.schema, one.name)
        )

    def types(self, table: TableName) -> dict[str, str]:
        """Column names and DuckDB types of a table, in its order, without ``_partition``; empty if there is none.

        Asked while the snapshot is the one that the connection reads.
        """
        if table not in self._types:
            self._types[table] = stored_types(self._connection, table) if table in self._tables() else {}
        return dict(self._types[table])

    def ledger(self, table: TableName) -> dict[str, PartitionRecord] | None:
        """What is stored of each partition, by partition; None where DuckLake itself must be asked, such as of a snapshot that is gone."""
        if table not in self._ledgers:
            tables, ledger = self._tables(), TableName(LEDGER, f"{table.schema}_{table.name}")
            inline_table = tables.get(ledger)
            if inline_table is None and (ledger in tables or not tables):
                return None
            self._ledgers[table] = {} if inline_table is None else self._read(inline_table)
        return dict(self._ledgers[table])

    def positions(self, table: TableName) -> dict[int, tuple[int, str]] | None:
        """How far a table has come in its stream, by shard, and what tells the shard's stream from another of its name.

        Empty if it has no stream, None where DuckLake itself must be asked.
        """
        tables, positions = self._tables(), TableName(LEDGER, f"{table.schema}_{table.name}_positions")
        if positions not in tables and tables:
            return {}
        inline_table = tables.get(positions)
        if inline_table is None:
            return None
        query = f'SELECT shard, "sequence", "identity" FROM {quote(inline_table)} WHERE {_LIVE}'
        rows = self._store.ask(self._connection, query, [self.number])
        return {int(str(shard)): (int(str(sequence)), str(identity)) for shard, sequence, identity in rows}

    def contract(self, table: TableName) -> str | None:
        """What its owner says of a table; empty if it says nothing, None where DuckLake itself must be asked."""
        tables = self._tables()
        if table.contract not in tables and tables:
            return ""
        inline_table = tables.get(table.contract)
        if inline_table is None:
            return None
        rows = self._store.ask(
            self._connection, f"SELECT contract FROM {quote(inline_table)} WHERE {_LIVE}", [self.number]
        )
        return str(rows[0][0]) if rows else ""

    def _read(self, inline_table: str) -> dict[str, PartitionRecord]:
        records = self._store.ask(
            self._connection,
            f'SELECT "partition", data_version, "rows", committed_at, run_at, run_id, record FROM {quote(inline_table)} '
            f"WHERE {_LIVE} ORDER BY 1",
            [self.number],
        )
        return {
            str(partition): PartitionRecord(
                str(partition),
                str(version),
                int(str(rows)),
                datetime.fromisoformat(str(committed_at)),
                datetime.fromisoformat(str(run_at)),
                str(run_id),
                str(record),
            )
            for partition, version, rows, committed_at, run_at, run_id, record in records
        }

    def _tables(self) -> dict[TableName, str | None]:
        """The tables, and of each the one table of the catalog that holds all of its rows, if there is one."""
        if self._inlined is None:
            # A table that ever had a file has a size, also when its rows were inlined before.
            rows = self._store.ask(
                self._connection,
                f"""
                SELECT s.schema_name, t.table_name,
                    CASE WHEN count(i.table_name) = 1 AND max(coalesce(n.file_size_bytes, 0)) = 0 THEN max(i.table_name) END
                FROM (SELECT table_id, schema_id, table_name FROM ducklake_table WHERE {_LIVE}) t
                JOIN ducklake_schema s USING (schema_id) LEFT JOIN ducklake_inlined_data_tables i USING (table_id)
                LEFT JOIN ducklake_table_stats n USING (table_id)
                WHERE EXISTS (SELECT 1 FROM ducklake_snapshot WHERE snapshot_id = ?1)
                GROUP BY s.schema_name, t.table_name, t.table_id
                """,
                [self.number],
            )
            self._inlined = {TableName(str(schema), str(name)): inline_table for schema, name, inline_table in rows}
        return self._inlined


_LIVE = "begin_snapshot <= ?1 AND (end_snapshot IS NULL OR end_snapshot > ?1)"


def stored_types(connection: duckdb.DuckDBPyConnection, table: TableName) -> dict[str, str]:
    """The columns of a stored table as the connection sees it now, in its order, without ``_partition``; empty if there is none."""
    try:
        columns = connection.execute(f"DESCRIBE {table.sql}").fetchall()
    except duckdb.CatalogException:
        return {}
    return {name: kind for name, kind, *_ in columns if name != PARTITION}
