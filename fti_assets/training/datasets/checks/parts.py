"""The checks of a dataset's parts: each has rows, of several classes that train has too, and no key is in two where none may be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import duckdb

from fti_assets.core.manifest import Column
from fti_assets.core.rules import Verdict
from fti_assets.core.sql import quote
from fti_assets.errors import list_some
from fti_assets.training.datasets.checks.rows import ROW_SPLIT
from fti_assets.training.datasets.dataset import IN_TRAIN, LABELS, ONE_PART
from fti_assets.training.datasets.sampling.sample import class_sql
from fti_assets.training.datasets.splits.split import SPLITS

_MOST_CLASSES = 100
_MOST_NUMBERS = 20
"""Numbers are classes where all are whole and they are at most this many, so counts and grades are none."""
_FEW = 100
_MANY_ROWS = 0.05
"""A feature of more categories than ``_FEW`` has new ones all the time: it is told of where more rows than this share have one."""


@dataclass(frozen=True)
class Parts:
    """What the parts hold: the rows of each class by part, none where the label has no classes; the share of keys that are in several
    parts; and what the checks say."""

    classes: Mapping[str, Mapping[str, int]]
    keys_in_several: float
    verdicts: tuple[Verdict, ...] = field(default=())


def judge_parts(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    label: Column,
    label_column: str,
    *,
    categorical: Sequence[str],
    entity: Sequence[str],
    may_share: bool,
    expected: Sequence[str] = SPLITS,
) -> Parts:
    """Judge the parts of a dataset's rows.

    Args:
        table: the quoted name of a table with the features, the label and ``_fti_split``.
        label_column: what the table calls the label.
        categorical: the features that are categories to the model.
        entity: the columns that name what may be in one part only, or the spine's keys.
        may_share: whether a key may be in several parts, as in a split by time.
        expected: the parts that are to have rows.
    """
    classes = _classes(connection, table, label, label_column)
    keys, several = _keys_in_several(connection, table, entity)
    verdicts = [
        _labels(connection, table, label, label_column, classes, expected),
        _unseen(connection, table, categorical),
    ]
    if not may_share:
        problem = (
            f"{several} of {keys} values of {list_some(entity)} are in more than one part, which the split rules out: rows were changed "
            "while they were read, so materialize it again"
        )
        verdicts.append(Verdict(ONE_PART, several, (), problem if several else ""))
    return Parts(classes, several / keys if keys else 0.0, tuple(verdicts))


def _classes(
    connection: duckdb.DuckDBPyConnection, table: str, label: Column, column: str
) -> dict[str, dict[str, int]]:
    """The rows of each class by part, the most frequent first; nothing where the label has no classes, or too many to list."""
    y = quote(column)
    distinct = [
        one for (one,) in connection.execute(f"SELECT DISTINCT {y} FROM {table} LIMIT {_MOST_CLASSES + 1}").fetchall()
    ]
    are_whole = label.type in ("integer", "number") and all(float(one).is_integer() for one in distinct)
    most = _MOST_NUMBERS if are_whole else _MOST_CLASSES if label.type in ("text", "boolean") else 0
    if len(distinct) > most:
        return {}
    counts = ", ".join(f"count(*) FILTER ({ROW_SPLIT} = '{part}')" for part in SPLITS)
    rows = connection.execute(
        f"SELECT {class_sql(y, label.type)} AS class, {counts} FROM {table} GROUP BY 1 ORDER BY count(*) DESC, 1"
    ).fetchall()
    return {part: {str(name): int(row[number]) for name, *row in rows} for number, part in enumerate(SPLITS)}


def _keys_in_several(connection: duckdb.DuckDBPyConnection, table: str, entity: Sequence[str]) -> tuple[int, int]:
    columns = ", ".join(map(quote, entity))
    [(keys, several)] = connection.execute(
        f"SELECT count(*), count(*) FILTER (first <> last) FROM (SELECT min({ROW_SPLIT}) AS first, max({ROW_SPLIT}) AS last "
        f"FROM {table} GROUP BY {columns})"
    ).fetchall()
    return int(keys), int(several)


def _labels(
    connection: duckdb.DuckDBPyConnection,
    table: str,
    label: Column,
    column: str,
    classes: Mapping[str, Mapping[str, int]],
    expected: Sequence[str],
) -> Verdict:
    y = quote(column)
    rows = {
        part: (count, least == most, least)
        for part, count, least, most in connection.execute(
            f"SELECT {ROW_SPLIT}, count(*), min({y}), max({y}) FROM {table} GROUP BY 1"
        ).fetchall()
    }
    empty = [part for part in expected if part not in rows]
    ways = [f"there is no row in {list_some(empty)}"] if empty else []
    same = [part for part in SPLITS if part in rows and rows[part][0] > 1 and rows[part][1]]
    ways += [f"the label {label.name!r} is {rows[part][2]!r} in all {rows[part][0]} rows of {part}" for part in same]
    lacking = {
        name: counts
        for name in classes.get("train", {})
        if not classes["train"][name]
        and (counts := {part: classes[part][name] for part in SPLITS[1:] if classes[part][name]})
    }
    ways += [
        f"train has no row of the class {name!r}, of which {' and '.join(f'{part} has {count}' for part, count in counts.items())}"
        for name, counts in lacking.items()
    ]
    return Verdict(LABELS, len(empty) + len(same) + len(lacking), (), "; ".join(ways))


def _unseen(connection: duckdb.DuckDBPyConnection, table: str, categorical: Sequence[str]) -> Verdict:
    """Judge by the categories of validation and test that no train row has."""
    [(later,)] = connection.execute(f"SELECT count(*) FROM {table} WHERE {ROW_SPLIT} <> 'train'").fetchall()
    ways = []
    for name in categorical:
        value = quote(name)
        in_train, unseen, rows, example = connection.execute(
            "SELECT count(*) FILTER (train > 0), count(*) FILTER (train = 0), coalesce(sum(later) FILTER (train = 0), 0)::BIGINT, "
            "arg_max(value, (later, value)) FILTER (train = 0) FROM (SELECT "
            f"{value} AS value, count(*) FILTER ({ROW_SPLIT} = 'train') AS train, count(*) FILTER ({ROW_SPLIT} <> 'train') AS later "
            f"FROM {table} WHERE {value} IS NOT NULL AND {value}::VARCHAR <> '' GROUP BY 1)"
        ).fetchall()[0]
        if unseen and (in_train <= _FEW or rows > _MANY_ROWS * later):
            ways.append(f"{name!r} has {unseen} that no train row has, such as {example!r}, in {rows} of {later} rows")
    problem = f"of the categories in validation and test, {'; '.join(ways)}: the encoder takes them as unknown"
    return Verdict(IN_TRAIN, len(ways), (), problem if ways else "")
