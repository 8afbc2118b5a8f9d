"""Which columns of which tables each column of a query was made from, told from its SQL by sqlglot.

What counts is what a value is made of: the columns of its expression, partitions and orders of its windows included. What
only decides which rows there are, filters and join keys, does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from fti_assets.errors import FtiError

if TYPE_CHECKING:
    from sqlglot import exp

Sources = dict[str, tuple[tuple[str, str], ...]]
"""The tables and columns that each column of a query is made from."""


class UntoldError(FtiError):
    """The lineage of a query cannot be told."""


def sql_lineage(sql: str, *, tables: Mapping[str, Mapping[str, str]], views: Mapping[str, str]) -> Sources:
    """The sources of each column of a query. Left out are columns that are made of none, such as a count of rows, and those
    whose sources cannot be told, such as ``COLUMNS(...)`` or what a file holds.

    Args:
        sql: one SELECT, as DuckDB writes it.
        tables: the tables at which lineage ends, as they are named in SQL (``lake.features.arrivals_v1``), with the DuckDB
            type of each of their columns.
        views: the SQL behind each view that a query may read, by its name.

    Raises:
        UntoldError: sqlglot cannot read the query, or it reads something that is neither a table nor a view of these.

    >>> sql_lineage("SELECT s.a + 1 AS b, count(*) AS n FROM s GROUP BY 1", tables={"t": {"a": "INT"}}, views={"s": "FROM t"})
    {'b': (('t', 'a'),)}
    """
    from sqlglot import exp, parse_one
    from sqlglot.errors import SqlglotError
    from sqlglot.lineage import lineage

    plain = {name: f"__fti_table_{number}" for number, name in enumerate(tables)}  # sqlglot takes names of one length
    named = {short: name for name, short in plain.items()}
    schema: dict[str, Any] = {plain[name]: dict(columns) for name, columns in tables.items()}
    try:
        query = _expanded(parse_one(sql, dialect="duckdb"), plain, views, depth=0)
        result = lineage(None, query, schema, dialect="duckdb", trim_selects=False, copy=False)
    except (SqlglotError, RecursionError, ValueError, KeyError, IndexError, AttributeError, TypeError) as error:
        raise UntoldError(f"the lineage of {sql[:200]!r} cannot be told: {error}") from error
    sources: Sources = {}
    for column, node in result.items():
        nodes = list(node.walk())
        ends = [end for end in nodes if not end.downstream]
        of_tables = {
            (named.get(end.expression.name, ""), end.name.rpartition(".")[2].strip('"'))
            for end in ends
            if isinstance(end.expression, exp.Table | exp.Placeholder | exp.Star)
        }
        # A column that a query does not have stands for all that it has, which would be a guess.
        known = not any(isinstance(one.expression, exp.Select) for one in nodes)
        if known and of_tables and all(name in tables.get(table, ()) for table, name in of_tables):
            sources[column] = tuple(sorted(of_tables))
    return sources


def _expanded(query: exp.Expr, tables: Mapping[str, str], views: Mapping[str, str], *, depth: int) -> exp.Expr:
    """The query with the SQL of views in their place, and tables under their plain names."""
    from sqlglot import exp, parse_one

    if depth > 50:
        raise UntoldError("views read each other without an end")
    for table in list(_outer_tables(query)):
        name, alias = _name(table), exp.to_identifier(table.alias or table.name, quoted=True)
        if name in tables:
            table.replace(
                exp.Table(this=exp.to_identifier(tables[name], quoted=True), alias=exp.TableAlias(this=alias))
            )
            continue
        if name not in views:
            raise UntoldError(f"the query reads {name!r}, which is not among what its group takes")
        inner = _expanded(parse_one(views[name], dialect="duckdb"), tables, views, depth=depth + 1)
        table.replace(exp.Subquery(this=inner, alias=exp.TableAlias(this=alias)))
    return query


def _outer_tables(query: exp.Expr) -> Iterator[exp.Table]:
    """The tables of a query that are none of its own WITH."""
    from sqlglot import exp
    from sqlglot.optimizer.scope import traverse_scope

    own = {id(source) for scope in traverse_scope(query) for source in scope.sources.values()}
    for table in query.find_all(exp.Table):
        if isinstance(table.this, exp.Identifier) and id(table) in own:
            yield table


def _name(table: Any) -> str:
    """A table's name in SQL without quotes; DuckDB's own catalogs left out."""
    parts = [part.name for part in table.parts]
    return ".".join(parts[1:] if len(parts) > 1 and parts[0] in ("temp", "memory", "main") else parts)
