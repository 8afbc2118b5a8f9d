"""The copy of a catalog in a folder that may not be written is whole, whoever commits meanwhile."""

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from fti_assets.errors import StoreError
from fti_assets.stores.lake.embedded.catalog_copy import copied_catalog

NOBODY = 65_534
ROWS = 400

# Each commit writes one number into all rows, over many pages; the file itself changes at once, or when the writer closes it.
WRITER = """
import sqlite3, sys
mode, keep = sys.argv[2], sys.argv[3] == "open"
number, db = 0, None
while True:
    if db is None:
        db = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
        db.execute(f"PRAGMA journal_mode = {mode}")
        db.execute("PRAGMA wal_autocheckpoint = 20")
        db.execute("PRAGMA synchronous = OFF")
    number += 1
    db.execute("BEGIN IMMEDIATE")
    db.execute("UPDATE one SET number = ?", (number,))
    db.execute("UPDATE other SET number = ?", (number,))
    db.execute("COMMIT")
    if not keep:
        db.close()
        db = None
    if number == 3:
        print("started", flush=True)
"""


@pytest.fixture
def catalog() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="fti-catalog-"))  # pytest's own folders are not to be entered by others
    try:
        folder.chmod(0o755)
        file = folder / "catalog.sqlite"
        with closing(sqlite3.connect(file)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            for name in ("one", "other"):
                connection.execute(f"CREATE TABLE {name} (id INTEGER PRIMARY KEY, number INTEGER, text TEXT)")
                connection.executemany(
                    f"INSERT INTO {name} VALUES (?, 0, ?)", [(row, "x" * 500) for row in range(ROWS)]
                )
            connection.commit()
        yield file
    finally:
        shutil.rmtree(folder)


@contextmanager
def as_nobody(folder: Path) -> Iterator[None]:
    """As a user who may read the folder and no more."""
    if os.geteuid() != 0:
        pytest.skip("a writer and a reader of different rights need root")
    folder.chmod(0o755)
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def writing(catalog: Path, mode: str, keeps: str) -> Iterator[None]:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(catalog), mode, keeps], stdout=subprocess.PIPE, text=True
    ) as writer:
        try:
            assert writer.stdout is not None
            assert writer.stdout.readline() == "started\n"
            yield
            assert writer.poll() is None
        finally:
            writer.kill()


def numbers(copy: Path) -> set[int]:
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return {
            number
            for name in ("one", "other")
            for (number,) in connection.execute(f"SELECT DISTINCT number FROM {name}").fetchall()
        }


@pytest.mark.parametrize(("mode", "keeps"), [("WAL", "open"), ("WAL", "closed"), ("DELETE", "closed")])
def test_copy_is_of_one_instant_while_another_process_commits(catalog: Path, mode: str, keeps: str) -> None:
    observed = set[int]()
    folder = Path(tempfile.mkdtemp(prefix="fti-copies-"))
    folder.chmod(0o777)
    try:
        with writing(catalog, mode, keeps), as_nobody(catalog.parent):
            for _ in range(25):
                with suppress(StoreError):  # it said that the catalog changed all the time
                    results = numbers(copied_catalog(catalog, folder))
                    assert len(results) == 1
                    observed |= results
    finally:
        shutil.rmtree(folder)
    assert len(observed) > 1


def test_a_copy_takes_what_stands_in_the_journal_alone(catalog: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(catalog)) as connection:
        connection.execute("UPDATE one SET number = 7")
        connection.execute("UPDATE other SET number = 7")
        connection.commit()
        killed = tmp_path / "killed"
        killed.mkdir()
        for name in ("catalog.sqlite", "catalog.sqlite-wal"):  # as a writer that was killed leaves them
            shutil.copyfile(catalog.with_name(name), killed / name)
    folder = Path(tempfile.mkdtemp(prefix="fti-copies-"))
    try:
        assert numbers(copied_catalog(killed / "catalog.sqlite", folder)) == {7}
    finally:
        shutil.rmtree(folder)


def test_a_catalog_that_is_gone_is_said(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read"):
        copied_catalog(tmp_path / "lake" / "catalog.sqlite", tmp_path)
