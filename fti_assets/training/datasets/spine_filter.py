"""The filter of a dataset's spine: one SQL condition on the spine's own columns, as they are at the prediction time."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import Any

import duckdb

from fti_assets.core.names import is_kept
from fti_assets.core.sql import quote, temporary_name
from fti_assets.core.types import SIDES, ColumnType
from fti_assets.errors import DataError, DeclarationError, excerpt, list_some, one_of
from fti_assets.features.groups.sql_body import OUTSIDE_FUNCTIONS, unsteady_part
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.duckdb.syntax import syntax_trees
from fti_assets.training.views.terms import ViewTerms

_PLAIN = frozenset(
    {
        "BETWEEN",
        "CASE",
        "CAST",
        "COLLATE",
        "COLUMN_REF",
        "COMPARISON",
        "CONJUNCTION",
        "CONSTANT",
        "FUNCTION",
        "OPERATOR",
    }
)
"""The classes of expressions that look at one row alone."""
_IN_WORDS = {
    "LAMBDA": "a lambda",
    "PARAMETER": "a parameter",
    "POSITIONAL_REFERENCE": "a column by its position",
    "STAR": "all columns at once",
    "SUBQUERY": "a subquery",
    "WINDOW": "a window function",
}
_OTHERWISE_LATER = {"hash", "current_query", "version"}
"""Functions whose answers are others in another version of DuckDB."""
_AS_A_SHARE = "for a share of the rows write sample=fti.Sample(rows=0.1)"

KEPT = "_fti_kept"
"""The column that says whether the filter keeps a row."""


def checked_filter(text: str, view: ViewTerms, *, what: str) -> str:
    """The text of a filter, read by DuckDB's own parser.

    Raises:
        DeclarationError: it is no condition on one row of the spine, it differs from run to run, it names the label, or, as far as
            schemas tell, a column that the spine does not have or has in another type.
    """
    place = f"{what} has where={excerpt(text)}, which"
    # Alone and in parentheses: only a whole expression can be read in both ways.
    trees = syntax_trees([f"SELECT 1 WHERE {text}\n", f"SELECT 1 WHERE ({text}\n)"])
    for tree in trees:
        if "error_message" in tree:
            raise DeclarationError(f"{place} DuckDB cannot read as a condition: {tree['error_message']}")
    condition = trees[1].get("where_clause")
    if condition is None:
        raise DeclarationError(
            f"{place} is no condition: write what holds for a row that is kept, as in \"country = 'NL'\""
        )
    columns = view.spine.columns
    for node in _nodes(condition):
        _check_node(node, view, columns, place)
    types = columns or {}
    if columns is not None and all(types.get(name) for name in _columns_of(condition)):
        _check_types(text, {name: kind for name, kind in types.items() if kind}, place)
    return text


def filtered(
    connection: duckdb.DuckDBPyConnection, rows: duckdb.DuckDBPyRelation, text: str, *, what: str
) -> tuple[duckdb.DuckDBPyRelation, int]:
    """The rows that a filter keeps, and how many it leaves out: those for which it is false or null.

    Raises:
        DataError: a column is not there, it is no condition, or it cannot be computed of some row.
    """
    (tree,) = syntax_trees([f"SELECT 1 WHERE ({text}\n)"])
    own = [name for name in rows.columns if not is_kept(name)]
    _refuse_unknown(_columns_of(tree["where_clause"]), own, f"{what} has where={excerpt(text)}, which", DataError)
    table = quote(temporary_name("filtered"))
    try:
        kind = connection.sql(f"SELECT ({text}\n) FROM {relation_name(rows)}").types[0]
        if str(kind) != "BOOLEAN":
            raise DataError(f"{what} has where={excerpt(text)}, which gives {kind} and not true or false: {_COMPARE}")
        connection.execute(f"CREATE TEMP TABLE {table} AS SELECT *, ({text}\n) AS {KEPT} FROM {relation_name(rows)}")
    except duckdb.Error as error:
        raise DataError(f"{what} cannot be filtered by where={excerpt(text)}: {_first_line(error)}") from error
    [(left_out,)] = connection.execute(f"SELECT count(*) FILTER ({KEPT} IS NOT TRUE) FROM {table}").fetchall()
    return connection.sql(f"SELECT * EXCLUDE ({KEPT}) FROM {table} WHERE {KEPT}"), int(left_out)


_COMPARE = 'compare it with something, as in "amount > 0"'


def _nodes(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, list):
        for one in node:
            yield from _nodes(one)
    elif isinstance(node, dict):
        yield node
        for one in node.values():
            yield from _nodes(one)


def _columns_of(condition: Any) -> list[str]:
    """The columns that a condition names, as it writes them."""
    names = [node["column_names"] for node in _nodes(condition) if node.get("class") == "COLUMN_REF"]
    return list(dict.fromkeys(".".join(parts) for parts in names))


def _check_node(
    node: Mapping[str, Any], view: ViewTerms, columns: Mapping[str, ColumnType | None] | None, place: str
) -> None:
    kind = node.get("class")
    if kind is None:
        return
    if kind not in _PLAIN:
        raise DeclarationError(
            f"{place} has {_IN_WORDS.get(kind, kind.lower())}: it looks at the columns of one row of the spine, and at nothing else"
        )
    function = str(node.get("function_name", "")).lower()
    if kind == "FUNCTION" and function in _functions_of_rows():
        name = function.removesuffix("_star")
        raise DeclarationError(
            f"{place} has {name}(), which takes several rows: it looks at one row of the spine alone"
        )
    if function in OUTSIDE_FUNCTIONS:
        raise DeclarationError(f"{place} calls {function}(), which reads what is outside the spine: leave it out")
    if function in _OTHERWISE_LATER:
        raise DeclarationError(
            f"{place} calls {function}(), which answers otherwise in another version of DuckDB: {_AS_A_SHARE}"
        )
    name = ".".join(node.get("column_names", ()))
    is_column = columns is not None and name in columns
    if not is_column and (part := unsteady_part(node)):
        raise DeclarationError(
            f"{place} {part}, which differs from run to run, so that a rerun would not give the same rows: compare with a fixed time, "
            f"take window= for the newest rows, and {_AS_A_SHARE}"
        )
    if kind != "COLUMN_REF":
        return
    spine = view.spine
    own_labels = {label.name.lower(): label.name for label in view.labels.values() if label.group is spine}
    if name.lower() in own_labels:
        raise DeclarationError(
            f"{place} names the label {own_labels[name.lower()]!r}, which is not known yet at the prediction time: a model would be judged "
            "on rows that cannot be chosen then"
        )
    if columns is not None:
        _refuse_unknown([name], columns, place, DeclarationError, spine=spine.table_name)


def _refuse_unknown(
    names: Collection[str],
    columns: Collection[str],
    place: str,
    error: type[DataError | DeclarationError],
    *,
    spine: str = "the spine",
) -> None:
    lower_names = {column.lower() for column in columns}
    if unknown := [name for name in names if name.lower() not in lower_names]:
        raise error(
            f"{place} names {list_some(unknown)}: it is on columns of {spine}, which are {one_of(columns)}, and not on features or "
            "labels of other groups"
        )


def _check_types(text: str, types: Mapping[str, ColumnType], place: str) -> None:
    """Have DuckDB bind the condition to columns of those types."""
    columns = ", ".join(f"{quote(name)} {SIDES[kind].sql}" for name, kind in types.items())
    with duckdb.connect(":memory:", config={"threads": "1"}) as connection:
        connection.execute(f"CREATE TABLE spine ({columns})")
        try:
            kind = connection.sql(f"SELECT ({text}\n) FROM spine").types[0]
        except duckdb.Error as error:
            raise DeclarationError(f"{place} DuckDB refuses: {_first_line(error)}") from error
    if str(kind) != "BOOLEAN":
        raise DeclarationError(f"{place} gives {kind} and not true or false: {_COMPARE}")


@cache
def _functions_of_rows() -> frozenset[str]:
    """The functions that make one value of several rows, or several rows of one value."""
    with duckdb.connect(":memory:", config={"threads": "1"}) as connection:
        rows = connection.execute(
            "SELECT lower(function_name) FROM duckdb_functions() GROUP BY 1 HAVING bool_or(function_type = 'aggregate')"
        ).fetchall()
    return frozenset(name for (name,) in rows) | {"unnest"}


def _first_line(error: Exception) -> str:
    return " ".join(str(error).strip().partition("\n\n")[0].split())
