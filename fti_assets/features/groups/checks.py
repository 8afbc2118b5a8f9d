"""What makes a feature group's declaration impossible."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from fti_assets.core.names import checked_version
from fti_assets.core.times import duration
from fti_assets.errors import DeclarationError, list_some, one_of
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.groups.timed_table import TimedTable
from fti_assets.features.rows.duplicates import KeepLast
from fti_assets.features.rows.rename import checked_column, checked_rename
from fti_assets.features.rows.table import partitioned_by_arrival
from fti_assets.features.validation.schema import pandera_schema
from fti_assets.orchestration.partitions import is_timed, refuse_unsupported


def checked_terms(
    keys: str | Sequence[str],
    rename: object,
    serving_delay: str | timedelta | None,
    ttl: str | timedelta | None,
    schema: Any,
    *,
    what: str,
) -> dict[str, Any]:
    """What groups of functions and of other systems declare alike, as a FeatureGroup holds it."""
    names = checked_rename({} if rename is None else rename, what=what)
    own = [keys] if isinstance(keys, str) else keys
    twice = [key for key, times in Counter(own).items() if times > 1]
    if twice:
        raise DeclarationError(f"keys of {what} name {list_some(twice)} more than once: name each column once")
    return {
        "keys": tuple(checked_column(key, names, what=f"key of {what}") for key in own),
        "rename": names,
        "serving_delay": None if serving_delay is None else duration(serving_delay, what=f"serving_delay of {what}"),
        "ttl": None if ttl is None else duration(ttl, what=f"ttl of {what}"),
        "schema": None if schema is None else pandera_schema(schema, what=what),
    }


def check_group(group: FeatureGroup) -> None:
    """Raise a DeclarationError if a group's declaration is impossible."""
    checked_version(group.version, what=f"feature group {group.name}")
    what = f"feature group {group.table_name}"
    if not group.keys:
        raise DeclarationError(f"{what} has no keys: name the columns that identify the entity, keys=['customer_id']")
    if group.event_time is None:
        terms = {"available_at": group.available_at, "serving_delay": group.serving_delay, "ttl": group.ttl}
        time_terms = [name for name, value in terms.items() if value is not None]
        if time_terms:
            raise DeclarationError(
                f"{what} states {one_of(time_terms)} but no event_time: name the column that says when a row was true"
            )
    if group.available_at is not None and group.serving_delay is not None:
        raise DeclarationError(
            f"{what} states both available_at={group.available_at!r} and a serving_delay: the column already says when "
            "a row could be used, so leave out serving_delay"
        )
    has_delay = group.available_at is not None or group.serving_delay is not None
    if (
        group.online and group.event_time is not None and group.stream is None and not has_delay
    ):  # of a stream more is asked
        raise DeclarationError(
            f"{what} is online but does not say when its rows can be used: name the available_at column, or state "
            "serving_delay, the time from a row's event time to the end of the run that stores it"
        )
    for name in [*group.time_columns, *filter(None, [group.tie_break, group.partition_by])]:
        checked_column(name, group.rename, what=f"column of {what}")
    if is_timed(group.partitions_def) and group.partition_by is None:
        raise DeclarationError(
            f"{what} has time partitions but neither event_time nor partition_by: say which column tells a row's partition"
        )
    own_times = (group.event_time, group.available_at, None)
    if group.partitions_def is not None and not is_timed(group.partitions_def) and group.partition_by not in own_times:
        raise DeclarationError(
            f"{what} has partition_by={group.partition_by!r}, but its partitions are no spans of time: leave it out, the rows that a run "
            "gives are those of its partition"
        )
    for name in dict.fromkeys([*group.time_columns, *filter(None, [group.partition_by])]):
        kind = (group.columns or {}).get(name)
        if kind not in ("timestamp", None):
            raise DeclarationError(f"{what}: {name!r} says when, but its schema declares {kind}: make it a timestamp")
    kept_by = group.duplicates.by if isinstance(group.duplicates, KeepLast) else None
    columns = [
        *group.keys,
        *group.time_columns,
        *(name for name in (group.tie_break, group.partition_by, kept_by) if name),
    ]
    for name in columns:
        if (group.columns or {}).get(name) == "vector":
            raise DeclarationError(
                f"{what}: {name!r} is a key, a time or the column that tells rows apart, but its schema declares a vector: two may "
                "be nearly equal, so name a column of text or whole numbers"
            )
    for name in group.columns or ():
        checked_column(name, group.rename, what=f"column of {what}")
    group.refuse_unknown_columns(columns if group.windows is None else group.keys)
    refuse_unsupported(group.partitions_def, what=what)
    for parameter, other in group.inputs.items():
        if isinstance(other, FeatureGroup) and other.windows is not None:
            raise DeclarationError(
                f"{what} takes {other.table_name} as its input {parameter!r}, which has no rows: its windows are computed at each "
                f"prediction. Take {one_of(other.inputs)}, or compute windows by fti.window_aggregate(every=...)"
            )
        if other.partitions_def is None or group.partitions_def is None:
            continue
        if type(other.partitions_def) is not type(group.partitions_def):
            raise DeclarationError(
                f"{what} and its input {parameter!r} ({other.table_name}) are partitioned differently: "
                f"{type(group.partitions_def).__name__} and {type(other.partitions_def).__name__}"
            )
        _refuse_other_arrivals(group, parameter, other)


def _refuse_other_arrivals(group: FeatureGroup, parameter: str, source: TimedTable) -> None:
    """Refuse windows at each row of a source that is partitioned by when its rows arrive, in a group that is not."""
    arrives = None if source.partition_by == source.event_time else source.partition_by
    if arrives is None or not is_timed(group.partitions_def) or group.partition_by == arrives:
        return
    if has_windows_of_each_row(group.function, parameter):
        raise DeclarationError(
            f"feature group {group.table_name}: {partitioned_by_arrival(source.table_name, arrives)}"
        )


def has_windows_of_each_row(function: Callable[..., Any], parameter: str) -> bool:
    """Whether a function surely asks for a window at each row of a parameter: ``window_aggregate(parameter, ...)`` without ``every``.

    A helper that is called, a parameter that is assigned again and a function without source tell nothing; the run does.
    """
    tree = _tree(function)
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == parameter]
    if any(not isinstance(node.ctx, ast.Load) for node in names):
        return False
    return any(_is_of(call, parameter) and _is_window_aggregate(call.func, function) for call in _calls(tree))


def _tree(function: Callable[..., Any]) -> ast.AST:
    try:
        return ast.parse(textwrap.dedent(inspect.getsource(function)))
    except (OSError, TypeError, SyntaxError):  # a function of a console has no source
        return ast.Module(body=[], type_ignores=[])


def _calls(tree: ast.AST) -> Iterator[ast.Call]:
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def _is_of(call: ast.Call, parameter: str) -> bool:
    keywords = {keyword.arg: keyword.value for keyword in call.keywords}
    rows = call.args[0] if call.args else keywords.get("rows")
    every = keywords.get("every")
    by_row = every is None or (isinstance(every, ast.Constant) and every.value is None)
    return (
        isinstance(rows, ast.Name) and rows.id == parameter and by_row and None not in keywords and len(call.args) <= 1
    )


def _is_window_aggregate(callee: ast.expr, function: Callable[..., Any]) -> bool:
    """Whether a name, or an attribute of a module's name, is the library's own function there."""
    value: Any = None
    if isinstance(callee, ast.Name):
        value = function.__globals__.get(callee.id)
    elif isinstance(callee, ast.Attribute) and isinstance(callee.value, ast.Name):
        module = function.__globals__.get(callee.value.id)
        value = getattr(module, callee.attr, None) if inspect.ismodule(module) else None
    of_windows = str(getattr(value, "__module__", "")).startswith("fti_assets.features.windows")
    return of_windows and getattr(value, "__name__", "") == "window_aggregate"
