"""Columns that have other types in other Parquet files, where DuckDB's one type for all would change values."""

from __future__ import annotations

import re
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fti_assets.core.sql import literal, names_alike, quote
from fti_assets.core.types import EXACT, WHOLE, WIDE
from fti_assets.errors import StoreError
from fti_assets.stores.sources.delta_log import path_of, without_wildcards
from fti_assets.stores.sources.source import ExternalSource, read_errors, rows_of

if TYPE_CHECKING:
    import duckdb
    from duckdb.sqltypes import DuckDBPyType

_Path = tuple[str, ...]

_FLOATS = ("FLOAT", "DOUBLE")
_WHOLE = (*WHOLE, *WIDE)
_TIMES = ("DATE", "TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE")
_SORTS = (
    dict.fromkeys(_WHOLE, "whole")
    | dict.fromkeys(_FLOATS, "float")
    | dict.fromkeys(("VARCHAR", "UUID", "JSON"), "text")
    | dict.fromkeys(_TIMES, "time")
    | dict.fromkeys(("TIME", "TIME WITH TIME ZONE"), "time of day")
)
_NANOSECONDS = "TIMESTAMP_NS"
_HELD_BY_NANOSECONDS = "BETWEEN '1677-09-22' AND '2262-04-11'"
_HELD_BY_FLOAT = {"TINYINT", "SMALLINT", "UTINYINT", "USMALLINT"}
_HELD_BY_DOUBLE = {*_HELD_BY_FLOAT, "INTEGER", "UINTEGER"}
_NOTHING = '"NULL"'
_PART = "[]"
_NESTED = ("list", "struct", "map")


@dataclass(frozen=True)
class _Alike:
    """Files with the same columns in the same types.

    Args:
        files: them, as patterns that find one file each.
        types: the DuckDB types of columns and of what lies within them, by their names in small letters, as DuckDB looks them up;
            of a list, a struct and a map only that it is one.
    """

    files: tuple[str, ...]
    types: Mapping[_Path, str]


def scan_of_files(
    connection: duckdb.DuckDBPyConnection, files: Sequence[str], options: str, source: ExternalSource
) -> str:
    """The SQL of the rows of Parquet files that may have a column in several types: no value becomes another.

    Whole numbers beside floats, as pandas makes of them next to a null, stay whole where each float is one. A float column without
    a value has the type of the other files.

    Args:
        connection: what reads the files.
        files: patterns that find one file each.
        options: further arguments of ``read_parquet``.
        source: what the files are of.

    Raises:
        StoreError: no one type holds all values of a column.
    """
    plain = _scan(files, f"{options}, union_by_name = true")
    alike = _files_alike(connection, files, source) if len(files) > 1 else []
    paths = dict.fromkeys(path for one in alike for path in one.types)
    replacements = {path: kind for path in paths if (kind := _one_type(connection, path, alike, source))}
    if not replacements:
        return plain
    columns = rows_of(connection, f"DESCRIBE FROM {plain}", source)
    # What is in no file is in the names of folders, whose types are told from all of them.
    of_folders = {name.lower() for name, *_ in columns} - {path[0] for path in paths}
    scans = []
    for one in alike:
        names = {path[0] for path in one.types} | of_folders
        items = ", ".join(
            _item(name, replacements.get((name.lower(),), kind), one.types.get((name.lower(),)), names)
            for name, kind, *_ in columns
        )
        scans.append(f"SELECT {items} FROM {_scan(one.files, f'{options}, hive_types_autocast = false')}")
    return f"({' UNION ALL '.join(scans)})"


def names_in_files(
    connection: duckdb.DuckDBPyConnection, files: Sequence[str], source: ExternalSource
) -> Iterator[tuple[str, list[str]]]:
    """The names of Parquet files' columns as they are written, and those within each struct, with a file of each kind."""
    for fields, names in _fields_of(connection, files, source):
        for siblings in _siblings(iter(fields)):
            yield names[0], siblings


def _refuse_names_alike(rows: Iterable[tuple[Sequence[Mapping[str, Any]], Sequence[str]]]) -> None:
    """Refuse files of which one spells a column with other capitals than another: SQL would take them for one, by the name that the
    first file has.

    Raises:
        StoreError: it names both files.
    """
    files = dict[str, str]()
    for fields, (file, *_) in rows:
        *_, names = _siblings(iter(fields))
        if names_alike(names):  # which is said of the one file
            return
        for name in names:
            files.setdefault(name, file)
    if alike := names_alike(files):
        one, other = alike
        raise StoreError(
            f"{files[one]} has a column {one!r} and {files[other]} has {other!r}, which SQL takes for one: write both files with one name"
        )


def _siblings(fields: Iterator[Mapping[str, Any]]) -> Generator[list[str], None, str]:
    """The names below each node of a schema that is written from its root downwards; gives the root's own."""
    field = next(fields)
    names = []
    for _ in range(field["children"] or 0):
        names.append((yield from _siblings(fields)))
    yield names
    return str(field["name"])


def _scan(files: Sequence[str], options: str) -> str:
    return f"read_parquet([{', '.join(map(literal, files))}], {options})"


def _item(name: str, target: str, kind: str | None, names: set[str]) -> str:
    value = quote(name)
    if (
        name.lower() not in names
        or kind == _NOTHING
        or (kind in _FLOATS and _SORTS.get(target) not in ("whole", "float"))
    ):
        value = "NULL"
    elif kind in _FLOATS and target not in _FLOATS:
        value = f"CASE WHEN NOT isnan({value}) THEN {value} END"
    return f"CAST({value} AS {target}) AS {quote(name)}"


def _files_alike(connection: duckdb.DuckDBPyConnection, files: Sequence[str], source: ExternalSource) -> list[_Alike]:
    rows = _fields_of(connection, files, source)
    _refuse_names_alike(rows)
    return [
        _Alike(names, dict(_nodes_of(connection, names[0], fields, source) if len(rows) > 1 else ()))
        for fields, names in ((fields, tuple(map(without_wildcards, names))) for fields, names in rows)
    ]


def _fields_of(
    connection: duckdb.DuckDBPyConnection, files: Sequence[str], source: ExternalSource
) -> list[tuple[Any, ...]]:
    """The fields of Parquet files from the root downwards, with the names of all files that have them so."""
    return rows_of(
        connection,
        "SELECT fields, list(file_name ORDER BY file_name) FROM (SELECT file_name::VARCHAR AS file_name, "
        "list({'name': name, 'kind': duckdb_type, 'children': num_children} ORDER BY column_id) AS fields "
        f"FROM parquet_schema([{', '.join(map(literal, files))}]) GROUP BY ALL) GROUP BY fields ORDER BY min(file_name)",
        source,
    )


def _nodes_of(
    connection: duckdb.DuckDBPyConnection, file: str, fields: Sequence[Mapping[str, Any]], source: ExternalSource
) -> Iterator[tuple[_Path, str]]:
    """What lies at each path of a file's columns.

    DuckDB says what is a list, of which writers have many forms, and takes what has no type for INTEGER; the file's own fields
    say what has none.
    """
    with read_errors(source):
        columns = connection.sql(f"FROM {_scan([file], 'hive_partitioning = false')}")
        kinds = list(zip(columns.columns, columns.types, strict=True))
    leaves = iter([field["kind"] for field in fields if not field["children"]])
    for name, kind in kinds:
        yield from _nodes(kind, leaves, (name.lower(),))


def _nodes(kind: DuckDBPyType, leaves: Iterator[str], path: _Path) -> Iterator[tuple[_Path, str]]:
    if kind.id in _NESTED:
        yield path, kind.id.upper()
        for name, child in kind.children:
            yield from _nodes(child, leaves, (*path, _PART if kind.id == "list" else name.lower()))
    else:
        yield path, _NOTHING if next(leaves, None) == _NOTHING else str(kind)


def _one_type(
    connection: duckdb.DuckDBPyConnection, path: _Path, alike: Sequence[_Alike], source: ExternalSource
) -> str | None:
    """The type in which a column of several types is read, None for DuckDB's own.

    Raises:
        StoreError: there is none that holds all values.
    """
    files: dict[str, list[str]] = {}
    for one in alike:
        if (kind := one.types.get(path, _NOTHING)) != _NOTHING:
            files.setdefault(kind, []).extend(one.files)
    if not _loses(files):
        return None
    column = quote(path[-1])
    if len(path) > 1:
        raise _no_one_type(path, files, source)
    if {_sort(kind) for kind in files} == {"time"}:
        others = [file for kind in files if kind != _NANOSECONDS for file in files[kind]]
        if far := _find(connection, others, f"{column} NOT {_HELD_BY_NANOSECONDS}", column, source):
            raise _no_one_type(path, files, source, f" {far} is beyond what nanoseconds hold.")
        return None
    for kind in _FLOATS:
        has_values = f"{column} IS NOT NULL AND NOT isnan({column})"
        if kind in files and not _find(connection, files[kind], has_values, column, source):
            del files[kind]
    if not _loses(files):
        groups = [one.files for one in alike if one.types.get(path, _NOTHING) in files]
        return _common_type(connection, column, groups, source)
    if {_sort(kind) for kind in files} != {"whole", "float"}:
        raise _no_one_type(path, files, source)
    floats = [file for kind in _FLOATS for file in files.get(kind, [])]
    # NaN is missing. From 2**53 on a float may be one of several whole numbers, so it is none.
    is_no_whole = f"NOT isnan({column}) AND ({column} <> trunc({column}) OR abs({column}) >= {EXACT})"
    if not _find(connection, floats, is_no_whole, column, source):
        whole = [alike for kind, alike in files.items() if kind not in _FLOATS]
        return _common_type(connection, column, whole, source)
    others = [file for kind in files if kind not in _FLOATS for file in files[kind]]
    if example := _find(connection, others, f"{column} > {EXACT} OR {column} < {-EXACT}", column, source):
        raise _no_one_type(path, files, source, f" {example} there is another number as a float.")
    return "DOUBLE"


def _find(
    connection: duckdb.DuckDBPyConnection, files: Sequence[str], condition: str, column: str, source: ExternalSource
) -> str | None:
    """A value of a column for which a condition holds, None if there is none: one column is read, as far as the first."""
    scan = _scan(files, "hive_partitioning = false, union_by_name = true")
    rows = rows_of(connection, f"SELECT {column}::VARCHAR FROM {scan} WHERE {condition} LIMIT 1", source)
    return str(rows[0][0]) if rows else None


def _common_type(
    connection: duckdb.DuckDBPyConnection, column: str, files: Sequence[Sequence[str]], source: ExternalSource
) -> str:
    """DuckDB's one type of a column that it joins without a loss, of files of each of its types."""
    scan = _scan([alike[0] for alike in files], "hive_partitioning = false, union_by_name = true")
    return str(rows_of(connection, f"DESCRIBE SELECT {column} FROM {scan}", source)[0][1])


def _sort(kind: str) -> str:
    return "decimal" if kind.startswith("DECIMAL") else _SORTS.get(kind, kind)


def _loses(kinds: Mapping[str, Any]) -> bool:
    """Whether DuckDB's one type for several can change values or hold not all, makes numbers of truths or text of what is none."""
    sorts = {_sort(kind) for kind in kinds}
    if sorts == {"time"}:
        return _NANOSECONDS in kinds and any(kind not in (_NANOSECONDS, _TIMES[-1]) for kind in kinds)
    if len(kinds) < 2 or (len(sorts) < 2 and sorts != {"decimal"}):
        return False
    if sorts == {"whole", "float"}:
        exact_types = _HELD_BY_DOUBLE if "DOUBLE" in kinds else _HELD_BY_FLOAT
        return any(kind not in exact_types for kind in kinds if kind not in _FLOATS)
    if sorts <= {"whole", "decimal"}:
        digits = [tuple(map(int, re.findall(r"\d+", kind))) if _sort(kind) == "decimal" else (20, 0) for kind in kinds]
        return max(width - scale for width, scale in digits) + max(scale for _, scale in digits) > 38
    return True


def _no_one_type(path: _Path, files: Mapping[str, Sequence[str]], source: ExternalSource, why: str = "") -> StoreError:
    kinds = [*files]
    first = kinds[0]
    other = next(kind for kind in kinds[1:] if _loses(dict.fromkeys([first, kind])) or kind == kinds[-1])
    return StoreError(
        f"{source.place} cannot be read: column {_path_text(path)!r} is {first} in {path_of(files[first][0])} and {other} in "
        f"{path_of(files[other][0])}, and no one type holds the values of both.{why} Write the files with one type, as "
        "frame.astype({...: 'Int64'}) makes of whole numbers beside a null"
    )


def _path_text(path: _Path) -> str:
    """A path in words.

    >>> _path_text(("stops", "[]", "seats"))
    'stops[].seats'
    """
    return ".".join(path).replace(f".{_PART}", _PART)
