"""Types that no value has: a stored column without values has a placeholder's type, and takes that of the first values.

The same holds within lists, structs and maps: ``[null]`` says that there is a list, and nothing of what it holds.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fti_assets.core.names import in_partitions
from fti_assets.core.sql import literal, quote
from fti_assets.stores.lake.files.damage import without_unreadable
from fti_assets.stores.lake.reader import LakeReader

if TYPE_CHECKING:
    import duckdb

    from fti_assets.core.names import TableName

_Path = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class CommonType:
    """The type that two columns have in common where only one of them has values.

    Args:
        sql_type: the type.
        by_text: the same with text in each place of which the types differ; what is null casts by it to any type.
    """

    sql_type: str
    by_text: str

    def cast(self, column: str) -> str:
        """The SQL of a column of either type in this one."""
        return f"CAST(CAST({quote(column)} AS {self.by_text}) AS {self.sql_type})"


def has_no_value(lake: LakeReader, table: TableName, column: str) -> bool:
    """Whether a stored column is null in every row that can be read, so that its type is a placeholder's."""
    has_value = _holds_value(quote(column), ())
    return not without_unreadable(
        lake, table, lambda unreadable: _is_held(lake.connection, rows_without(lake, table, unreadable), has_value)
    )


def rows_without(lake: LakeReader, table: TableName, partitions: Collection[str]) -> str:
    """The SQL of a table's rows but for those of some partitions, whose files are not opened."""
    if not partitions:
        return table.sql
    readable = [key for key in lake.ledger(table) if key not in partitions]
    return f"(FROM {table.sql} WHERE {in_partitions(readable)})"  # with NOT IN, DuckLake opens all files


def common_types(
    lake: LakeReader,
    stored_rows: str,
    stored_types: Mapping[str, str],
    staged_rows: str,
    staged_types: Mapping[str, str],
) -> dict[str, CommonType]:
    """The common type of each column whose stored and staged types differ, and of which only one side has values.

    Args:
        lake: the open lake.
        stored_rows: the SQL of the stored rows.
        stored_types: their columns and DuckDB types.
        staged_rows: the SQL of the staged rows.
        staged_types: their columns and DuckDB types.
    """
    results = {}
    for name, kind in staged_types.items():
        if stored_types.get(name, kind) == kind:
            continue
        one, other = (lake.connection.sqltype(text) for text in (stored_types[name], kind))
        choices = []
        for path, one_type, other_type in _differences(one, other):
            value = _holds_value(quote(name), path)
            if not _is_held(lake.connection, staged_rows, value):
                choices.append(str(one_type))
            elif not _is_held(lake.connection, stored_rows, value):
                choices.append(str(other_type))
            else:
                break
        else:
            common, text = (_merge(one, other, iter(kinds)) for kinds in (choices, ["VARCHAR"] * len(choices)))
            results[name] = CommonType(str(lake.connection.sqltype(common)), text)
    return results


def _is_held(connection: duckdb.DuckDBPyConnection, rows: str, value: str) -> bool:
    return bool(connection.execute(f"SELECT 1 FROM {rows} WHERE {value} LIMIT 1").fetchall())  # stops at the first


def _holds_value(value: str, path: _Path) -> str:
    """The SQL of whether a column holds a value at a place."""
    if not path:
        return f"{value} IS NOT NULL"
    (kind, name), *inner = path
    if kind == "struct":
        return _holds_value(f"struct_extract({value}, {literal(name)})", tuple(inner))
    values = value if kind == "list" else f"map_{name}s({value})"
    item = f"_fti_item{len(inner)}"
    return f"coalesce(len(list_filter({values}, lambda {item}: {_holds_value(item, tuple(inner))})) > 0, false)"


def _differences(one: Any, other: Any, path: _Path = ()) -> Iterator[tuple[_Path, Any, Any]]:
    """Each place where two types differ, and the types there."""
    if str(one) == str(other):
        return
    if not _alike(one, other):
        yield path, one, other
        return
    for (name, one_type), (_, other_type) in zip(one.children, other.children, strict=True):
        yield from _differences(one_type, other_type, (*path, (one.id, name)))


def _alike(one: Any, other: Any) -> bool:
    """Whether only what is within two types differs."""
    if one.id != other.id or one.id not in ("list", "struct", "map"):
        return False
    return [name for name, _ in one.children] == [name for name, _ in other.children]


def _merge(one: Any, other: Any, choices: Iterator[str]) -> str:
    """Two types as one, with what is taken at each place where they differ."""
    if str(one) == str(other):
        return str(one)
    if not _alike(one, other):
        return next(choices)
    within = [
        (name, _merge(one_type, other_type, choices))
        for (name, one_type), (_, other_type) in zip(one.children, other.children, strict=True)
    ]
    kinds = [kind for _, kind in within]
    match one.id:
        case "list":
            return f"{kinds[0]}[]"
        case "map":
            return f"MAP({kinds[0]}, {kinds[1]})"
    return f"STRUCT({', '.join(f'{quote(name)} {kind}' for name, kind in within)})"
