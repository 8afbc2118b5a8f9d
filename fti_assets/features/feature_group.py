"""Declaring feature groups: unencoded columns with keys and times, one table and one asset a version."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Literal, Unpack

from fti_assets.core.arguments import caller_names, checked_arguments, checked_function
from fti_assets.core.sql import checked_name
from fti_assets.core.times import duration, lookback_of
from fti_assets.engines.choice import checked_engine
from fti_assets.errors import DeclarationError, one_of
from fti_assets.features.asset import feature_group_asset
from fti_assets.features.groups.checks import check_group, checked_terms
from fti_assets.features.groups.group import DEFAULT_ONLINE_HISTORY, FeatureGroup, is_spark_frame, is_spark_session
from fti_assets.features.groups.streams import check_stream
from fti_assets.features.groups.timed_table import TimedTable
from fti_assets.features.rows.duplicates import Duplicates, checked_duplicates
from fti_assets.features.rows.table import Table
from fti_assets.orchestration.options import AssetOptions
from fti_assets.orchestration.signature import annotations_of, parameters_of
from fti_assets.stores.streams.stream import EventStream


@checked_arguments(options=AssetOptions, itself=["version", "duplicates", "rename", "stream"])
def feature_group(
    *,
    keys: str | Sequence[str],
    name: str | None = None,
    version: int = 1,
    event_time: str | None = None,
    available_at: str | None = None,
    serving_delay: str | timedelta | None = None,
    ttl: str | timedelta | None = None,
    tie_break: str | None = None,
    duplicates: Duplicates = "error",
    schema: Any = None,
    partition_by: str | None = None,
    lookback: str | timedelta | None = None,
    online: bool = False,
    online_history: str | timedelta | None = None,
    rename: Mapping[str, str] | None = None,
    ins: Mapping[str, Any] | None = None,
    stream: EventStream | None = None,
    must_equal_stream: bool = False,
    engine: Literal["duckdb", "spark"] = "duckdb",
    **options: Unpack[AssetOptions],
) -> Callable[[Callable[..., Any]], FeatureGroup]:
    """Declare a feature group: a function that returns rows, and the meaning of the rows.

    The function may take ``context``, a ``config: dg.Config``, resources by annotation, plain Dagster assets by name (stated in
    ``ins`` if they are made elsewhere), and other groups and monitors as lazy relations: parameters annotated ``fti.Table``. It
    returns a frame of pandas, polars or narwhals, an Arrow table, a DuckDB relation or a ``Table``: all rows of the partitions that
    are run. A group without partitions may return ``fti.Changes`` or an ``fti.ChangeFeed`` instead, and take the feed's last
    position by a parameter annotated ``fti.FeedPosition``.

    Args:
        keys: the columns that name the entity.
        name: the group's name, by default the function's.
        version: names the asset and its table (``weather_v1``); a changed schema needs a new one.
        event_time: the column that says when a row was true; without it the group is a lookup, one row per key.
        available_at: the column that says when a system could first use the row; by default event time plus
            ``serving_delay``.
        serving_delay: how long after its event time a row can be used; must be stated for an online group that names no
            ``available_at``.
        ttl: how long after its event time a row still answers; forever by default.
        tie_break: the column whose greatest value wins among rows with equal keys and times.
        duplicates: what to do with rows with equal keys and times within a run: ``"error"`` refuses them,
            ``fti.KeepLast("loaded_at")`` keeps the last by a column. This happens before the rows are validated.
        schema: a Pandera model or schema, checked before anything is stored.
        partition_by: the column whose time decides the partition of a row; event time by default.
        lookback: how far before its own partitions the group reads its input groups; ``"lifetime"`` is all that came before.
        online: load the group to the online store too.
        online_history: how far back the online store answers; ttl plus delay by default, 7 days without a ttl.
        rename: the source's name of a column to the group's, ``{"Order ID": "order_id"}``, for names with capitals or spaces.
            Everything else in the declaration, the schema too, uses the group's names.
        ins: groups for ``fti.Table`` parameters that cannot be found by name, and what ``@dg.asset`` takes.
        stream: where the same rows come from as they happen, ``fti.NatsStream(...)``, ``fti.KafkaStream(...)`` or
            ``fti.RedisStream(...)``. ``fti stream`` takes them, and the function returns the rows of whole partitions from an
            archive. Needs ``available_at`` (when the broker stored an event), a schema, and partitions of time.
        must_equal_stream: refuse a run over a streamed partition whose rows are not those of the stream; by default the check
            ``equals_stream`` warns, and the rows of the run are stored.
        engine: ``"spark"`` for a function of Spark. Other groups are then parameters annotated ``pyspark.sql.DataFrame`` instead of
            ``fti.Table``, a parameter annotated ``pyspark.sql.SparkSession`` gets the session, and the function returns a
            ``DataFrame`` of that session. The stores name the Spark server. Its rows are checked and stored like any others.
        options: every parameter of ``@dg.asset``, with its own meaning. By default a group whose time partitions have no end has a
            ``freshness_policy``: Dagster warns once a partition must be missing, two partitions and the serving delay after the last run.
            It reports a failure ``ttl`` after the last run, or without a ``ttl`` after twice as long. None leaves the policy out.

    Raises:
        DeclarationError: the declaration is impossible.

    >>> import pandas as pd
    >>> @feature_group(keys=["customer_id"])
    ... def customers() -> pd.DataFrame:
    ...     return pd.DataFrame({"customer_id": [1], "age": [33.0]})
    >>> customers.table_name
    'customers_v1'
    """
    caller_scope = caller_names()

    def declare(function: Callable[..., Any]) -> FeatureGroup:
        checked_function(function, over="fti.feature_group")
        own_name = checked_name(name or function.__name__, what="feature group")
        annotations = annotations_of(function, caller_scope)
        terms = checked_terms(keys, rename, serving_delay, ttl, schema, what=repr(own_name))
        if checked_engine(engine, what=repr(own_name)) == "auto":
            raise DeclarationError(
                f"feature group {own_name!r} has engine='auto', but its function is written for one engine: leave it out, or write 'spark' "
                "for a function of Spark's DataFrames. Datasets and predictions take 'auto'"
            )
        groups, other_ins = group_inputs(function, annotations, ins or {}, caller_scope, engine)
        group = FeatureGroup(
            name=own_name,
            version=version,
            function=function,
            event_time=event_time,
            available_at=available_at,
            tie_break=tie_break,
            duplicates=checked_duplicates(duplicates, what=repr(own_name)),
            partition_by=partition_by or event_time,
            lookback=lookback_of(lookback, what=f"lookback of {own_name!r}"),
            online=online,
            online_history=_online_history(online_history, ttl, serving_delay, own_name),
            inputs=groups,
            annotations=annotations,
            asset_ins=other_ins,
            options=options,
            to_asset=feature_group_asset,
            stream=stream,
            must_equal_stream=must_equal_stream,
            engine=engine,
            **terms,
        )
        check_group(group)
        if stream is not None:
            check_stream(group)
        elif must_equal_stream:
            raise DeclarationError(
                f"feature group {group.table_name} has must_equal_stream=True but takes no stream: give stream=, or leave it out"
            )
        return group

    return declare


def _online_history(
    history: str | timedelta | None, ttl: str | timedelta | None, delay: str | timedelta | None, name: str
) -> timedelta:
    if history is not None:
        return duration(history, what=f"online_history of {name!r}")
    if ttl is None:
        return DEFAULT_ONLINE_HISTORY
    return duration(ttl) + duration(delay or timedelta(0))


def _is_no_more(hints: Mapping[str, Any], parameter: str) -> bool:
    """Whether an annotation says no more than that the parameter is rows of some kind: no resource, no config."""
    hint = hints.get(parameter)
    return hint is None or getattr(hint, "__name__", "") in (
        "Any",
        "DataFrame",
        "Table",
        "DuckDBPyRelation",
        "FeatureGroup",
    )


def _refuse_other_engine(function: Callable[..., Any], hints: Mapping[str, Any], engine: str) -> None:
    """Refuse parameters that the other engine would fill."""
    parameters = parameters_of(function)
    own, of_spark = (
        [name for name in parameters if hints.get(name) is Table],
        [name for name in parameters if is_spark_frame(hints.get(name)) or is_spark_session(hints.get(name))],
    )
    if engine == "spark" and own:
        raise DeclarationError(
            f"parameter {own[0]!r} of {function.__name__!r} is an fti.Table, and engine='spark' gives frames of Spark: annotate it "
            "pyspark.sql.DataFrame"
        )
    if engine != "spark" and of_spark:
        raise DeclarationError(
            f"parameter {of_spark[0]!r} of {function.__name__!r} is annotated as Spark's: write engine='spark' in its "
            "@fti.feature_group, or annotate a group fti.Table"
        )


def group_inputs(
    function: Callable[..., Any],
    hints: Mapping[str, Any],
    ins: Mapping[str, Any],
    caller_names: Mapping[str, Any],
    engine: str = "duckdb",
) -> tuple[dict[str, TimedTable], dict[str, Any]]:
    """The groups and monitors that a function's ``fti.Table`` parameters name, and the ``ins`` that are Dagster's own.

    Raises:
        DeclarationError: a parameter names no group.
    """
    names = {**function.__globals__, **caller_names}
    _refuse_other_engine(function, hints, engine)
    is_group = is_spark_frame if engine == "spark" else (lambda hint: hint is Table)
    kind = "pyspark.sql.DataFrame" if engine == "spark" else "fti.Table"
    groups: dict[str, TimedTable] = {}
    for parameter in parameters_of(function):
        if not is_group(hints.get(parameter)):
            if isinstance(names.get(parameter), TimedTable) and parameter not in ins and _is_no_more(hints, parameter):
                raise DeclarationError(
                    f"parameter {parameter!r} of {function.__name__!r} is called like a feature group, but is not annotated as "
                    f"one: write {parameter}: {kind}"
                    + (f", whose rows are {parameter}.df() or {parameter}.relation" if kind == "fti.Table" else "")
                )
            continue
        result = ins.get(parameter, names.get(parameter))
        if not isinstance(result, TimedTable):
            group_names = sorted(name for name, value in names.items() if isinstance(value, TimedTable))
            raise DeclarationError(
                f"parameter {parameter!r} of {function.__name__!r} is an {kind}, but no feature group has that name here; "
                f"there is {one_of(group_names)}. Import the group, or give it in ins={{{parameter!r}: the_group}}"
            )
        groups[parameter] = result
    strays = [name for name, value in ins.items() if isinstance(value, TimedTable) and name not in groups]
    if strays:
        raise DeclarationError(
            f"ins of {function.__name__!r} gives a feature group for {one_of(strays)}, which is not a parameter annotated "
            f"{kind}"
        )
    return groups, {name: value for name, value in ins.items() if name not in groups}
