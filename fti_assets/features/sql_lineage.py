"""Which columns of which tables each column of a query was made from, told from DuckDB's syntax tree of its SQL.

What counts is what a value is made of: the columns of its expression, partitions and orders of its windows included. What
only decides which rows there are, filters and join keys, does not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import Any

from fti_assets.errors import FtiError
from fti_assets.stores.duckdb.syntax import syntax_trees

Sources = dict[str, tuple[tuple[str, str], ...]]
"""The tables and columns that each column of a query is made from."""

_Origins = frozenset[tuple[str, str]] | None
"""What a column is made from; None where that cannot be told, which is not the same as from nothing."""
_Columns = list[tuple[str, _Origins]]
_SEVERAL: _Columns = [("*", None)]
"""Stands for columns of which neither names nor number can be told: a name that is not among the others may be one of them."""


class UntoldError(FtiError):
    """The lineage of a query cannot be told."""


def sql_lineage(sql: str, *, tables: Mapping[str, Mapping[str, str]], relations: Mapping[str, str]) -> Sources:
    """The sources of each column of a query. Left out are columns that are made of none, such as a count of rows, and those
    whose sources cannot be told, such as ``COLUMNS(...)`` or what a file holds.

    Args:
        sql: one SELECT, as DuckDB writes it.
        tables: the tables at which lineage ends, as they are named in SQL (``lake.features.arrivals_v1``), with the DuckDB
            type of each of their columns.
        relations: the SQL of each named relation that a query may read, by its name.

    Raises:
        UntoldError: DuckDB cannot read the query, or it reads something that is neither a table nor a relation of these.

    >>> sql_lineage("SELECT s.a + 1 AS b, count(*) AS n FROM s GROUP BY 1", tables={"t": {"a": "INT"}}, relations={"s": "FROM t"})
    {'b': (('t', 'a'),)}
    """
    query, *trees = syntax_trees([sql, *relations.values()])
    try:
        columns = _Queries(tables, dict(zip(relations, trees, strict=True))).columns(query, _Scope())
    except (RecursionError, KeyError, ValueError) as error:
        raise UntoldError(f"the lineage of {sql[:200]!r} cannot be determined: {error}") from error
    return {name: tuple(sorted(origins)) for name, origins in columns if origins}


@dataclass(frozen=True)
class _Relation:
    """A table in FROM: its alias, its columns, and those that a star leaves out since USING joins them to others."""

    alias: str
    columns: _Columns
    using: frozenset[str] = frozenset()

    def origins(self, name: str) -> list[_Origins]:
        same = [parts for column, parts in self.columns if column.lower() == name]
        return same or [parts for column, parts in self.columns if column == "*"]


@dataclass(frozen=True)
class _Scope:
    """What names mean in a query: the tables in FROM, of the innermost query first, and what WITH defines."""

    levels: tuple[Sequence[_Relation], ...] = ()
    ctes: Mapping[str, _Columns] = field(default_factory=dict)

    def within(self, *levels: Sequence[_Relation]) -> _Scope:
        return replace(self, levels=(*levels, *self.levels))

    def define(self, name: str, columns: _Columns, aliases: Sequence[str]) -> _Scope:
        return replace(self, ctes={**self.ctes, name.lower(): _rename(columns, aliases)})

    def origins(self, names: Sequence[str]) -> _Origins:
        """What a name is made from: ``column``, ``table.column``, ``schema.table.column``, or a field of a struct in one."""
        for level in self.levels:
            for place in range(len(names) - 1):
                parts = [parts for one in level if one.alias == names[place] for parts in one.origins(names[place + 1])]
                if parts:
                    return _together(parts)
            if parts := [parts for one in level for parts in one.origins(names[0])]:
                return _together(parts)
        return None


class _Queries:
    def __init__(self, tables: Mapping[str, Mapping[str, str]], relations: Mapping[str, Any]) -> None:
        self._tables: dict[str, _Columns] = {
            table.lower(): [(column, frozenset({(table, column)})) for column in columns]
            for table, columns in tables.items()
        }
        self._relations = {name.lower(): tree for name, tree in relations.items()}

    def columns(self, node: Mapping[str, Any], scope: _Scope) -> _Columns:
        if "error_message" in node:
            raise UntoldError(f"DuckDB cannot read it as a SELECT: {node['error_message']}")
        for entry in node["cte_map"]["map"]:
            query = entry["value"]["query"]["node"]
            scope = scope.define(entry["key"], self.columns(query, scope), entry["value"]["aliases"])
        if node["type"] == "SELECT_NODE":
            return self._select(node, scope)
        columns = self.columns(node["left"], scope)
        if node["type"] == "SET_OPERATION_NODE":
            return _unite(columns, self.columns(node["right"], scope), by_name=node["setop_type"] == "UNION_BY_NAME")
        if node["type"] != "RECURSIVE_CTE_NODE":
            raise UntoldError(f"a {node['type']} is not known")
        while True:  # until no round adds a source: one column may reach another by way of a third
            step = self.columns(node["right"], scope.define(node["cte_name"], columns, node["aliases"]))
            if (more := _unite(columns, step)) == columns:
                return columns
            columns = more

    def _select(self, node: Mapping[str, Any], outer: _Scope) -> _Columns:
        source, columns = self._from(node["from_table"], outer), _Columns()
        for item in node["select_list"]:
            # An expression may name one before it in the list, where no table has such a column.
            scope = outer.within(source, [_Relation("", list(columns))])
            origins = self._origins(item, scope)
            if item["class"] == "STAR" and not item["columns"]:
                columns += self._expand_star(item, source, scope)
            elif (origins is None and _has_star(item)) or (item.get("function_name") == "unnest" and not item["alias"]):
                columns += _SEVERAL  # of a struct, unnest gives a column for each field
            else:
                names = item["column_names"] if item["class"] == "COLUMN_REF" else [""]
                columns.append((item["alias"] or names[-1], origins))
        return columns

    def _expand_star(self, star: Mapping[str, Any], source: Sequence[_Relation], scope: _Scope) -> _Columns:
        replacements = {entry["key"].lower(): self._origins(entry["value"], scope) for entry in star["replace_list"]}
        names = {entry["key"]["column"].lower(): entry["value"] for entry in star["rename_list"]}
        exclusions = {*star["exclude_list"], *(entry["column"] for entry in star["qualified_exclude_list"])}
        left_out, of_one = {name.lower() for name in exclusions}, star["relation_name"].lower()
        columns = _Columns()
        for one in source:
            for name, origins in one.columns if of_one in ("", one.alias) else ():
                lower = name.lower()
                if lower in left_out or (not of_one and lower in one.using):
                    continue
                if any(lower in other.using for other in source):
                    origins = scope.origins([lower])
                columns.append((names.get(lower, name), replacements.get(lower, origins)))
        return columns

    def _from(self, ref: Mapping[str, Any], outer: _Scope) -> list[_Relation]:
        columns, kind = _SEVERAL, ref["type"]
        if kind == "EMPTY":
            return []
        if kind == "JOIN":
            left = self._from(ref["left"], outer)
            right = self._from(ref["right"], outer.within(left))  # which may be lateral
            same = {name.lower() for name in ref["using_columns"]}
            if ref["ref_type"] == "NATURAL":
                same = set.intersection(
                    *({name.lower() for one in side for name, _ in one.columns} for side in (left, right))
                )
            return (
                left
                if ref["join_type"] in ("SEMI", "ANTI")
                else [*left, *(replace(one, using=one.using | same) for one in right)]
            )
        if kind == "BASE_TABLE":
            columns = self._table(ref, outer)
        elif kind == "SUBQUERY":
            columns = self.columns(ref["subquery"]["node"], outer)
        elif kind == "TABLE_FUNCTION" and ref["function"]["function_name"] == "unnest":
            columns = [("unnest", self._origins(ref["function"]["children"], outer))]
        elif kind == "EXPRESSION_LIST":
            rows = zip(*ref["values"], strict=True)
            columns = [(f"col{place}", self._origins(list(values), outer)) for place, values in enumerate(rows)]
        alias = ref["alias"] or ref.get("table_name", "")
        return [_Relation(alias.lower(), _rename(columns, ref.get("column_name_alias", ())))]

    def _table(self, ref: Mapping[str, Any], scope: _Scope) -> _Columns:
        parts = [ref[part].lower() for part in ("catalog_name", "schema_name", "table_name") if ref[part]]
        if parts[0] in ("temp", "memory", "main") and len(parts) > 1:
            parts = parts[1:]
        elif len(parts) == 1 and parts[0] in scope.ctes:
            return scope.ctes[parts[0]]
        name = ".".join(parts)
        if name not in self._tables:
            if name not in self._relations:
                raise UntoldError(f"the query reads {name!r}, which is not among what its group takes")
            tree, self._relations[name] = self._relations[name], None
            if tree is None:
                raise UntoldError("relations read each other in a circle")
            self._tables[name] = self.columns(tree, _Scope())
        return self._tables[name]

    def _origins(self, node: Any, scope: _Scope) -> _Origins:
        """What a value is made from: every column that its expression names."""
        if isinstance(node, list):
            return _together(self._origins(one, scope) for one in node)
        if not isinstance(node, dict):
            return frozenset()
        match node.get("class"):
            case "COLUMN_REF":
                return scope.origins([name.lower() for name in node["column_names"]])
            case "STAR":
                return None
            case "SUBQUERY":
                columns = self.columns(node["subquery"]["node"], scope)
                return _together([self._origins(node["child"], scope), *(origins for _, origins in columns)])
            case "LAMBDA" if node["expr"]["class"] != "CONSTANT":  # with a constant it is the arrow into JSON
                lhs = node["lhs"]
                parameters = [lhs] if lhs["class"] == "COLUMN_REF" else lhs["children"]
                own = _Relation("", [(parameter["column_names"][0], frozenset()) for parameter in parameters])
                return self._origins(node["expr"], scope.within([own]))
        return _together(self._origins(value, scope) for value in node.values())


def _together(parts: Iterable[_Origins]) -> _Origins:
    origins = list(parts)
    return None if None in origins else frozenset().union(*filter(None, origins))


def _unite(left: _Columns, right: _Columns, *, by_name: bool = False) -> _Columns:
    both = [*left, *right]
    if by_name:
        names = dict.fromkeys(name for name, _ in both)
        return [(name, _together(origins for column, origins in both if column == name)) for name in names]
    if any(name == "*" for name, _ in both):
        return _SEVERAL
    return [(name, _together([origins, other])) for (name, origins), (_, other) in zip(left, right, strict=True)]


def _rename(columns: _Columns, aliases: Sequence[str]) -> _Columns:
    if aliases and any(name == "*" for name, _ in columns):
        return [*((alias, None) for alias in aliases), *_SEVERAL]
    return [(alias or column[0], column[1]) for column, alias in zip_longest(columns, aliases)]


def _has_star(node: Any) -> bool:
    parts = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return (isinstance(node, dict) and node.get("class") == "STAR") or any(map(_has_star, parts))
