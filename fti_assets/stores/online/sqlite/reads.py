"""Reading the files of the embedded online store: those of several namespaces by one statement."""

import json
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import cache, lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from fti_assets.errors import NotMaterializedError, StoreError
from fti_assets.stores.online.about import About, DamagedNamespaceError, damaged_at, group_of
from fti_assets.stores.online.checksums import is_whole
from fti_assets.stores.online.fetcher import Many, One
from fti_assets.stores.online.sqlite.connections import Connections, Execute, Part
from fti_assets.stores.online.sqlite.files import connect_to_read, file_error, read_about

_ATTACH_LIMIT = 10  # what SQLite attaches to one connection
_JOIN_LIMIT = 50  # what SQLite joins in one statement, less the tables that say what each file is
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
        """Close what this thread has open: a file that was removed and made again is another one."""
        self._connections.close(self._key)

    def abouts(self) -> list[About]:
        self.forget()
        return [_existing(path) for path in self._paths]

    def one(self, abouts: Sequence[About], keys: Sequence[bytes | None]) -> One:
        try:
            if keys.count(None) == len(keys):
                return self._generations(), keys
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

    def _generations(self) -> tuple[int | None, ...]:
        """What ``one`` says without a key, in two thirds of the time."""
        generations: tuple[int | None, ...] = ()
        for part, execute in zip(self._parts, self._executes(), strict=True):
            generations += execute(part.look).fetchone() or (None,) * len(part.numbers)
        return generations

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
        try:
            executes = self._executes()
            for part, execute, connection in zip(self._parts, executes, self._connections.of(self._key), strict=True):
                start = len(generations)
                keys_of_part = keys[start : start + len(part.numbers)]
                texts = [_as_json(of_namespace) for of_namespace in keys_of_part]
                generations_of_part, blobs_of_part = (
                    _blobs_one_by_one(part, execute, connection, keys_of_part)
                    if None in texts
                    else _blobs(part, execute, texts, keys_of_part)
                )
                generations += generations_of_part
                blobs += blobs_of_part
        except sqlite3.Error as error:
            raise self._file_error(error) from error
        # SQLite finds no row by a damaged key, so a missing one may be damage: its neighbours are looked at.
        for position, (of_keys, own_keys) in enumerate(zip(blobs, keys, strict=True)):
            if not all(of_keys):  # a blob is not empty; to look for None takes twice as long
                missing = [key for key, blob in zip(own_keys, of_keys, strict=True) if blob is None]
                self._check_absence(position, missing)
        return generations, blobs

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
                f"rows from {self.where(position)}. Materialize {group_of(self._paths[position].stem)} again, which loads it again"
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
    return [
        Part(tuple(distinct), tuple(numbers), _one_row(len(distinct), numbers), _look(len(distinct), numbers))
        for distinct, numbers in parts
    ]


def _one_row(files: int, numbers: Sequence[int]) -> str:
    """The statement of one row: of each namespace its generation and the blob of a key; no row if one says nothing of itself.

    As a join it takes two thirds of the time of as many subqueries.
    """
    columns = ", ".join(f"a{number}.generation, r{place}.blob" for place, number in enumerate(numbers))
    abouts = " CROSS JOIN ".join(f"f{number}.about AS a{number}" for number in range(files))
    rows = [f"LEFT JOIN f{number}.rows AS r{place} ON r{place}.key = ?" for place, number in enumerate(numbers)]
    return " ".join(["SELECT", columns, "FROM", abouts, *rows])


def _look(files: int, numbers: Sequence[int]) -> str:
    """The statement of the generations of some namespaces; no row if one says nothing of itself."""
    columns = ", ".join(f"a{number}.generation" for number in numbers)
    return f"SELECT {columns} FROM " + " CROSS JOIN ".join(f"f{number}.about AS a{number}" for number in range(files))


def _blobs(
    part: Part, execute: Execute, texts: Sequence[str | None], keys: Sequence[Sequence[bytes]]
) -> tuple[tuple[int | None, ...], list[Sequence[bytes | None]]]:
    """The generations of the namespaces of a part and the blobs of some keys of each, by one statement.

    It takes four fifths of the time of a statement with a value a key. The answers are in the order of the keys; were they not, no
    checksum would fit.
    """
    answers = list(chain.from_iterable(execute(_many_rows(part.files, part.numbers), texts)))
    if len(answers) != part.files + sum(map(len, keys)):  # a file says nothing of itself
        return (None,) * len(keys), [[None] * len(of_namespace) for of_namespace in keys]
    generations = tuple([answers[number] for number in part.numbers])
    lists: list[Sequence[bytes | None]] = []
    start = part.files
    for of_namespace in keys:
        lists.append(answers[start : (start := start + len(of_namespace))])
    return generations, lists


def _blobs_one_by_one(
    part: Part, execute: Execute, connection: sqlite3.Connection, keys: Sequence[Sequence[bytes]]
) -> tuple[tuple[int | None, ...], list[Sequence[bytes | None]]]:
    """The same of keys that JSON does not carry, in five times the time."""
    generations: list[int | None] = []
    lists: list[Sequence[bytes | None]] = []
    # In one transaction, or a load between them would mix two generations.
    execute("BEGIN")
    try:
        for number, of_namespace in zip(part.numbers, keys, strict=True):
            generations += execute(f"SELECT generation FROM f{number}.about").fetchone() or (None,)
            statement = f"SELECT blob FROM f{number}.rows WHERE key = ?"
            lists.append([(execute(statement, (key,)).fetchone() or (None,))[0] for key in of_namespace])
    finally:
        if connection.in_transaction:
            execute("ROLLBACK")
    return tuple(generations), lists


def _as_json(keys: Sequence[bytes]) -> str | None:
    """Encoded keys, each of which is UTF-8, as a JSON array; None if SQLite would not read them back."""
    if not keys:
        return "[]"
    joined = b'","'.join(keys).decode()
    array = f'["{joined}"]'
    if array.isprintable() and "\\" not in array and array.count('"') == 2 * len(keys):
        return array if _reads_json() else None
    # To SQLite a text ends at its first NUL.
    is_cut = any(b"\0" in key for key in keys)
    return None if is_cut or not _reads_json() else json.dumps([key.decode() for key in keys], ensure_ascii=False)


@cache
def _reads_json() -> bool:
    """Whether this SQLite has functions of JSON, which before 3.38 it was built with or without."""
    with closing(sqlite3.connect(":memory:")) as connection:
        try:
            connection.execute("SELECT value FROM json_each('[]')")
        except sqlite3.OperationalError:
            return False
    return True


@lru_cache(256)
def _many_rows(files: int, numbers: tuple[int, ...]) -> str:
    """The statement of the generations of some files, and behind them of the blobs of each namespace's keys, a value a row."""
    generations = [f"SELECT generation FROM f{number}.about" for number in range(files)]
    blobs = [
        f"SELECT r.blob FROM json_each(?) AS k LEFT JOIN f{number}.rows AS r ON r.key = CAST(k.value AS BLOB)"
        for number in numbers
    ]
    return " UNION ALL ".join([*generations, *blobs])


def _existing(path: Path) -> About:
    with closing(connect_to_read(path)) as connection:
        about = read_about(connection, path)
    if about is None:
        raise NotMaterializedError(f"online namespace {path.stem!r} in {path} is empty: load it again")
    return about
