"""The label of a row: the latest correction known at a cutoff, by key or as the first outcome within a horizon."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime

import duckdb

from fti_assets.core.sql import not_pushed_down, quote, timestamp
from fti_assets.core.times import microseconds
from fti_assets.errors import DataError, list_some
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.point_in_time.equal_keys import check_equal_keys
from fti_assets.features.rows.visibility import available_sql
from fti_assets.features.spine_rows import LATE
from fti_assets.features.stored_partitions import Span, complete_spans
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.datasets.checks.rows import VISIBLE_LABEL
from fti_assets.training.views.terms import Label

LABEL = "_fti_label"
"""The column of a row's label, null without one."""

_VALUE, _NOT_THERE = "outcome.__fti_value", "outcome.__fti_key_0 IS NULL"


def label_columns(labels: Mapping[str, Label]) -> dict[str, str]:
    """What the rows call each label before they are stored: ``_fti_label``, those of several ``_fti_label_0`` and on."""
    if len(labels) == 1:
        return dict.fromkeys(labels, LABEL)
    return {name: f"{LABEL}_{at}" for at, name in enumerate(labels)}


def visible_column(label_column: str) -> str:
    """What the rows call whether a label was visible at their prediction time."""
    return f"{VISIBLE_LABEL}{label_column.removeprefix(LABEL)}"


def with_labels(
    connection: duckdb.DuckDBPyConnection,
    spine_rows: duckdb.DuckDBPyRelation,
    rows_of: Callable[[Label], duckdb.DuckDBPyRelation | None],
    complete: Callable[[Label], Sequence[Span]],
    labels: Mapping[str, Label],
    spine: FeatureGroup,
    cutoff: datetime,
) -> duckdb.DuckDBPyRelation:
    """Spine rows with each label of a view, as ``with_label`` joins one, under the names of ``label_columns`` and ``visible_column``."""
    columns = label_columns(labels)
    for name, label in labels.items():
        spine_rows = with_label(connection, spine_rows, rows_of(label), label, spine, cutoff, complete=complete(label))
        if columns[name] != LABEL:
            own = {LABEL: columns[name], VISIBLE_LABEL: visible_column(columns[name])}
            renames = ", ".join(f"{before} AS {after}" for before, after in own.items())
            spine_rows = connection.sql(f"SELECT * RENAME ({renames}) FROM {relation_name(spine_rows)}")
    return spine_rows


def with_label(
    connection: duckdb.DuckDBPyConnection,
    spine_rows: duckdb.DuckDBPyRelation,
    labels: duckdb.DuckDBPyRelation | None,
    label: Label,
    spine: FeatureGroup,
    cutoff: datetime,
    *,
    complete: Sequence[Span] = (),
) -> duckdb.DuckDBPyRelation:
    """Spine rows with ``_fti_label`` and whether it was visible at their prediction time.

    Args:
        connection: the one that the rows belong to.
        spine_rows: the spine's rows, each as of its prediction time.
        labels: the rows of the label's group; None if the label is the spine rows' own.
        label: the view's.
        spine: its spine.
        cutoff: the latest correction known by then wins.
        complete: where the label's group has all of its rows, for ``missing=False``, as ``complete_for`` gives it.
    """
    column, group, time = quote(label.name), label.group, quote(spine.event_time or "")
    if labels is None:
        visible = "false" if spine.event_time is None else f"NOT {LATE}"
        return connection.sql(
            f"SELECT * EXCLUDE ({column}), {column} AS {LABEL}, {visible} AS {VISIBLE_LABEL} "
            f"FROM {relation_name(spine_rows)}"
        )
    by_time = label.horizon is not None or group is spine
    _check_keys(spine_rows, labels, label, spine.table_name)
    is_told = _is_told(label, complete, None if spine.event_time is None else f"spine.{time}", cutoff)
    outcomes = relation_name(_outcomes(connection, labels, label, cutoff, by_time=by_time))
    keys = _same_keys(label)
    if label.horizon is not None:
        return connection.sql(
            f"SELECT *, false AS {VISIBLE_LABEL} FROM ({_first_outcome(relation_name(spine_rows), outcomes, label, time, is_told)})"
        )
    columns = "spine.*"
    if group is spine:  # its latest correction says how the row turned out, the one of its time what was known
        columns, keys = f"spine.* EXCLUDE ({column})", f"{keys} AND spine.{time} = outcome.__fti_event"
    visible = "false" if spine.event_time is None else f"coalesce(__fti_since <= spine.{time}, false)"
    return connection.sql(
        f"SELECT {columns}, {_filled(_VALUE, _NOT_THERE, is_told, label)} AS {LABEL}, {visible} AS {VISIBLE_LABEL} "
        f"FROM {relation_name(spine_rows)} spine LEFT JOIN {outcomes} outcome ON {keys}"
    )


def answers_with_label(
    connection: duckdb.DuckDBPyConnection,
    answers: duckdb.DuckDBPyRelation,
    labels: duckdb.DuckDBPyRelation,
    label: Label,
    spine: FeatureGroup,
    *,
    time: str,
    cutoff: datetime,
    complete: Sequence[Span] = (),
) -> duckdb.DuckDBPyRelation:
    """Answers that were given, with ``_fti_label``, null where none has come: by the rules of the rows that a model learns from.

    An answer has its own prediction time, which need not be that of a spine row. So its label comes by the spine's key alone, or as the
    first outcome after the answer within the label's horizon.

    Args:
        connection: the one that the answers belong to.
        answers: with the columns that the label is joined by, and the prediction time.
        labels: the rows of the label's group.
        label: the view's.
        spine: its spine.
        time: the column of the prediction time.
        cutoff: the latest correction known by then wins.
        complete: where the label's group has all of its rows, for ``missing=False``, as ``complete_for`` gives it.

    Raises:
        DataError: the label's own group is the spine, and has several rows of a key: which of them an answer was about cannot be told.
    """
    group, column = label.group, quote(time)
    by_time = label.horizon is not None
    _check_keys(answers, labels, label, "the answers")
    outcomes = relation_name(_outcomes(connection, labels, label, cutoff, by_time=by_time))
    rows, is_told = relation_name(answers), _is_told(label, complete, f"spine.{column}", cutoff)
    if by_time:
        return connection.sql(_first_outcome(rows, outcomes, label, column, is_told))
    if group is spine and group.event_time is not None:
        keys, event = ", ".join(map(quote, group.keys)), quote(group.event_time)
        query = f"SELECT {keys} FROM {relation_name(labels)} GROUP BY ALL HAVING count(DISTINCT {event}) > 1 LIMIT 3"
        if twice := connection.execute(query).fetchall():
            raise DataError(
                f"{group.table_name} has several rows of one {', '.join(group.keys)}, such as "
                f"{list_some(row if len(row) > 1 else row[0] for row in twice)}, so the label {label.name!r} of a logged answer is not "
                "known: give each row a key of its own, or the label within='30d' for the first outcome after each prediction"
            )
    return connection.sql(
        f"SELECT spine.*, {_filled(_VALUE, _NOT_THERE, is_told, label)} AS {LABEL} FROM {rows} spine "
        f"LEFT JOIN {outcomes} outcome ON {_same_keys(label)}"
    )


def complete_for(lake: Lake, label: Label, cutoff: datetime, *, snapshot: int) -> tuple[Span, ...]:
    """The spans in which no row of a label's group says no; none of a label that has no ``missing=False``."""
    return () if label.missing is None else complete_spans(lake, label.group, cutoff, snapshot=snapshot)


def _is_told(label: Label, complete: Sequence[Span], time: str | None, cutoff: datetime) -> str:
    """The SQL of whether a label's group tells of a row, be it by having none: it is complete from the prediction time until the row is
    mature."""
    if time is None:
        return "true" if len(complete) == 1 else "false"
    mature, within = f"{time} + to_microseconds({microseconds(label.age)})", ["false"]
    for start, end in complete:
        since = "true" if start is None else f"{time} >= {timestamp(start)}"
        until = "true" if end is None else f"{mature} <= {timestamp(end)} AND {time} < {timestamp(end)}"
        within.append(f"{since} AND {until}")
    return f"{mature} <= {timestamp(cutoff)} AND ({' OR '.join(within)})"


def _filled(value: str, is_absent: str, is_told: str, label: Label) -> str:
    """The SQL of a label's value, with what a row has of which its group has none; a null that is there is not known.

    Where the group does not tell of every row it tells of none: of the rows with an outcome alone, all would have happened.
    """
    if label.missing is None:
        return value
    # A text is read as what stands beside it, a boolean or a number.
    return f"CASE WHEN ({is_told}) IS NOT TRUE THEN NULL WHEN {is_absent} THEN '0' ELSE {value} END"


def _check_keys(rows: duckdb.DuckDBPyRelation, labels: duckdb.DuckDBPyRelation, label: Label, what: str) -> None:
    pairs = [(label.column.spine_keys.get(key, key), key) for key in label.group.keys]
    check_equal_keys(rows, labels, pairs, what=what, of=label.group.table_name)


def _same_keys(label: Label) -> str:
    return " AND ".join(
        f"spine.{quote(label.column.spine_keys.get(key, key))} = outcome.{quote(f'__fti_key_{number}')}"
        for number, key in enumerate(label.group.keys)
    )


def _first_outcome(rows: str, outcomes: str, label: Label, time: str, is_told: str) -> str:
    """The SQL of rows with the first outcome after a time and within the label's horizon."""
    assert label.horizon is not None
    horizon = f"to_microseconds({microseconds(label.horizon)})"
    is_within = f"coalesce(outcome.__fti_event <= spine.{time} + {horizon}, false)"
    return (
        f"SELECT spine.*, {_filled(f'CASE WHEN {is_within} THEN {_VALUE} END', f'NOT {is_within}', is_told, label)} AS {LABEL} "
        f"FROM {rows} spine ASOF LEFT JOIN {outcomes} outcome ON {_same_keys(label)} AND spine.{time} < outcome.__fti_event"
    )


def _outcomes(
    connection: duckdb.DuckDBPyConnection,
    labels: duckdb.DuckDBPyRelation,
    label: Label,
    cutoff: datetime,
    *,
    by_time: bool,
) -> duckdb.DuckDBPyRelation:
    """Each outcome once, as its latest correction known at the cutoff has it: by key, or by key and event time."""
    group = label.group
    types = dict(zip(labels.columns, map(str, labels.types), strict=True))
    # A text is joined as the lake's catalog is not asked for it: with a NUL in it, it could not be.
    columns = [not_pushed_down(quote(key)) if types.get(key) == "VARCHAR" else quote(key) for key in group.keys]
    keys = ", ".join(f"{column} AS {quote(f'__fti_key_{number}')}" for number, column in enumerate(columns))
    value = f"{quote(label.name)} AS __fti_value"
    if group.event_time is None:
        return connection.sql(
            f"SELECT {keys}, {value}, '-infinity'::TIMESTAMP AS __fti_since FROM {relation_name(labels)}"
        )
    event = quote(group.event_time)
    available = available_sql(group.times)
    visible = f"greatest({event}, {available})"
    each = f"PARTITION BY {', '.join([*map(quote, group.keys), *([event] if by_time else [])])}"
    tie = f", {quote(group.tie_break)} DESC NULLS LAST" if group.tie_break else ""
    since = f"min({visible}) FILTER ({quote(label.name)} IS NOT NULL) OVER ({each}) AS __fti_since"
    return connection.sql(
        f"SELECT {keys}, {value}, {event} AS __fti_event, {since} FROM {relation_name(labels)} "
        f"WHERE {visible} <= {timestamp(cutoff)} "
        f"QUALIFY row_number() OVER ({each} ORDER BY {available} DESC, {event} DESC{tie}) = 1"
    )
