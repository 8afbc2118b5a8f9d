"""Identifiers in SQL: checked when declared, quoted wherever SQL is built."""

import re
from collections.abc import Iterable
from datetime import datetime
from itertools import count

from fti_assets.errors import DeclarationError, excerpt

_NAME = re.compile(r"[a-z_][a-z0-9_]*")
_LONGEST = 120  # a file or a table of a store has the name with a version behind it
_numbers = count(1)
_SMALL = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")  # DuckDB folds these alone


def is_name(name: object) -> bool:
    """Whether it is a name that tables, namespaces, models and columns may have: ``[a-z_][a-z0-9_]*``, of 120 characters at most."""
    return isinstance(name, str) and len(name) <= _LONGEST and _NAME.fullmatch(name) is not None


def checked_name(name: str, *, what: str) -> str:
    """Return ``name``, or raise a DeclarationError if it is not ``[a-z_][a-z0-9_]*``, or longer than 120 characters."""
    if isinstance(name, str) and len(name) > _LONGEST:
        raise DeclarationError(f"{what} {excerpt(name)} has {len(name)} characters: a name has at most {_LONGEST}")
    if not is_name(name):
        raise DeclarationError(
            f"{what} {excerpt(name)} is not a name: use lower-case letters, digits and _, not starting with a digit"
        )
    return name


def quote(*parts: str) -> str:
    """Quote an identifier, dotted if it has several parts: ``"lake"."features"."weather_v1"``."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in parts)


def temporary_name(what: str) -> str:
    """A name for a temporary table or view that no other of this process has."""
    return f"__fti_{what}_{next(_numbers)}"


def number_rows(table: str, columns: Iterable[str]) -> tuple[str, str]:
    """The SQL of a temporary table, and of the position of a row in it, whatever its columns are called.

    Args:
        table: the table, quoted.
        columns: its columns. DuckDB's own ``rowid`` is hidden by a column of that name.

    >>> number_rows('"readings"', ["temp"])
    ('"readings"', 'rowid')
    """
    if all(column.lower() != "rowid" for column in columns):
        return table, "rowid"
    return f"(SELECT row_number() OVER () - 1 AS __fti_position, * FROM {table})", "__fti_position"


def names_alike(names: Iterable[str]) -> list[str]:
    """The first two names that differ in capitals alone, which SQL takes for one column; none if there are no such.

    >>> names_alike(["k", "A", "a"]), names_alike(["k", "É", "é"])
    (['A', 'a'], [])
    """
    first_of: dict[str, str] = {}
    for name in names:
        other = first_of.setdefault(name.translate(_SMALL), name)
        if other != name:
            return [other, name]
    return []


def literal(text: str) -> str:
    """Quote a text literal, for the few statements that take no parameters (ATTACH, LOAD)."""
    if "\0" in text:  # where DuckDB would end the statement
        return f"({' || chr(0) || '.join(map(literal, text.split(chr(0))))})"
    return "'" + text.replace("'", "''") + "'"


def not_pushed_down(column: str) -> str:
    """The SQL of a text column with the same values, which DuckDB cannot take into the scan of a table.

    DuckLake writes what a column is compared with, in a condition or a join, into the SQL that it asks its catalog, and a NUL in
    it ends that SQL.

    >>> print(not_pushed_down('"name"'))
    ("name" || '')
    """
    return f"({column} || '')"


def timestamp(instant: datetime) -> str:
    """A naive UTC instant as a literal."""
    return f"TIMESTAMP '{instant.isoformat(sep=' ')}'"
