"""The offline store of a team: a DuckLake with its catalog in Postgres, and its files in a bucket."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb

from fti_assets.core.addresses import scrub
from fti_assets.core.names import LEDGER
from fti_assets.core.sql import literal, quote
from fti_assets.errors import DamagedError, StoreError, count_of
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.duckdb.extensions import load_extension
from fti_assets.stores.duckdb.s3_secret import read_s3, unreachable_s3
from fti_assets.stores.files import files_under
from fti_assets.stores.lake.connection import METADATA, READ, prepared_connection
from fti_assets.stores.lake.postgres.address import LakeAddress, lake_address
from fti_assets.stores.lake.postgres.lock import session, writers_lock
from fti_assets.stores.lake.postgres.trouble import trouble_of
from fti_assets.stores.lake.store import OfflineStore

_LOCK_SECONDS = 600.0
_SECRET = "__fti_catalog"
_PARAMETER = re.compile(r"\?(\d+)")
_TABLE = "SELECT 1 FROM pg_catalog.pg_tables WHERE schemaname = current_schema() AND tablename = ?1"


class PostgresLake(OfflineStore):
    """A DuckLake for several machines. It has a database to itself.

    Args:
        location: ``postgresql://user:password@host/database?data=s3://bucket/folder``; the tables are made on the first write.
    """

    def __init__(self, location: str) -> None:
        self._address = lake_address(location)

    @property
    def root(self) -> LakeAddress:
        return self._address

    @property
    def location(self) -> str:
        return self._address.location

    @property
    def identity(self) -> str:
        return self._address.location

    @property
    def catalog(self) -> Path | LakeAddress:
        return self._address

    @property
    def data(self) -> BucketPath:
        return self._address.data / "data"

    @property
    def real_data(self) -> BucketPath:
        return self.data

    @property
    def rejected(self) -> BucketPath:
        return self._address.data / "rejected"

    @property
    def may_write(self) -> bool:
        return True  # the database and the bucket say so where it is done

    @property
    def catalog_bytes(self) -> int:
        with session(self._address) as connection:
            query = (
                "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_catalog.pg_class c "
                "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = current_schema() AND c.relkind = 'r'"
            )
            ((size,),) = connection.execute(query).fetchall()
            return int(size)

    @property
    def own_files(self) -> tuple[str, ...]:
        return ()

    def exists(self) -> bool:
        """Whether there is a lake.

        Raises:
            DamagedError: the database has no catalog, and files are where its files would be.
            StoreError: the database or the bucket cannot be reached.
        """
        if self.has_catalog:
            return True
        if number := len(list(files_under(self.data))):
            raise DamagedError(
                f"the database of {self.root} has no catalog, and {self.data} holds {count_of(number, 'file')}: the offline store has lost "
                "its catalog, or data= names the folder of another lake. Nothing was changed. Restore the database from its backup, or "
                "name an empty folder"
            )
        return False

    @property
    def has_catalog(self) -> bool:
        """Whether the database has the tables of a lake.

        Raises:
            StoreError: it cannot be reached.
        """
        with session(self._address) as connection:
            return bool(connection.execute(_TABLE.replace("?1", "%s"), [METADATA]).fetchall())

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the writers' lock, against all other threads, processes and machines."""
        with writers_lock(self._address, _LOCK_SECONDS):
            yield

    @contextmanager
    def lock_if_writable(self) -> Iterator[None]:
        with self.lock():
            yield

    def create(self) -> None:
        """Make the catalog once, whole or not at all."""
        if self.exists():
            return
        with self.lock():
            if self.exists():  # another process may have made it meanwhile
                return
            try:
                with self._attached("CREATE_IF_NOT_EXISTS true") as connection:
                    # DuckLake would keep small inserts in the catalog, where nothing but DuckLake can read them.
                    connection.execute("CALL lake.set_option('data_inlining_row_limit', 0)")
                    connection.execute(f"CREATE SCHEMA lake.{LEDGER}")
                    # The ledger is small and changes with each commit: inlined, it costs no Parquet file a commit.
                    connection.execute(f"CALL lake.set_option('data_inlining_row_limit', 100000, schema => '{LEDGER}')")
            except duckdb.Error as error:
                raise self._refusal("has no catalog yet, and none could be made", error) from None

    @contextmanager
    def attached(self) -> Iterator[duckdb.DuckDBPyConnection]:
        with self._attached("CREATE_IF_NOT_EXISTS false") as connection:
            # Whoever commits holds the lock, so a snapshot that came in between says that the lock was lost: DuckLake would write its
            # own after it, and a partition that both made would be there twice.
            connection.execute("SET ducklake_max_retry_count = 0")
            yield connection

    @contextmanager
    def _attached(self, *options: str) -> Iterator[duckdb.DuckDBPyConnection]:
        database = self._address.database
        with prepared_connection() as connection:
            for extension in ("postgres_scanner", "ducklake"):
                load_extension(connection, extension)
            read_s3(connection)
            settings = [f"DATA_PATH {literal(f'{self.data}/')}", "OVERRIDE_DATA_PATH true", *options]
            try:
                if database.password is not None:  # in a secret, since DuckDB repeats the text of ATTACH in its errors
                    secret = f"CREATE OR REPLACE TEMPORARY SECRET {_SECRET} (TYPE postgres, PASSWORD {literal(database.password)})"
                    connection.execute(secret)
                    settings.append(f"META_SECRET {literal(_SECRET)}")
                connection.execute(
                    f"ATTACH {literal(f'ducklake:postgres:{database.text}')} AS lake ({', '.join(settings)})"
                )
            except duckdb.Error as error:
                raise self._refusal("cannot be opened", error) from None
            yield connection

    def attach_beside(self, connection: duckdb.DuckDBPyConnection, alias: str) -> None:
        """Attach the lake to a connection to another in the same server, whose password it has, to be read under an alias."""
        database = self._address.database
        settings = [f"DATA_PATH {literal(f'{self.data}/')}", "OVERRIDE_DATA_PATH true", READ]
        settings += [f"META_SECRET {literal(_SECRET)}"] if database.password is not None else []
        connection.execute(
            f"ATTACH {literal(f'ducklake:postgres:{database.text}')} AS {quote(alias)} ({', '.join(settings)})"
        )

    def ask(
        self, connection: duckdb.DuckDBPyConnection, query: str, parameters: Sequence[str | int] = ()
    ) -> list[tuple[str | None, ...]]:
        texts = [str(one) if isinstance(one, int) else _text(one) for one in parameters]
        whole = _PARAMETER.sub(lambda match: texts[int(match[1]) - 1], query)
        # Its name stands first, so that an error about the catalog is known by it.
        question = f"FROM postgres_query('__ducklake_metadata_lake', {literal(whole)})"
        return [tuple(map(_as_text, row)) for row in connection.execute(question).fetchall()]

    def has_own_table(self, connection: duckdb.DuckDBPyConnection, name: str) -> bool:
        return bool(self.ask(connection, _TABLE, [name]))

    def trouble(self, error: Exception) -> str | None:
        return trouble_of(error, self._address.database.secrets)

    def mark(self) -> dict[str, str]:
        return {"commit": secrets.token_hex(8)}

    def commit(self, connection: duckdb.DuckDBPyConnection) -> None:
        # Where the answer does not come, DuckLake deletes the files that it has written, which the database may name by then. What is
        # named by nobody goes with the files of killed writers.
        with unreachable_s3(connection):
            connection.execute("COMMIT")

    def has_committed(self, before: int, text: str) -> bool:
        try:
            with session(self._address) as connection, connection.transaction():
                # Whoever is about to commit has written there, and is waited for: the connection may have been lost after the
                # database had begun to. The database takes a minute to see that a client is gone that says nothing.
                connection.execute("SET LOCAL lock_timeout = '90s'")
                connection.execute("LOCK TABLE ducklake_snapshot IN EXCLUSIVE MODE")
                query = "SELECT 1 FROM ducklake_snapshot_changes WHERE snapshot_id > %s AND commit_extra_info = %s"
                return bool(connection.execute(query, [before, text]).fetchall())
        except StoreError as error:
            raise StoreError(
                f"whether it was committed cannot be asked: {error}. When the database is back, run it again: what is there already is "
                "not written twice"
            ) from error

    def overwrite_deleted(self) -> None:
        with session(self._address) as connection:
            connection.execute("SET lock_timeout = '30s'")
            tables = "SELECT format('%I.%I', schemaname, tablename) FROM pg_catalog.pg_tables WHERE schemaname = current_schema()"
            for (table,) in connection.execute(tables).fetchall():
                connection.execute(f"VACUUM FULL {table}")

    def _refusal(self, what: str, error: Exception) -> StoreError:
        hidden = self._address.database.secrets
        return StoreError(
            f"the offline store at {self.root} {what}: {scrub(' '.join(str(error).split()), hidden)}. Check that Postgres runs, is "
            "reached from here, and knows this user, password and database"
        )


def _as_text(value: object) -> str | None:
    """A value as SQLite says it."""
    match value:
        case None:
            return None
        case bytes():  # DuckLake keeps the texts of inlined rows so, as Postgres takes no NUL in a text
            return value.decode()
        case bool():
            return str(int(value))
    return str(value)


def _text(value: str) -> str:
    return f"E{literal(value.replace(chr(92), chr(92) * 2))}"
