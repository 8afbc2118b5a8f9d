"""A transaction of DuckLake on a Postgres catalog, over the same on a SQLite file: commits and reads, in wall and CPU.

``python -m benchmarks.catalogs`` replaces a partition of 10,000 rows and reads it back, by hand, on a catalog of each kind, whose files lie
in folders side by side. They take turns, so that all meet the same load. The CPU is that of this process and of Postgres's for it. Where
the wheel ``duckdb-extension-quack`` is installed, a DuckDB that serves its catalog by Quack takes part. ``FTI_POSTGRES`` is the server's
address, ``postgresql://postgres@127.0.0.1:5432/postgres`` by default, in which a database is made and dropped.
"""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import duckdb

from fti_assets.core.sql import literal
from fti_assets.stores.duckdb.extensions import connect_in_memory, load_extension

ROUNDS, ROWS, PARTITIONS = 25, 10_000, 50
POSTGRES = os.environ.get("FTI_POSTGRES", "postgresql://postgres@127.0.0.1:5432/postgres")
QUACK = "quack:localhost:9619"
_SERVE = f"""
import sys, time
from fti_assets.stores.duckdb.extensions import connect_in_memory, load_extension
connection = connect_in_memory()
for name in ("httpfs", "quack"):
    load_extension(connection, name)
connection.execute(f"ATTACH '{{sys.argv[1]}}' AS catalog")
connection.execute("USE catalog")
connection.execute("CALL quack_serve('{QUACK}', token => 'token')").fetchall()
print("ready", flush=True)
time.sleep(3600)
"""


@contextmanager
def attached(catalog: str, data: Path, *extensions: str, setup: str = "") -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection to a new lake with a table of some partitions."""
    connection = connect_in_memory({"threads": "1"})
    for name in (*extensions, "ducklake"):
        load_extension(connection, name)
    if setup:
        connection.execute(setup)
    connection.execute(f"ATTACH {literal(f'ducklake:{catalog}')} AS lake (DATA_PATH {literal(f'{data}/')})")
    connection.execute("CALL lake.set_option('data_inlining_row_limit', 0)")
    connection.execute("CREATE TABLE lake.rows (id BIGINT, value DOUBLE, _partition VARCHAR)")
    connection.execute("ALTER TABLE lake.rows SET PARTITIONED BY (_partition)")
    connection.execute(f"INSERT INTO lake.rows SELECT range, range / 7, 'p' || range % {PARTITIONS} FROM range({ROWS})")
    try:
        yield connection
    finally:
        connection.close()


@contextmanager
def postgres_database() -> Iterator[tuple[str, Callable[[], float]]]:
    """libpq's parameters of a new database, and the CPU seconds of the server's processes for it."""
    import psycopg
    from psycopg.conninfo import conninfo_to_dict, make_conninfo

    name = f"fti_bench_{secrets.token_hex(4)}"
    with psycopg.connect(POSTGRES, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        try:

            def cpu() -> float:
                pids = admin.execute("SELECT pid FROM pg_stat_activity WHERE datname = %s", [name]).fetchall()
                return sum(_cpu_of(pid) for (pid,) in pids)

            parameters = {key: str(value) for key, value in conninfo_to_dict(POSTGRES).items()}
            yield make_conninfo(**{**parameters, "dbname": name}), cpu
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _cpu_of(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def quack_server(folder: Path) -> Iterator[Callable[[], float]]:
    process = subprocess.Popen([sys.executable, "-c", _SERVE, str(folder / "catalog.duckdb")], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError("the Quack server did not start")
        yield lambda: _cpu_of(process.pid)
    finally:
        process.kill()
        process.wait()


def commit(connection: duckdb.DuckDBPyConnection, number: int) -> None:
    connection.execute("BEGIN")
    connection.execute("DELETE FROM lake.rows WHERE _partition = 'p7'")
    connection.execute(f"INSERT INTO lake.rows SELECT range, range + {number}, 'p7' FROM range({ROWS})")
    connection.execute("COMMIT")


def read(connection: duckdb.DuckDBPyConnection, number: int) -> None:
    (row,) = connection.execute("SELECT count(*), min(value) FROM lake.rows WHERE _partition = 'p7'").fetchall()
    assert row == (ROWS, number), row


def main() -> None:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        parameters, postgres_cpu = stack.enter_context(postgres_database())
        lakes: dict[str, tuple[duckdb.DuckDBPyConnection, Callable[[], float]]] = {}

        def add(
            name: str, catalog: str, *extensions: str, cpu: Callable[[], float] = lambda: 0.0, setup: str = ""
        ) -> None:
            connection = stack.enter_context(attached(catalog, folder / name, *extensions, setup=setup))
            lakes[name] = connection, cpu

        add("sqlite", f"sqlite:{folder / 'catalog.sqlite'}", "sqlite_scanner")
        add("postgres", f"postgres:{parameters}", "postgres_scanner", cpu=postgres_cpu)
        if importlib.util.find_spec("duckdb_extension_quack") is not None:
            cpu = stack.enter_context(quack_server(folder))
            secret = f"CREATE SECRET (TYPE quack, TOKEN 'token', SCOPE '{QUACK}')"
            add("quack", QUACK, "httpfs", "quack", cpu=cpu, setup=secret)
        times: dict[tuple[str, str], list[tuple[float, float]]] = {}
        for number in range(1, ROUNDS + 1):
            for what, do in (("commit", commit), ("read", read)):
                for name, (connection, cpu_beside) in lakes.items():
                    wall, cpu_before = time.perf_counter(), time.process_time() + cpu_beside()
                    do(connection, number)
                    passed = time.perf_counter() - wall, time.process_time() + cpu_beside() - cpu_before
                    times.setdefault((name, what), []).append(passed)
    print("catalog    commit: wall ms  CPU ms    read: wall ms  CPU ms")
    medians = {
        # The clock of another process has steps of 10 ms, so its CPU is a mean and not a median.
        key: [1000 * statistics.median(pair[0] for pair in pairs), 1000 * statistics.mean(pair[1] for pair in pairs)]
        for key, pairs in times.items()
    }
    for name in lakes:
        (wall, cpu_ms), (read_wall, read_cpu) = medians[name, "commit"], medians[name, "read"]
        print(f"{name:<10} {wall:15.1f} {cpu_ms:7.1f} {read_wall:16.1f} {read_cpu:7.1f}")
    ratios = {
        f"{name}_{what}_{unit}": round(medians[name, what][place] / medians["sqlite", what][place], 2)
        for name in lakes
        if name != "sqlite"
        for what in ("commit", "read")
        for place, unit in enumerate(("wall", "cpu"))
    }
    goal = 2.0
    ratio = ratios["postgres_commit_wall"]
    print(json.dumps({"benchmark": "catalogs", "ratio": ratio, "goal": goal, "reached": ratio <= goal, **ratios}))


if __name__ == "__main__":
    main()
