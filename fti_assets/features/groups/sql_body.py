"""The SQL of a feature group: one SELECT over tables that it is given, read by DuckDB's own parser."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import duckdb

from fti_assets.errors import DataError, DeclarationError, list_phrases, list_some, one_of
from fti_assets.features.rows.table import Table
from fti_assets.stores.duckdb.relations import name_relation
from fti_assets.stores.duckdb.syntax import syntax_trees

PARAMETERS = ("start", "end", "partition")
_TABLE_FUNCTIONS = {"range", "generate_series", "unnest"}
_CLOCK_WORDS = {"current_date", "current_time", "current_timestamp", "localtime", "localtimestamp"}
"""Words of SQL that are the clock where no column has their name; DuckDB's parser takes them for columns."""
_CLOCK_FUNCTIONS = {
    "ago",
    "current_localtime",
    "current_localtimestamp",
    "pg_conf_load_time",
    "pg_postmaster_start_time",
}
"""What DuckDB does not say to be other from query to query: macros, and functions of its extension ICU."""
OUTSIDE_FUNCTIONS = {"getenv", "current_setting", "getvariable", "nextval", "currval"}
"""What reads the process or the database and no table."""


@dataclass(frozen=True)
class SqlBody:
    """One SELECT statement. Make one with ``sql_body``.

    Args:
        text: the SQL.
        place: where it is from, for errors: a file's name, or what was declared.
        tables: the names that it reads and does not define itself, in lower case, each with its line.
        parameters: the parameters that it takes, ``start``, ``end`` or ``partition``.
    """

    text: str
    place: str
    tables: Mapping[str, int]
    parameters: tuple[str, ...]

    @property
    def comment(self) -> str | None:
        """What the comment at its head says."""
        lines = []
        for line in self.text.strip().splitlines():
            if not line.startswith("--"):
                break
            lines.append(line.lstrip("-").strip())
        return "\n".join(lines) or None

    def relation(
        self, connection: duckdb.DuckDBPyConnection, tables: Mapping[str, Table], values: Mapping[str, str]
    ) -> duckdb.DuckDBPyRelation:
        """The rows, lazily.

        Args:
            connection: the connection that the tables belong to.
            tables: what the names stand for.
            values: the SQL literal of each parameter.

        Raises:
            DataError: the tables have no such columns, or columns of other types.
        """
        for name, table in tables.items():
            name_relation(table.relation, name)
        try:
            return connection.sql(fill(self.text, values))
        except duckdb.Error as error:
            raise DataError(f"{self.place}{_line_of(error)}: {_first_line(error)}") from error


def sql_body(text: str, *, place: str) -> SqlBody:
    """Read the SQL of a group.

    Raises:
        DeclarationError: it is not one SELECT, it reads or writes something that is not a table given to it, calls a function
            that differs from run to run, or takes other parameters than ``$start``, ``$end`` and ``$partition``.

    >>> sql_body("SELECT carrier, count(*) AS n FROM arrivals WHERE landed_at < $end GROUP BY 1", place="late.sql").tables
    {'arrivals': 1}
    """
    try:
        statements = duckdb.extract_statements(text)
    except duckdb.Error as error:
        raise DeclarationError(f"{place}{_line_of(error)}: {_first_line(error)}") from error
    # By statement types: execute would run each statement that a semicolon parts from the one before.
    kinds = [statement.type.name for statement in statements]
    if kinds != ["SELECT"]:
        raise DeclarationError(
            f"{place}: a group in SQL is one SELECT statement, there is {list_phrases(kinds) if kinds else 'none'}: what makes, changes or "
            "attaches something has no place in it"
        )
    unknown = sorted(set(statements[0].named_parameters) - set(PARAMETERS))
    if unknown:
        raise DeclarationError(
            f"{place} takes the parameter {one_of(unknown)}: there is {list_some(f'${p}' for p in PARAMETERS)}"
        )
    (tree,) = syntax_trees([text])
    if "error_message" in tree:
        raise DeclarationError(f"{place}: DuckDB cannot read it as a SELECT: {tree['error_message']}")
    tables: dict[str, int] = {}
    for name, position in _tables(tree, frozenset(), place, text):
        tables.setdefault(name, _line(text, position))
    return SqlBody(text, place, tables, tuple(sorted(statements[0].named_parameters)))


def fill(text: str, values: Mapping[str, str]) -> str:
    """The SQL with literals for its parameters; what looks like one inside text or a comment stays.

    >>> fill("SELECT '$end' WHERE t < $end -- $end", {"end": "TIMESTAMP '2013-01-01'"})
    "SELECT '$end' WHERE t < TIMESTAMP '2013-01-01' -- $end"
    """
    raw, parts, position_before = text.encode(), [], 0  # DuckDB's positions count bytes
    for position, _ in duckdb.tokenize(text):
        parameter = re.compile(rb"\$(\w+)").match(raw, position)
        if parameter is not None and (name := parameter[1].decode().lower()) in values:
            parts += [raw[position_before:position], values[name].encode()]
            position_before = parameter.end()
    return b"".join([*parts, raw[position_before:]]).decode()


def _tables(node: Any, ctes: frozenset[str], place: str, text: str) -> Iterator[tuple[str, int]]:
    """The tables that a node of DuckDB's syntax tree reads and no WITH around it defines, with their positions."""
    if isinstance(node, list):
        for one in node:
            yield from _tables(one, ctes, place, text)
    if not isinstance(node, dict):
        return
    for entry in (node.get("cte_map") or {}).get("map") or []:
        query, name = entry["value"]["query"]["node"], entry["key"].lower()
        itself = {name} if query.get("type") == "RECURSIVE_CTE_NODE" else set()
        yield from _tables(query, ctes | itself, place, text)
        ctes |= {name}
    _refuse(node, place, text)
    if node.get("type") == "BASE_TABLE" and node["table_name"].lower() not in ctes:
        yield node["table_name"].lower(), node["query_location"]
    yield from _tables([value for name, value in node.items() if name != "cte_map"], ctes, place, text)


def _refuse(node: dict[str, Any], place: str, text: str) -> None:
    """Refuse what reads anything but tables by their plain names."""
    at = f"{place}, line {_line(text, node.get('query_location'))}"
    kind, function = node.get("type"), str(node.get("function_name", "")).lower()
    if kind == "BASE_TABLE" and (node["schema_name"] or node["catalog_name"] or node["at_clause"]):
        name = ".".join(filter(None, [node["catalog_name"], node["schema_name"], node["table_name"]]))
        raise DeclarationError(f"{at} reads {name!r}: name a feature group, which a run gives as of its own time")
    if kind == "SHOW_REF":
        raise DeclarationError(f"{at}: a group in SQL is one SELECT statement, not SHOW, DESCRIBE or SUMMARIZE")
    if kind == "TABLE_FUNCTION":
        function_name = str(node["function"].get("function_name", "")).lower()
        if function_name not in _TABLE_FUNCTIONS:
            raise DeclarationError(
                f"{at} reads {function_name}(): a group in SQL reads feature groups, and of functions only "
                f"{list_some(sorted(_TABLE_FUNCTIONS))}; declare what is outside as an external group"
            )
    if function in OUTSIDE_FUNCTIONS:
        raise DeclarationError(f"{at} calls {function}(), which reads what is outside the groups: leave it out")
    _refuse_unsteady(node, at)


def _refuse_unsteady(node: dict[str, Any], at: str) -> None:
    """Refuse what answers otherwise in the next run, which would then not give the same rows."""
    part = unsteady_part(node)
    if part is None:
        return
    more = ""
    if node.get("sample"):
        more = ", such as WHERE hash(key) % 10 = 0; a seed is not enough, since rows have no order"
    elif node.get("type") == "COLUMN_REF":
        more = f". Of a column of that name, name the table too: the_table.{part.removeprefix('reads ')}"
    raise DeclarationError(f"{at} {part}, {_UNSTEADY}{more}")


def unsteady_part(node: Mapping[str, Any]) -> str | None:
    """What of a node of the syntax tree answers otherwise in the next run, as a verb and its object; None if nothing does."""
    kind, function = node.get("type"), str(node.get("function_name", "")).lower()
    # Of two times age() is the same in every run; with one it counts from today.
    since_today = function == "age" and len(node["children"]) == 1
    if kind == "FUNCTION" and (function in _unsteady_functions() or since_today):
        return "calls age() with one time" if since_today else f"calls {function}()"
    if node.get("sample"):
        return "takes a sample"
    names = [str(name).lower() for name in node.get("column_names", ())] if kind == "COLUMN_REF" else []
    return f"reads {names[0]}" if len(names) == 1 and names[0] in _CLOCK_WORDS else None


_UNSTEADY = (
    "which differs from run to run, so that a rerun would not give the same rows: for now take $end, the first instant after "
    "the partitions that are run; for chance take hash() of the keys"
)


@cache
def _unsteady_functions() -> frozenset[str]:
    """The functions that DuckDB says to be other from row to row or from query to query, but for ``error``."""
    with duckdb.connect(":memory:") as connection:
        rows = connection.execute(
            "SELECT DISTINCT lower(function_name) FROM duckdb_functions() WHERE stability <> 'CONSISTENT'"
        ).fetchall()
    # error() is volatile to DuckDB, since it must not be folded away; it gives no value that could differ.
    return frozenset(name for (name,) in rows) - {"error"} | _CLOCK_FUNCTIONS


def _line(text: str, position: int | None) -> int:
    raw = text.encode()
    return raw[: position if position is not None and position < len(raw) else 0].count(b"\n") + 1


def _line_of(error: Exception) -> str:
    result = re.search(r"^LINE (\d+):", str(error), re.MULTILINE)
    return f", line {result[1]}" if result else ""


def _first_line(error: Exception) -> str:
    return " ".join(str(error).strip().partition("\n\n")[0].split())
