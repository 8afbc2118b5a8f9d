"""Flipped bits that DuckDB reads as other values: the content hash of each partition tells."""

import random
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest

from fti_assets.core.names import TableName
from fti_assets.core.sql import literal
from fti_assets.errors import DamagedError
from fti_assets.stores.lake.connection import CATALOG
from fti_assets.stores.lake.files import contents as contents_module
from fti_assets.stores.lake.files.contents import Contents, compare_contents
from fti_assets.stores.lake.files.current_files import CHECKSUMS, current_files
from fti_assets.stores.lake.files.damage import damage_errors
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.lake.upkeep.expiry import expire
from tests.stores.test_damage import elsewhere, file_of, footer, without_checksums
from tests.stores.test_lost_catalog import of_data
from tests.support.examples import examples

TABLE = TableName("features", "held_v1")
ROWS = (
    "SELECT i AS k, i * 0.75 AS x, 's' || (i % 4) AS n, TIMESTAMP '2024-01-01' + INTERVAL 1 HOUR * i AS seen, [i, i + 1] AS l, "
    "chr(97 + (i // 8)::INTEGER) AS _partition FROM range(24) t(i)"
)


@pytest.fixture
def store(tmp_path: Path) -> OfflineStore:
    return OfflineStore(tmp_path / "lake")


def put(lake: Lake, sql: str, partitions: str, addable: tuple[str, ...] = (), table: TableName = TABLE) -> None:
    lake.connection.execute(f"CREATE OR REPLACE TEMP TABLE staged AS {sql}")
    lake.replace(table, "staged", list(partitions), asset=table.name, addable=addable)


def flip(file: Path, at: int, bit: int) -> None:
    held = bytearray(file.read_bytes())
    held[at] ^= 1 << bit
    file.write_bytes(held)


def flip_value(file: Path, columns: str = "k, x, seen") -> None:
    """Flip the first bit of a page with which DuckDB reads other rows."""
    read = f"SELECT {columns} FROM read_parquet({literal(str(file))}, hive_partitioning => false)"
    with duckdb.connect(config={"enable_external_file_cache": False}) as connection:
        whole = connection.execute(read).fetchall()
        for at in range(30, file.stat().st_size):
            flip(file, at, 2)
            with suppress(duckdb.Error):
                if connection.execute(read).fetchall() != whole:
                    return
            flip(file, at, 2)
    raise AssertionError("no bit changes a row")


def compared_here(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> Contents:
    """Compare in this process, which takes no time to begin."""
    monkeypatch.setattr(
        contents_module._Readers,
        "ask",
        lambda self, table, partitions: (
            contents_module.compare_batch(lake, table, self._began["snapshot"], partitions),
            0,
        ),
    )
    return compare_contents(lake, lake.tables())


def test_what_was_committed_is_held_whatever_became_of_its_columns_since(
    store: OfflineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    empty = "NULL::INTEGER AS p, NULL::INTEGER[] AS q, [NULL::INTEGER] AS r, {'s': NULL::INTEGER} AS t"
    with store.connect() as lake:
        put(lake, f"SELECT i AS k, {empty}, 'a' AS _partition FROM range(5) t(i)", "a")
        put(lake, f"SELECT i AS k, {empty}, 'b' AS _partition FROM range(5) t(i)", "be")
        typed = "'y' AS p, ['x'] AS q, ['u'] AS r, {'s': 'v'} AS t, 1.5 AS added"
        put(lake, f"SELECT i AS k, {typed}, 'c' AS _partition FROM range(5) t(i)", "c", ("added",))
        assert compared_here(lake, monkeypatch) == Contents(15, 4)
        expire(lake, list(range(1, lake.snapshot())))
        assert compared_here(lake, monkeypatch) == Contents(15, 4)


def test_types_of_all_kinds_are_known_from_the_catalog(store: OfflineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.connect() as lake:
        rows = (
            "SELECT 1::TINYINT a, 1::SMALLINT b, 1::INTEGER c, 1::BIGINT d, 1::UTINYINT e, 1::UBIGINT f, 1.5::FLOAT g, 1.5::DOUBLE h, "
            "1.5::DECIMAL(10, 2) i, true j, 'x' k, 'x'::BLOB l, DATE '2024-01-01' m, TIME '01:00' n, TIMESTAMP '2024-01-01' o, "
            "TIMESTAMPTZ '2024-01-01' p, [[1.5::FLOAT]] q, {'a b': 1, 'c': ['x']} r, MAP {'x': 1.5} s, uuid() t, 'a' AS _partition"
        )
        put(lake, rows, "a")
        assert compared_here(lake, monkeypatch) == Contents(1, 1)


@pytest.mark.soak
def test_a_flipped_value_is_told_with_its_partition_and_file(store: OfflineStore) -> None:
    with store.connect() as lake:
        put(lake, ROWS, "abc")
    without_checksums(store)
    file = file_of(store, "c")
    flip_value(file)
    with store.connect() as lake:
        assert len(lake.rows(TABLE).fetchall()) == 24
        result = compare_contents(lake, [TABLE])
    assert (result.rows, result.partitions) == (24, 3)
    with pytest.raises(
        DamagedError, match="features.held_v1 c: its rows are not those of version 2.*materialize"
    ) as raised:
        result.refuse_damage()
    assert str(file) in str(raised.value)


def test_a_missing_and_an_unreadable_file_are_told(store: OfflineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    with store.connect() as lake:
        put(lake, ROWS, "abc")
    without_checksums(store)
    file_of(store, "b").unlink()
    footer(file_of(store, "c"))
    with store.connect() as lake:
        results = compared_here(lake, monkeypatch)
    problems = {one.partition: one.problem for one in results.damaged}
    assert problems.keys() == {"b", "c"}
    assert problems["b"] == "a file is missing, or of another size than was written"
    assert problems["c"].startswith("it cannot be read: ")
    assert results.rows == 8


def test_rows_that_say_they_are_another_partition_s_are_told(
    store: OfflineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.connect() as lake:
        put(lake, ROWS, "abc")
    without_checksums(store)
    elsewhere(file_of(store, "b"))
    with store.connect() as lake:
        assert [str(file_of(store, "b")) in one.files for one in compared_here(lake, monkeypatch).damaged] == [True]


def test_a_version_of_the_earlier_hash_is_not_taken_for_damage(
    store: OfflineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.connect() as lake:
        put(lake, ROWS, "abc")
        lake.connection.execute(f"UPDATE {TABLE.ledger_sql} SET data_version = '1.0123' WHERE partition = 'b'")
        lake.connection.execute(f"DROP TABLE {CATALOG}.{CHECKSUMS}")
    with store.connect() as lake:
        flip_value(file_of(store, "c"))
        results = compared_here(lake, monkeypatch)
    assert results.not_comparable == ["features.held_v1 b"]
    assert [one.partition for one in results.damaged] == ["c"]


def test_a_file_that_ends_the_process_which_reads_it_is_named(
    store: OfflineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.connect() as lake:
        put(lake, ROWS, "abc")
    killed = (
        "import json, os, signal, sys\nsys.stdin.readline()\n"
        "for line in sys.stdin:\n    if 'b' in json.loads(line)['partitions']: os.kill(os.getpid(), signal.SIGSEGV)\n"
        "    print(json.dumps({'rows': 8, 'partitions': 1}), flush=True)\n"
    )
    monkeypatch.setattr(contents_module, "_READ", killed)
    with store.connect() as lake:
        results = compare_contents(lake, [TABLE])
    assert [(one.partition, one.files) for one in results.damaged] == [("b", (str(file_of(store, "b")),))]
    assert "ended with -11" in results.damaged[0].problem


FLIPS = examples(200)


def flip_bits(root: str, first: int) -> None:
    """Flip one bit after another, and say of each what became of it; what the process of the test below does."""
    with OfflineStore(root).connect() as lake:
        execute = lake.connection.execute
        execute("SET enable_external_file_cache = false")
        files = sorted(Path(file.path) for file in current_files(lake, TABLE))
        whole = sorted(map(repr, execute(f"FROM {TABLE.sql}").fetchall()))
        for number in range(first, FLIPS):
            chance = random.Random(number)
            file = chance.choice(files)
            held = file.read_bytes()
            print(number, "began", flush=True)
            flip(file, chance.randrange(len(held)), chance.randrange(8))
            results = contents_module.compare_batch(lake, TABLE, lake.snapshot(), list("abc")).damaged
            outcome = "found" if any(str(file) in files for _, files, _ in results) else "missed"
            if not results:
                try:
                    with damage_errors(lake):
                        rows = sorted(map(repr, execute(f"FROM {TABLE.sql}").fetchall()))
                    outcome = "equal" if rows == whole else "missed"
                except DamagedError as error:
                    outcome = "error" if str(file) in str(error) else "missed"
            file.write_bytes(held)
            print(number, outcome, flush=True)


@pytest.mark.soak
def test_each_flipped_bit_is_found_or_leaves_the_rows_as_they_are(store: OfflineStore) -> None:
    with store.connect() as lake:
        put(lake, ROWS, "abc")
    without_checksums(store)
    whole = {file: file.read_bytes() for file in of_data(store)}
    counts, number = Counter[str](), 0
    while number < FLIPS:
        script = f"from tests.stores.test_contents import flip_bits; flip_bits({str(store.root)!r}, {number})"
        ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
        lines = [line.split() for line in ran.stdout.splitlines()]
        counts += Counter(outcome for _, outcome in lines if outcome != "began")
        number = int(lines[-1][0]) + 1
        if ran.returncode:
            assert ran.returncode < 0, ran.stderr  # DuckDB's process ended, which compare_contents tells
            counts["ended"] += 1
            for file, held in whole.items():
                file.write_bytes(held)
    assert counts["missed"] == 0
    assert counts.total() == FLIPS
    assert counts["found"] > 0
