"""Reading the files of the embedded online store: those of several namespaces by one statement."""

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import lru_cache
from pathlib import Path
from typing import Any

from fti_assets.errors import NotMaterializedError, StoreError
from fti_assets.stores.online.about import About, DamagedNamespaceError, damaged_at, group_of
from fti_assets.stores.online.blobs import is_whole
from fti_assets.stores.online.reader import Many, One
from fti_assets.stores.online.sqlite.connections import Connections, Execute, Part
from fti_assets.stores.online.sqlite.files import connect_to_read, file_error, read_about

_ATTACH_LIMIT = 10  # what SQLite attaches to one connection
_JOIN_LIMIT = 50  # what SQLite joins in one statement, less the tables that say what each file is
_CHUNK = 500  # times _JOIN_LIMIT, less than the values that SQLite takes in one statement
_STEP = 8

_BESIDE = (
    "SELECT key, blob FROM f{}.rows WHERE key < ? ORDER BY key DESC LIMIT 1",
    "SELECT key, blob FROM f{}.rows WHERE key > ? ORDER BY key LIMIT 1",
)
_LOST = "SELECT keys FROM f{0}.about WHERE keys > 0 AND NOT EXISTS (SELECT 1 FROM f{0}.rows)"


class SqliteReads:
    """Reads blobs of several files, from any thread.

    Args:
        paths: the files, in order; one may come twice.
        connections: those of the store.
    """

    def __init__(self, paths: Sequence[Path], connections: Connections) -> None:
        self._paths = tuple(paths)
        self._connections = connections
        self._key = "\0".join(str(path.absolute()) for path in paths)
        self._parts = _in_parts(self._paths)
        self._alone = self._parts[0].one if len(self._parts) == 1 else None
        self._places = [(part, number) for part, one in enumerate(self._parts) for number in one.numbers]

    def forget(self) -> None:
        """Close what this thread has open: a file that was removed and made anew is another one."""
        self._connections.close(self._key)

    def abouts(self) -> list[About]:
        self.forget()
        return [_existing(path) for path in self._paths]

    def one(self, abouts: Sequence[About], keys: Sequence[bytes | None]) -> One:
        try:
            if self._alone is not None:
                [execute] = self._executes()
                result = execute(self._alone, keys).fetchone() or (None,) * (2 * len(keys))
            else:
                result = self._by_part(keys)
        except sqlite3.Error as error:
            raise self._file_error(error) from error
        generations, blobs = result[::2], result[1::2]
        if None in blobs:
            for position, (key, blob) in enumerate(zip(keys, blobs, strict=True)):
                if blob is None and key is not None:
                    self._check_absence(position, (key,))
        return generations, blobs

    def _by_part(self, keys: Sequence[bytes | None]) -> tuple[Any, ...]:
        result: tuple[Any, ...] = ()
        start = 0
        for part, execute in zip(self._parts, self._executes(), strict=True):
            end = start + len(part.numbers)
            result += execute(part.one, keys[start:end]).fetchone() or (None,) * (2 * len(part.numbers))
            start = end
        return result

    def many(self, abouts: Sequence[About], keys: Sequence[Sequence[bytes]]) -> Many:
        generations: tuple[int | None, ...] = ()
        blobs: list[Sequence[bytes | None]] = []
        # In the order of the files, in which neighbours lie on one page: it halves the time of the look-ups.
        in_order = [sorted(of_namespace) for of_namespace in keys]
        try:
            executes = self._executes()
            for part, execute, connection in zip(self._parts, executes, self._connections.of(self._key), strict=True):
                start = len(generations)
                keys_of_part = in_order[start : start + len(part.numbers)]
                of_part = _blobs(part, execute, keys_of_part) if max(map(len, keys_of_part)) <= _CHUNK else None
                generations_of_part, blobs_of_part = of_part or _blobs_in_chunks(
                    part, execute, connection, keys_of_part
                )
                generations += generations_of_part
                blobs += blobs_of_part
        except sqlite3.Error as error:
            raise self._file_error(error) from error
        results = []
        for position, (request, sorted_keys, of_keys) in enumerate(zip(keys, in_order, blobs, strict=True)):
            # SQLite finds no row by a damaged key, so a missing one may be damage: its neighbours are looked at.
            if None in of_keys:
                missing = [key for key, blob in zip(sorted_keys, of_keys, strict=True) if blob is None]
                self._check_absence(position, missing)
            by_key = dict(zip(sorted_keys, of_keys, strict=True))
            results.append([*map(by_key.__getitem__, request)])
        return generations, results

    def _check_absence(self, position: int, keys: Sequence[bytes]) -> None:
        """Look at the rows before and after where each missing key would be.

        A key of which a byte was changed in the file stays in its old place, so that who looks for it as it was finds nothing
        there, but has the changed one beside that place, and its checksum does not fit its key. Without any row beside it, there
        may be none at all, though the namespace says that it has some.

        Raises:
            DamagedError: such a row is no longer what was written, or all are gone.
        """
        part, number = self._places[position]
        statements = [statement.format(number) for statement in _BESIDE]
        try:
            execute = self._executes()[part]
            beside = {execute(statement, (key,)).fetchone() for key in keys for statement in statements}
            lost = None if beside - {None} else execute(_LOST.format(number)).fetchone()
        except sqlite3.Error as error:
            raise self._file_error(error) from error
        if lost is not None:
            raise DamagedNamespaceError(
                f"the online namespace {self._paths[position].stem!r} says that it has {lost[0]} keys, and has none: someone removed its "
                f"rows from {self.where(position)}. Materialize {group_of(self._paths[position].stem)} again, which loads it anew"
            )
        for key, blob in beside - {None}:
            if not is_whole(key, blob):
                raise damaged_at(
                    self._paths[position].stem, key, blob, "the checksum does not fit", self.where(position)
                )

    def where(self, position: int) -> str:
        return str(self._paths[position])

    def _executes(self) -> list[Execute]:
        return self._connections.executes(self._key, self._parts)

    def _file_error(self, error: sqlite3.Error) -> StoreError:
        """The error of the file that cannot even say what it is, else of the first."""
        for path in self._paths:
            _existing(path)
        return file_error(self._paths[0], error)


def _in_parts(paths: Sequence[Path]) -> list[Part]:
    parts: list[tuple[list[Path], list[int]]] = []
    for path in paths:
        if (
            not parts
            or (path not in parts[-1][0] and len(parts[-1][0]) == _ATTACH_LIMIT)
            or len(parts[-1][1]) == _JOIN_LIMIT
        ):
            parts.append(([], []))
        distinct, numbers = parts[-1]
        if path not in distinct:
            distinct.append(path)
        numbers.append(distinct.index(path))
    return [Part(tuple(distinct), tuple(numbers), _one_row(len(distinct), numbers)) for distinct, numbers in parts]


def _one_row(files: int, numbers: Sequence[int]) -> str:
    """The statement of one row: of each namespace its generation and the blob of a key; no row if one says nothing of itself.

    As a join it takes two thirds of the time of as many subqueries.
    """
    columns = ", ".join(f"a{number}.generation, r{place}.blob" for place, number in enumerate(numbers))
    abouts = " CROSS JOIN ".join(f"f{number}.about AS a{number}" for number in range(files))
    rows = [f"LEFT JOIN f{number}.rows AS r{place} ON r{place}.key = ?" for place, number in enumerate(numbers)]
    return " ".join(["SELECT", columns, "FROM", abouts, *rows])


def _blobs(
    part: Part, execute: Execute, keys: Sequence[Sequence[bytes]]
) -> tuple[tuple[int | None, ...], list[Sequence[bytes | None]]]:
    """The generations of the namespaces of a part and the blobs of some keys of each, by one statement.

    It takes two thirds of the time of an IN for each. The answers are in the order of the keys; were they not, no checksum would fit.
    """
    height = max(map(len, keys))
    # Few different heights, so that statements are found among those that are ready.
    width = -(-height // _STEP) * _STEP if height > _STEP else height
    files = len(keys)
    values: list[bytes | None] = [None] * (width * files)
    for place, of_namespace in enumerate(keys):
        values[place : len(of_namespace) * files : files] = of_namespace
    answers = execute(_many_rows(part.files, part.numbers, width), values).fetchall()
    if len(answers) != width + 1:  # a file says nothing of itself
        return (None,) * len(keys), [[None] * len(of_namespace) for of_namespace in keys]
    generations, *rows = answers
    blobs = list(zip(*rows, strict=True)) or [()] * len(keys)
    return generations, [of_rows[: len(own_keys)] for of_rows, own_keys in zip(blobs, keys, strict=True)]


def _blobs_in_chunks(
    part: Part, execute: Execute, connection: sqlite3.Connection, keys: Sequence[Sequence[bytes]]
) -> tuple[tuple[int | None, ...], list[Sequence[bytes | None]]]:
    """The same by several statements."""
    generations: tuple[int | None, ...] = ()
    lists: list[list[bytes | None]] = [[] for _ in keys]
    # In one transaction, or a load between them would mix two generations.
    execute("BEGIN")
    try:
        for first in range(0, max(map(len, keys)), _CHUNK):
            generations, blobs = _blobs(part, execute, [own_keys[first : first + _CHUNK] for own_keys in keys])
            for of_namespace, of_chunk in zip(lists, blobs, strict=True):
                of_namespace += of_chunk
    finally:
        if connection.in_transaction:
            execute("ROLLBACK")
    return generations, [*lists]


@lru_cache(256)
def _many_rows(files: int, numbers: tuple[int, ...], height: int) -> str:
    """The statement of the generations of some namespaces, and behind them of so many rows, each of a key of each namespace."""
    places = range(len(numbers))
    generations = ", ".join(f"a{number}.generation" for number in numbers)
    abouts = " CROSS JOIN ".join(f"f{number}.about AS a{number}" for number in range(files))
    row = f"({', '.join('?' * len(numbers))})"
    keys = f"WITH k({', '.join(f'k{place}' for place in places)}) AS (VALUES {', '.join([row] * height)})"
    blobs = ", ".join(f"r{place}.blob" for place in places)
    rows = [
        f"LEFT JOIN f{number}.rows AS r{place} ON r{place}.key = k.k{place}" for place, number in enumerate(numbers)
    ]
    first = f"SELECT {generations} FROM {abouts}"
    return " ".join([keys, first, "UNION ALL SELECT", blobs, "FROM k", *rows]) if height else first


def _existing(path: Path) -> About:
    with closing(connect_to_read(path)) as connection:
        about = read_about(connection, path)
    if about is None:
        raise NotMaterializedError(f"online namespace {path.stem!r} in {path} is empty: load it again")
    return about
