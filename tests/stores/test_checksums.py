"""Flipped bits anywhere in a file: who reads it gets the right rows or the lake's own error, and nothing ends the process."""

import os
import random
import subprocess
import sys
import traceback
from collections import Counter
from pathlib import Path

import pytest

import fti_assets as fti
from fti_assets.errors import DamagedError
from fti_assets.stores.lake.catalog import data_files
from fti_assets.stores.lake.connection import CATALOG
from fti_assets.stores.lake.files import checksums
from fti_assets.stores.lake.files import current_files as current_files_module
from fti_assets.stores.lake.files.contents import compare_contents
from fti_assets.stores.lake.files.current_files import CHECKSUMS, CurrentFile, current_files
from fti_assets.stores.lake.files.damage import damage_errors
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.lake.upkeep.expiry import expire, merge_files
from fti_assets.stores.lake.upkeep.forgetting import expire_snapshots, take_out
from fti_assets.stores.lake.upkeep.occurrences import find
from tests.stores.test_contents import TABLE, flip, put

ROWS = (
    "SELECT i AS k, (i * 7919) % 1000 * 0.75 AS x, 's' || (i % 97) AS n, TIMESTAMP '2024-01-01' + INTERVAL 1 HOUR * i AS seen, "
    "chr(97 + (i // 400)::INTEGER) AS _partition FROM range(1200) t(i)"
)
"""Enough equal texts in each file for a Bloom filter."""


@pytest.fixture
def store(tmp_path: Path) -> OfflineStore:
    made = OfflineStore(tmp_path / "lake")
    with made.connect() as lake:
        put(lake, ROWS, "abc")
    return made


def file_in(lake: Lake, partition: str) -> Path:
    [file] = current_files(lake, TABLE, partitions=[partition])
    return Path(file.path)


def flip_last(file: Path) -> None:
    """A bit of the footer's length."""
    flip(file, file.stat().st_size - 7, 0)


def lacking(lake: Lake) -> list[CurrentFile]:
    return [file for file in current_files(lake, TABLE) if file.checksum is None]


def attempts(root: str, first: int, last: int) -> None:
    """Flip one bit after another, and say of each what became of it; what the process of the test below does."""
    stores = fti.Stores(lake=root)
    with OfflineStore(root).connect() as lake:
        lake.connection.execute("SET enable_external_file_cache = false")

        def rows(where: str) -> list[str]:
            # As another process sees the files, which has not looked at them yet.
            apart = lake.on(lake.connection)
            with damage_errors(apart):
                return sorted(map(repr, apart.rows(TABLE).filter(where).fetchall()))

        reads = {
            "whole": lambda: sorted(map(repr, fti.read("held_v1", as_="dicts", stores=stores))),
            "text": lambda: rows("n = 's13'"),
            "number": lambda: rows("k = 700"),
            "time": lambda: rows("seen > TIMESTAMP '2024-02-10'"),
        }
        expected = {name: read() for name, read in reads.items()}
        for number in range(first, last):
            chance = random.Random(number)
            partition = chance.choice("abc")
            file = file_in(lake, partition)
            held = file.read_bytes()
            footer = len(held) - 8 - int.from_bytes(held[-8:-4], "little")
            places = [(0, len(held)), (footer, len(held)), (footer - 600, footer), (len(held) - 8, len(held))]
            print(number, "began", flush=True)
            flip(file, chance.randrange(*chance.choice(places)), chance.randrange(8))
            for name in chance.sample([*reads], len(reads)):
                try:
                    outcome = "equal" if reads[name]() == expected[name] else f"wrong {name}"
                except DamagedError as error:
                    outcome = "told" if str(file) in str(error) else f"not named {name}"
                except Exception:
                    traceback.print_exc()
                    outcome = f"foreign {name}"
                print(number, outcome, flush=True)
            if number % 4:
                file.write_bytes(held)
                continue
            put(lake, f"FROM ({ROWS}) WHERE _partition = '{partition}'", partition)
            print(number, "mended" if rows("true") == all_rows(lake) else "not mended", flush=True)


def all_rows(lake: Lake) -> list[str]:
    return sorted(map(repr, lake.connection.sql(f"SELECT * EXCLUDE (_partition) FROM ({ROWS})").fetchall()))


@pytest.mark.parametrize("flips", [3, pytest.param(400, marks=pytest.mark.soak)])
def test_no_flipped_bit_gives_wrong_rows_or_ends_the_process(store: OfflineStore, flips: int) -> None:
    script = f"from tests.stores.test_checksums import attempts; attempts({str(store.root)!r}, 0, {flips})"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, f"{ran.stdout[-200:]}\n{ran.stderr[-3000:]}"
    counts = Counter(line.split(maxsplit=1)[1] for line in ran.stdout.splitlines())
    assert counts.keys() <= {"began", "told", "equal", "mended"}, f"{counts}\n{ran.stderr[-3000:]}"
    assert (counts["began"], counts["mended"]) == (flips, -(-flips // 4))
    assert counts["told"] > flips


def test_all_files_of_all_commits_have_a_checksum(store: OfflineStore) -> None:
    with store.connect() as lake:
        lake.connection.execute(f"ALTER TABLE {TABLE.sql} ADD COLUMN later INTEGER")  # any change by DuckLake itself
        put(lake, ROWS.replace("i AS k", "i + 1 AS k, NULL::INTEGER AS later"), "abc")
        take_out(lake, TABLE, "k = 5", message="forget", extra={})
        assert not lacking(lake)
        assert all(file.checksum is not None for file in data_files(lake, TABLE))


def test_merged_files_have_a_checksum_and_damage_is_not_merged(store: OfflineStore) -> None:
    with store.connect() as lake:
        lake.connection.execute(
            f"INSERT INTO {TABLE.sql} BY NAME SELECT * REPLACE (k + 5000 AS k) FROM ({ROWS}) WHERE k < 20"
        )
        compare_contents(lake, [])
        before = {file.path: Path(file.path).read_bytes() for file in current_files(lake, TABLE, partitions=["a"])}
        damaged = next(file for file in current_files(lake, TABLE, partitions=["a"]) if file.checksum is not None)
        flip(Path(damaged.path), 40, 3)
        with pytest.raises(DamagedError, match="its bytes are not those that were written"):
            merge_files(lake, TABLE)
        assert {file.path for file in current_files(lake, TABLE, partitions=["a"])} == before.keys()
        Path(damaged.path).write_bytes(before[damaged.path])
        assert merge_files(lake, TABLE) == (2, 1)
        assert not lacking(lake)


def test_a_checksum_goes_with_the_last_snapshot_of_its_file(store: OfflineStore) -> None:
    with store.connect() as lake:
        put(lake, ROWS.replace("i AS k", "i + 1 AS k"), "abc")
        expire(lake, list(range(1, lake.snapshot())))
        count = lake.connection.execute(f"SELECT count(*) FROM {CATALOG}.{CHECKSUMS}").fetchall()
    assert count == [(3,)]


def test_lake_of_earlier_code_is_read_and_gets_checksums(store: OfflineStore) -> None:
    with store.connect() as lake:
        lake.connection.execute(f"DROP TABLE {CATALOG}.{CHECKSUMS}")
    with store.connect() as lake:
        assert len(lake.rows(TABLE).fetchall()) == 1200
        assert len(lacking(lake)) == 3
        flip(file_in(lake, "c"), 40, 3)
        checked = compare_contents(lake, [TABLE])
        assert [one.partition for one in checked.damaged] == ["c"]
        assert [file.partition for file in lacking(lake)] == ["c"]
        put(lake, f"FROM ({ROWS}) WHERE _partition = 'c'", "c")
        assert not lacking(lake)


def test_of_a_large_table_ends_are_compared_unless_partitions_are_named(
    store: OfflineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checksums, "SMALL_BYTES", 0)
    monkeypatch.setattr("fti_assets.stores.lake.files.recorded_checksums.SMALL_BYTES", 0)
    monkeypatch.setattr(current_files_module, "WHOLE_BYTES", 0)
    with store.connect() as lake:
        put(lake, ROWS.replace("i AS k", "i + 1 AS k"), "abc")
        file = file_in(lake, "b")
        [its] = current_files(lake, TABLE, partitions=["b"])
        filters = lake.connection.execute(
            "SELECT min(bloom_filter_offset) FROM parquet_metadata(?)", [str(file)]
        ).fetchall()[0][0]
    assert its.checksum is not None
    assert 0 < its.checksum.start == filters
    flip(file, 40, 3)
    with store.connect() as lake:
        lake.rows(TABLE, partitions=["a"])
        lake.rows(TABLE)
        with pytest.raises(DamagedError, match="its bytes are not those"):
            lake.rows(TABLE, partitions=["b"])
    flip(file, 40, 3)
    flip(file, filters + 20, 3)
    with store.connect() as lake, pytest.raises(DamagedError, match="its bytes are not those"):
        lake.rows(TABLE)


def test_forgetting_in_a_damaged_file_claims_nothing(store: OfflineStore) -> None:
    with store.connect() as lake:
        file = file_in(lake, "b")
    flip_last(file)
    with store.connect() as lake:
        for ask in (
            lambda: find(lake, TABLE, "n = 's13'"),
            lambda: take_out(lake, TABLE, "n = 's13'", message="forget", extra={}),
        ):
            with pytest.raises(DamagedError) as raised:
                ask()
            assert str(file) in str(raised.value)
        report = expire_snapshots(lake, [], {TABLE: "n = 'nobody'"})
    assert report.unreadable == (str(file),)


def test_a_damaged_file_that_only_old_snapshots_read_is_told_when_forgetting(store: OfflineStore) -> None:
    with store.connect() as lake:
        file = file_in(lake, "b")
        put(lake, ROWS.replace("i AS k", "i + 1 AS k"), "abc")
    flip_last(file)
    with store.connect() as lake:
        with pytest.raises(DamagedError, match="expire the old snapshots that read it") as raised:
            find(lake, TABLE, "n = 's13'")
        assert str(file) in str(raised.value)


def test_bytes_are_read_once_as_long_as_a_file_stays_as_it_is(
    store: OfflineStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    pread = os.pread
    monkeypatch.setattr(checksums, "_compared", {})  # as in another process than the one that has written
    with store.connect() as lake:
        monkeypatch.setattr(os, "pread", lambda *at: (read.append(at[0]), pread(*at))[1])
        lake.rows(TABLE)
        first = len(read)
        lake.rows(TABLE, partitions=["a"])
    with store.connect() as lake:
        lake.rows(TABLE)
    assert len(read) == first == 3
    os.utime(file_of(store, "a"))
    with store.connect() as lake:
        lake.rows(TABLE)
    assert len(read) == 4


def test_a_process_does_not_compare_what_it_has_written(store: OfflineStore, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    pread = os.pread
    with store.connect() as lake:
        put(lake, ROWS.replace("i AS k", "i + 1 AS k"), "abc")
        monkeypatch.setattr(os, "pread", lambda *at: (read.append(at[0]), pread(*at))[1])
        lake.rows(TABLE)
        assert not read
        flip(file_in(lake, "b"), 40, 3)
    with store.connect() as lake, pytest.raises(DamagedError, match="its bytes are not those that were written"):
        lake.rows(TABLE)


def file_of(store: OfflineStore, partition: str) -> Path:
    with store.connect() as lake:
        return file_in(lake, partition)


def test_reading_writes_no_checksums(store: OfflineStore) -> None:
    with store.connect() as lake:
        lake.connection.execute(f"DROP TABLE {CATALOG}.{CHECKSUMS}")
    with store.connect() as lake:
        lake.rows(TABLE).fetchall()
        assert not lake.has_checksums()
