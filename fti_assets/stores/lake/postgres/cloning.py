"""The catalog of a branch of a team's lake: a database of its own beside main's, with copies of its tables."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from fti_assets.core.addresses import scrub
from fti_assets.errors import StoreError
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.lake.postgres.address import LakeAddress, lake_address
from fti_assets.stores.lake.postgres.lock import session
from fti_assets.stores.lake.postgres.store import PostgresLake

_LONGEST = 63
_MOVED = """
    UPDATE ducklake_{name}_file f SET path_is_relative = false, path = (
        CASE WHEN NOT t.path_is_relative THEN t.path WHEN NOT s.path_is_relative THEN s.path || t.path ELSE %s || s.path || t.path END
    ) || f.path FROM ducklake_table t JOIN ducklake_schema s USING (schema_id) WHERE t.table_id = f.table_id AND f.path_is_relative
"""
_TABLES = "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = current_schema() ORDER BY 1"
_COLUMNS = (
    "SELECT attname, format_type(atttypid, atttypmod) FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid "
    "JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = current_schema() AND c.relname = %s AND attnum > 0 "
    "AND NOT attisdropped ORDER BY attnum"
)


def branch_address(main: LakeAddress, name: str, data: BucketPath) -> LakeAddress:
    """The address of a branch: a database whose name has the branch's behind main's, and another folder.

    >>> from fti_assets.stores.lake.postgres.address import lake_address
    >>> main = lake_address("postgresql://ann@db/lake?data=s3://team/lake")
    >>> branch_address(main, "pr-12", BucketPath.of("s3://team/lake/environments/pr-12/lake")).location
    'postgresql://ann@db/lake_env_pr-12?data=s3://team/lake/environments/pr-12/lake'

    Raises:
        StoreError: the database's name would be too long.
    """
    parts = urlsplit(main.location)
    options = [option for option in parts.query.split("&") if option and not option.startswith("data=")]
    database = f"{main.database.parameters.get('dbname') or main.database.parameters.get('user', '')}_env_{name}"
    if len(database.encode()) > _LONGEST:
        raise StoreError(
            f"an environment of {main} cannot be called {name!r}: its database would be called {database!r}, of which Postgres takes "
            f"{_LONGEST} bytes; give it a shorter name"
        )
    query = "&".join([*options, f"data={quote(str(data), safe=':/')}"])
    return lake_address(urlunsplit(parts._replace(path=f"/{quote(database, safe='')}", query=query)))


def drop_database(main: LakeAddress, branch: LakeAddress) -> None:
    """Drop a branch's database, if it is there.

    Raises:
        StoreError: this user may not.
    """
    with session(main) as connection:
        connection.execute(f"DROP DATABASE IF EXISTS {_quote(_database(branch))} WITH (FORCE)")


def clone_database(main: PostgresLake, branch: PostgresLake, *, snapshot: int, first: int, message: str) -> None:
    """Make a branch's database with the tables of main as they are now, the files' paths made absolute.

    The caller holds main's writers' lock.

    Args:
        main: the lake.
        branch: the branch, whose database is not there.
        snapshot: main's newest.
        first: the number of the branch's first snapshot, which holds what that does.
        message: that snapshot's.

    Raises:
        StoreError: it could not be made.
    """
    import psycopg

    with session(main.root) as source:
        source.execute(f"CREATE DATABASE {_quote(_database(branch.root))} TEMPLATE template0")
    branch.create()  # with the tables that DuckLake makes, and their types
    with session(main.root) as source, session(branch.root) as target:
        try:
            with source.transaction(), target.transaction():
                tables = {name for (name,) in target.execute(_TABLES).fetchall()}
                for name in tables:
                    target.execute(f"TRUNCATE {_quote(name)}")
                for (name,) in source.execute(_TABLES).fetchall():
                    _copy_table(source, target, name, is_there=name in tables)
                _make_branch(target, main, branch, snapshot=snapshot, first=first, message=message)
        except psycopg.Error as error:
            reason = scrub(" ".join(str(error).split()), main.root.database.secrets)
            raise StoreError(f"the catalog of {main.root} cannot be copied: {reason}. Nothing was made") from None


def _copy_table(source: Any, target: Any, name: str, *, is_there: bool) -> None:
    columns = source.execute(_COLUMNS, [name]).fetchall()
    if not is_there:
        target.execute(
            f"CREATE TABLE {_quote(name)} ({', '.join(f'{_quote(column)} {kind}' for column, kind in columns)})"
        )
    names = ", ".join(_quote(column) for column, _ in columns)
    with (
        source.cursor().copy(f"COPY {_quote(name)} ({names}) TO STDOUT") as rows,
        target.cursor().copy(f"COPY {_quote(name)} ({names}) FROM STDIN") as copy,
    ):
        for part in rows:
            copy.write(part)


def _make_branch(
    target: Any, main: PostgresLake, branch: PostgresLake, *, snapshot: int, first: int, message: str
) -> None:
    for name in ("data", "delete"):
        target.execute(_MOVED.format(name=name), [f"{main.data}/"])
    target.execute("DELETE FROM ducklake_files_scheduled_for_deletion")
    target.execute("UPDATE ducklake_metadata SET value = %s WHERE key = 'data_path'", [f"{branch.data}/"])
    target.execute(
        "INSERT INTO ducklake_snapshot SELECT %s, snapshot_time, schema_version, next_catalog_id, next_file_id FROM ducklake_snapshot "
        "WHERE snapshot_id = %s",
        [first, snapshot],
    )
    target.execute(
        "INSERT INTO ducklake_snapshot_changes (snapshot_id, changes_made, author, commit_message) VALUES (%s, '', 'fti_assets', %s)",
        [first, message],
    )


def _database(address: LakeAddress) -> str:
    return address.database.parameters["dbname"]


def _quote(name: str) -> str:
    escaped = name.replace('"', '""')
    return f'"{escaped}"'
