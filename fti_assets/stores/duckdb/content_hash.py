"""The content hash of rows, which is their data version: the same in any order, and added up without reading all again.

A row is written as text that says each value exactly, its MD5 is taken, and the halves of all are added up. Text, MD5 and sums are
fixed here, so that a hash is the same on every machine and under every version of DuckDB, whose own ``hash`` is not: rows that were
stored under it keep their versions, which begin with ``1.``, as long as DuckDB still hashes them so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import duckdb

from fti_assets.core.sql import literal, quote

OF_DUCKDB, FIXED = "1", "2"
"""The versions of the hash: the one that rests on DuckDB's, and the one that is fixed here."""

_CONTENT = "__fti_content"
_NULL = "'n'"
_AS_TEXT = {
    "tinyint", "smallint", "integer", "bigint", "hugeint", "utinyint", "usmallint", "uinteger", "ubigint", "uhugeint", "decimal",
    "date", "time", "uuid", "interval", "bit",
}  # fmt: skip
"""The types whose text says a value exactly, without a comma or a bracket."""


def hash_of(version: str | None) -> str:
    """Which hash a data version is of."""
    return OF_DUCKDB if version is not None and version.startswith(f"{OF_DUCKDB}.") else FIXED


def with_content(types: Mapping[str, str], rows: str, hash_version: str = FIXED, *, columns: str = "*") -> str:
    """The SQL of rows, for a FROM clause, each with the content that ``content_sums`` adds up.

    Args:
        types: the DuckDB type of each column that counts.
        rows: what stands behind FROM, such as a quoted table.
        hash_version: ``FIXED``, or the hash that stored rows have.
        columns: the SQL of what else of the rows is wanted.
    """
    if hash_version == OF_DUCKDB:
        content = f"hash({', '.join(quote(column) for column in sorted(types))})"
    else:
        content = _join((quote(column), duckdb.sqltype(types[column])) for column in sorted(types))
    # In a query of its own: named twice in one, DuckDB would plan each of its parts twice.
    return f"(SELECT {columns}, {content} AS {_CONTENT} FROM {rows})"


def content_sums(hash_version: str = FIXED) -> str:
    """The SQL of what a content hash is made of: the number of rows and two sums of their hashes, in any order; of ``with_content``."""
    if hash_version == OF_DUCKDB:
        return f"count(*), coalesce(sum({_CONTENT}), 0), coalesce(sum(hash({_CONTENT}, 1)), 0)"
    # Sums, not XOR: XOR would cancel two equal rows. Two sums of 64 bits each leave no room for an accident.
    return f"count(*), coalesce(sum(md5_number_lower({_CONTENT})), 0), coalesce(sum(md5_number_upper({_CONTENT})), 0)"


def data_version(types: Mapping[str, str], sums: Sequence[int], hash_version: str = FIXED) -> str:
    """The data version of rows: their content hash, with its own version in front.

    Args:
        types: the DuckDB type of each column.
        sums: what ``content_sums`` gave.
        hash_version: which hash they are of.
    """
    # The types are part of the version: equal values in another type are other data to whoever reads them.
    schema = [[column, types[column]] for column in sorted(types)]
    digest = hashlib.sha256(json.dumps([schema, *sums]).encode()).hexdigest()
    return f"{hash_version}.{digest[:24]}"


def _exact(value: str, kind: Any, depth: int = 0) -> str:
    """The SQL of a text that says a value exactly, null where it is null; no two values of a type have the same."""
    name = kind.id
    if name in ("double", "float"):  # by its bits, since the digits of a float are written otherwise by each release
        return f"CASE WHEN isnan({value}) THEN 'nan' ELSE CAST(CAST(({value})::DOUBLE + 0.0 AS BIT) AS BIGINT)::VARCHAR END"
    if name == "boolean":
        return f"({value})::INTEGER::VARCHAR"
    if name in ("timestamp", "timestamp with time zone"):  # infinity has no microseconds
        return f"coalesce(epoch_us({value})::VARCHAR, ({value})::TIMESTAMP::VARCHAR)"
    if name in _AS_TEXT:
        return f"({value})::VARCHAR"
    if name == "blob":
        return f"hex({value})"
    if name in ("list", "array"):
        [(_, child), *_] = kind.children
        element = f"e{depth}"
        texts = f"list_transform(({value})::{child}[], lambda {element}: coalesce({_exact(element, child, depth + 1)}, {_NULL}))"
        return f"'[' || array_to_string({texts}, ',') || ']'"
    if name == "struct":
        fields = _join(((f"struct_extract({value}, {literal(field)})", child) for field, child in kind.children), depth)
        return f"CASE WHEN {value} IS NULL THEN NULL ELSE '(' || {fields} || ')' END"
    if name == "map":
        (_, key), (_, item) = kind.children
        return _exact(f"map_entries({value})", duckdb.sqltype(f"STRUCT(key {key}, value {item})[]"), depth)
    # Any other text may hold a comma or a bracket, so its length stands before it.
    text = f"({value})::VARCHAR"
    return f"strlen({text}) || ':' || {text}"


def _join(values: Iterable[tuple[str, Any]], depth: int = 0) -> str:
    """The SQL of the texts of some values, each of a type.

    A CASE that asks for null first, not coalesce: DuckDB looks for equal parts of expressions, in a time that grows with the square of
    their number, and looks at no more of a CASE than its first condition.
    """
    texts = (f"CASE WHEN {value} IS NULL THEN {_NULL} ELSE {_exact(value, kind, depth)} END" for value, kind in values)
    return f"concat_ws(',', {', '.join(texts)})"
