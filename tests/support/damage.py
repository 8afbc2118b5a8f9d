"""Kinds of damage to a file of the stores, and what a folder of stores holds."""

from __future__ import annotations

import hashlib
import json
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

Damage = Callable[[Path, random.Random], None]
VALUES: tuple[Any, ...] = (None, 7, -1, 2**70, 1.5, "text", "", True, [], ["text"], [[1]], {}, {"a": {"b": 1}})


def _replaced(path: Path, content: bytes) -> None:
    path.unlink()
    path.write_bytes(content)


def _missing(path: Path, chance: random.Random) -> None:
    path.unlink()


def _empty(path: Path, chance: random.Random) -> None:
    _replaced(path, b"")


def _half(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    _replaced(path, content[: len(content) // 2])


def _random_bytes(path: Path, chance: random.Random) -> None:
    _replaced(path, chance.randbytes(max(path.stat().st_size, 100)))


def _folder(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.mkdir()


def _full_folder(path: Path, chance: random.Random) -> None:
    _folder(path, chance)
    (path / "somebody's").write_bytes(b"1")


def _dangling(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.symlink_to(path.with_name("nowhere"))


def _circle(path: Path, chance: random.Random) -> None:
    path.unlink()
    path.symlink_to(path.name)


DAMAGE: dict[str, Damage] = {
    "missing": _missing,
    "empty": _empty,
    "half": _half,
    "random bytes": _random_bytes,
    "a folder": _folder,
    "a folder with a file": _full_folder,
    "a dangling link": _dangling,
    "a link in a circle": _circle,
}
"""What any file can suffer."""


def _list_for_object(path: Path, chance: random.Random) -> None:
    _replaced(path, json.dumps([json.loads(path.read_bytes())]).encode())


def _other_format(path: Path, chance: random.Random) -> None:
    _replaced(path, json.dumps(json.loads(path.read_bytes()) | {"format": 2}).encode())


def _deep(path: Path, chance: random.Random) -> None:
    _replaced(path, b"[" * 100_000)


def _null(path: Path, chance: random.Random) -> None:
    _replaced(path, b"null")


def places_in(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where the values of a JSON value are."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for name, one in items:
        yield (*place, name)
        yield from places_in(one, (*place, name))


def with_value(value: Any, place: tuple[Any, ...], other: Any) -> Any:
    """A copy of a JSON value with another value at a place; without it if it is ``...``."""
    if not place:
        return other
    copy = dict(value) if isinstance(value, dict) else list(value)
    if len(place) == 1 and other is ...:
        del copy[place[0]]
    else:
        copy[place[0]] = with_value(copy[place[0]], place[1:], other)
    return copy


def _one_value(path: Path, chance: random.Random) -> None:
    """One value of another type, or gone."""
    value = json.loads(path.read_bytes())
    _replaced(
        path, json.dumps(with_value(value, chance.choice([*places_in(value)]), chance.choice([*VALUES, ...]))).encode()
    )


def _one_value_of_a_line(path: Path, chance: random.Random) -> None:
    lines = path.read_bytes().splitlines()
    number = chance.randrange(len(lines))
    value = json.loads(lines[number])
    lines[number] = json.dumps(
        with_value(value, chance.choice([*places_in(value)]), chance.choice([*VALUES, ...])), separators=(",", ":")
    ).encode()
    _replaced(path, b"\n".join(lines) + b"\n")


JSON: dict[str, Damage] = {
    "a list for an object": _list_for_object,
    "another format": _other_format,
    "nested too deep": _deep,
    "null": _null,
    **{f"another value {number}": _one_value for number in range(6)},
}
LINES: dict[str, Damage] = {
    "nested too deep": lambda path, chance: _replaced(path, b"[" * 100_000 + b"\n"),
    "null": lambda path, chance: _replaced(path, b"null\n" * 3),
    "lists": lambda path, chance: _replaced(
        path, b"".join(b"[" + one + b"]\n" for one in path.read_bytes().splitlines())
    ),
    **{f"another value {number}": _one_value_of_a_line for number in range(6)},
}


def _statement(sql: str, *values: Any) -> Damage:
    def damage(path: Path, chance: random.Random) -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(sql, values)
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    return damage


def _about_value(path: Path, chance: random.Random) -> None:
    """Its checksum left out, as earlier releases wrote, and one value of the schema another."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        schema = json.loads(connection.execute("SELECT schema FROM about").fetchone()[0])
        schema.pop("checksum")
        changed = with_value(schema, chance.choice([*places_in(schema)]), chance.choice([*VALUES, ...]))
        connection.execute("UPDATE about SET schema = ?", [json.dumps(changed)])


def _without_checksum(path: Path, chance: random.Random) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        schema = json.loads(connection.execute("SELECT schema FROM about").fetchone()[0])
        schema.pop("checksum")
        connection.execute("UPDATE about SET schema = ?", [json.dumps(schema)])
        column = chance.choice(["generation", "answers_from", "snapshot", "keys", "origin"])
        with closing(connection.execute("SELECT 1")):
            connection.execute(
                f"UPDATE about SET {column} = ?", [chance.choice(["x", 1.5, b"\xff", "[]", "null", -5, 2**62])]
            )


ONLINE: dict[str, Damage] = {
    "no about row": _statement("DELETE FROM about"),
    "no about table": _statement("DROP TABLE about"),
    "no table of rows": _statement("DROP TABLE rows"),
    "a list as schema": _statement("UPDATE about SET schema = '[]'"),
    "no JSON as schema": _statement("UPDATE about SET schema = '{'"),
    "a deep schema": _statement("UPDATE about SET schema = ?", "[" * 100_000),
    "a blob as schema": _statement("UPDATE about SET schema = ?", b"\xff\xfe"),
    "another layout": _statement("UPDATE about SET schema = json_set(schema, '$.format', 99)"),
    "text that is none": _statement("UPDATE about SET origin = CAST(x'ff' AS TEXT)"),
    "ints as blobs": _statement("UPDATE rows SET blob = 7"),
    "texts as blobs": _statement("UPDATE rows SET blob = 'x'"),
    "text as a number": _statement("UPDATE about SET generation = 'x'"),
    "half blobs": _statement("UPDATE rows SET blob = substr(blob, 1, length(blob) / 2)"),
    **{f"another value {number}": _about_value for number in range(6)},
    **{f"another column {number}": _without_checksum for number in range(6)},
}


def copy_of(other: Path) -> Damage:
    """Another file of its kind in its place."""
    content = other.read_bytes()
    return lambda path, chance: _replaced(path, content)


def content_of(root: Path) -> dict[str, str]:
    """What each file under a folder holds, without locks and what SQLite keeps beside its files."""
    results = {}
    for parent, folders, names in os.walk(root):
        for name in [*names, *(one for one in folders if not any(Path(parent, one).iterdir()))]:
            path = Path(parent, name)
            if name.endswith((".lock", "-shm", "-wal")):
                continue
            if path.is_symlink():
                content = f"-> {os.readlink(path)}"
            elif path.is_dir():
                content = "a folder"
            else:
                content = hashlib.sha256(path.read_bytes()).hexdigest()
            results[str(path.relative_to(root))] = content
    return results
