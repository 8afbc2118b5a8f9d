"""External groups: a table that another system computes, with what its rows mean. It is joined where it lies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import timedelta
from typing import Any, NoReturn, TypedDict, Unpack, cast

import dagster as dg

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.sql import checked_name
from fti_assets.errors import DeclarationError, excerpt
from fti_assets.features.external.asset import external_group_asset
from fti_assets.features.groups.checks import check_group, checked_terms
from fti_assets.features.groups.group import DEFAULT_ONLINE_HISTORY, FeatureGroup
from fti_assets.orchestration.options import AssetOptions
from fti_assets.stores.sources.parquet_files import ParquetFiles
from fti_assets.stores.sources.source import ExternalSource
from fti_assets.stores.sources.tables import DuckDBTable, PostgresTable


class ExternalOptions(TypedDict, total=False):
    """What ``dg.AssetSpec`` takes that an observed table can have, with its own meaning; a test holds the two equal."""

    key: dg.AssetKey | str | Sequence[str] | None
    key_prefix: str | Sequence[str] | None
    deps: Iterable[Any] | None
    description: str | None
    metadata: Mapping[str, Any] | None
    group_name: str | None
    code_version: str | None
    freshness_policy: dg.FreshnessPolicy | None
    automation_condition: dg.AutomationCondition[Any] | None
    owners: Sequence[str] | None
    tags: Mapping[str, str] | None
    kinds: AbstractSet[str] | None


@checked_arguments(options=ExternalOptions, of="dg.AssetSpec", itself=["source", "version", "rename"])
def external_group(
    *,
    name: str,
    source: ExternalSource,
    keys: Sequence[str],
    version: int = 1,
    event_time: str | None = None,
    available_at: str | None = None,
    serving_delay: str | timedelta | None = None,
    ttl: str | timedelta | None = None,
    tie_break: str | None = None,
    schema: Any = None,
    validate: bool = False,
    rename: Mapping[str, str] | None = None,
    online: bool = False,
    **options: Unpack[ExternalOptions],
) -> FeatureGroup:
    """Declare a table of another system as a feature group: observed for changes, joined in place, never copied.

    Its asset is observed, not materialized. An observation says which version of the table is there. When the version has changed,
    the default conditions run the assets that depend on it. Nothing observes the table automatically, unless
    ``automation_condition`` says when (``dg.AutomationCondition.on_cron("@hourly")``). A later read cannot reproduce an earlier
    one: a dataset's manifest says which version it read, and its card says that the table is not pinned.

    Args:
        name: the group's name.
        source: where the table is: ``ParquetFiles``, ``PostgresTable`` or ``DuckDBTable``.
        keys: the columns that name the entity.
        version: names the asset (``weather_v1``); raise it when the table's meaning changes.
        event_time: the column that says when a row was true; without it the group is a lookup, one row per key.
        available_at: the column that says when a system could first use the row; by default event time plus
            ``serving_delay``.
        serving_delay: how long after its event time a row can be used.
        ttl: how long after its event time a row still answers; forever by default.
        tie_break: the column whose greatest value wins among rows with equal keys and times.
        schema: a Pandera model or schema. Its columns and types must be there in every observation and join; only its columns are
            then read.
        validate: also check in each observation the schema's other rules, that keys and times are never null, and that no two rows
            share them. This reads every row. The checks only warn, because the table belongs to another system.
        rename: the source's name of a column to the group's, ``{"Order ID": "order_id"}``. Without it a column whose name has
            capitals or spaces is left out, and an observation says so. The schema uses the group's names.
        online: not possible, because nothing is copied.
        options: what ``dg.AssetSpec`` takes, with its own meaning.

    Raises:
        DeclarationError: the declaration is impossible.

    >>> from fti_assets import ParquetFiles
    >>> weather = external_group(
    ...     name="weather", source=ParquetFiles(path="s3://bucket/weather/"), keys=["origin"], event_time="observed_at"
    ... )
    >>> weather["temp"].columns
    ('temp',)
    """
    what = f"external group {checked_name(name, what='external group')!r}"
    if not isinstance(source, ParquetFiles | PostgresTable | DuckDBTable):
        raise DeclarationError(
            f"{what}: source is {excerpt(source)}; give fti.ParquetFiles(path=...), fti.PostgresTable(dsn=..., table=...) or "
            "fti.DuckDBTable(file=..., table=...)"
        )
    if online:
        raise DeclarationError(
            f"{what} cannot be online, since nothing of it is copied: declare a feature group that takes it as an fti.Table "
            "and has online=True"
        )
    terms = checked_terms(keys, rename, serving_delay, ttl, schema, what=what)
    unknown = [option for option in options if option not in ExternalOptions.__annotations__]
    if unknown:
        raise DeclarationError(
            f"{what} takes no {unknown[0]!r}: it is observed, and has no step of its own to set that of"
        )

    def no_function(*_: Any, **__: Any) -> NoReturn:
        raise DeclarationError(f"{what} has no function: another system computes {source.place}")

    group = FeatureGroup(
        name=name,
        version=version,
        function=no_function,
        event_time=event_time,
        available_at=available_at,
        tie_break=tie_break,
        duplicates="error",
        partition_by=event_time,
        lookback=timedelta(0),
        online=False,
        online_history=DEFAULT_ONLINE_HISTORY,
        inputs={},
        annotations={},
        asset_ins={},
        options=cast(AssetOptions, dict(options)),
        to_asset=external_group_asset,
        source=source,
        validate=validate,
        **terms,
    )
    check_group(group)
    group.refuse_unknown_columns(list(group.rename.values()))
    return group
