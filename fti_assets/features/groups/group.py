"""Feature groups: unencoded columns with keys and times, one table and one asset a version."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Unpack

import dagster as dg

from fti_assets.core.arguments import caller_frame, checked_arguments, checked_function
from fti_assets.core.columns import ColumnType
from fti_assets.core.names import TableName
from fti_assets.core.sql import checked_name
from fti_assets.core.times import duration, microseconds
from fti_assets.errors import DeclarationError, one_of
from fti_assets.features.groups.selection import Selection
from fti_assets.features.rows.changes import FeedPosition
from fti_assets.features.rows.duplicates import Duplicates, KeepLast, checked_duplicates
from fti_assets.features.rows.rename import checked_column, checked_rename
from fti_assets.features.validation.schema import column_types, pandera_schema
from fti_assets.orchestration.options import AssetOptions
from fti_assets.orchestration.partitions import refuse_unsupported
from fti_assets.orchestration.step import asset_key
from fti_assets.stores.sources.external import ExternalSource

if TYPE_CHECKING:
    import pandera.pandas as pa

DEFAULT_ONLINE_HISTORY = timedelta(days=7)


@checked_arguments(instead="@fti.feature_group(keys=[...]) over a function")
@dataclass(frozen=True, eq=False, repr=False)
class FeatureGroup:
    """A declared feature group. Make one with ``feature_group``.

    ``group["column"]`` selects columns for a view, ``group.key`` is its asset key for ``deps=[...]``, ``group.assets_def``
    its asset, and calling it calls the function.
    """

    name: str
    version: int
    function: Callable[..., Any]
    keys: tuple[str, ...]
    event_time: str | None
    available_at: str | None
    serving_delay: timedelta | None
    ttl: timedelta | None
    tie_break: str | None
    duplicates: Duplicates
    schema: pa.DataFrameSchema | None
    partition_by: str | None
    lookback: timedelta
    online: bool
    online_history: timedelta
    inputs: Mapping[str, FeatureGroup]
    annotations: Mapping[str, Any] = field(repr=False)
    asset_ins: Mapping[str, Any] = field(repr=False)
    options: AssetOptions = field(repr=False)
    rename: Mapping[str, str] = field(default_factory=dict, repr=False)
    source: ExternalSource | None = None
    validate: bool = False
    body: str = field(default="", repr=False)

    def __repr__(self) -> str:
        return f"feature group {self.table}"

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self.function(*arguments, **named)

    def __getitem__(self, columns: str | tuple[str, ...]) -> Selection:
        return Selection(self)[columns]

    @checked_arguments(method=True)
    def on(self, **spine_to_group: str) -> Selection:
        """Join where a spine column equals a key of another name: ``airports.on(dest="airport")``."""
        return Selection(self).on(**spine_to_group)

    @checked_arguments(method=True)
    def prefix(self, text: str) -> Selection:
        """Name each feature ``<text><column>``."""
        return Selection(self).prefix(text)

    @property
    def table(self) -> str:
        """The group's table, asset and online namespace: ``weather_v1``."""
        return f"{self.name}_v{self.version}"

    @property
    def table_name(self) -> TableName:
        return TableName("features", self.table)

    @property
    def partitions_def(self) -> dg.PartitionsDefinition[str] | None:
        return self.options.get("partitions_def")

    @cached_property
    def columns(self) -> dict[str, ColumnType | None] | None:
        """The columns that the schema declares and their types; None without a schema."""
        return None if self.schema is None else column_types(self.schema)

    @property
    def times(self) -> tuple[str, ...]:
        """The columns that say when a row was true and could be used."""
        return tuple(name for name in (self.event_time, self.available_at) if name is not None)

    @property
    def position_parameters(self) -> tuple[str, ...]:
        """The function's parameters that take the position of its change feed."""
        return tuple(name for name, annotation in self.annotations.items() if annotation is FeedPosition)

    @property
    def delay_us(self) -> int:
        """The serving delay in whole microseconds, 0 if none is stated."""
        return microseconds(self.serving_delay or timedelta(0))

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns that no two rows share."""
        return (*self.keys, *self.times, *((self.tie_break,) if self.tie_break else ()))

    def source_name(self, column: str) -> str:
        """What the source calls a column."""
        return next((source for source, name in self.rename.items() if name == column), column)

    def refuse_unknown_columns(self, names: Sequence[str]) -> None:
        """Raise a DeclarationError if a column is not in the schema; without a schema, nothing can be said yet."""
        for name in names:
            checked_column(name, self.rename, what=f"column of {self.table}")
        unknown = [name for name in dict.fromkeys(names) if self.columns is not None and name not in self.columns]
        if unknown:
            raise DeclarationError(
                f"{self.table} has no column {one_of(unknown)}: its schema has {one_of(self.columns or ())}"
            )

    @property
    def upstream(self) -> tuple[FeatureGroup, ...]:
        """The groups that it rests on, near and far."""
        near = self.inputs.values()
        return tuple(dict.fromkeys([*near, *(far for source in near for far in source.upstream)]))

    @property
    def depth(self) -> int:
        """How many groups stand behind it, one behind another."""
        return max((1 + source.depth for source in self.inputs.values()), default=0)

    @property
    def key(self) -> dg.AssetKey:
        """The asset's key, for ``deps=[...]``."""
        return asset_key(self.options, self.table)

    @cached_property
    def assets_def(self) -> dg.AssetsDefinition:
        """The Dagster asset, built once."""
        if self.source is not None:
            from fti_assets.features.external.asset import build_external_group

            return build_external_group(self)
        from fti_assets.features.asset import build_feature_group

        return build_feature_group(self)


@checked_arguments(options=AssetOptions, itself=["version", "duplicates", "rename"])
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
    **options: Unpack[AssetOptions],
) -> Callable[[Callable[..., Any]], FeatureGroup]:
    """Declare a feature group: a function that gives rows, and what they mean.

    The function may take ``context``, a ``config: dg.Config``, resources by annotation, plain Dagster assets by name
    (stated in ``ins`` if they are made elsewhere), and other groups as lazy relations: parameters annotated
    ``fti.Table``. It gives a frame of pandas, polars or narwhals, an Arrow table, a DuckDB relation or a ``Table``:
    all rows of the partitions that are run. A group without partitions may give ``fti.Changes`` or an
    ``fti.ChangeFeed`` instead, and take the feed's last position by a parameter annotated ``fti.FeedPosition``.

    Args:
        keys: the columns that name the entity.
        name: the group's name, by default the function's.
        version: names the asset and its table (``weather_v1``); a changed schema needs a new one.
        event_time: the column that says when a row was true; without it the group is a lookup, one row a key.
        available_at: the column that says when a system could first use the row; by default event time plus
            ``serving_delay``.
        serving_delay: how long after its event time a row can be used; must be stated for an online group that names no
            ``available_at``.
        ttl: how long after its event time a row still answers; for ever by default.
        tie_break: the column whose greatest value wins among rows of equal keys and times.
        duplicates: what to do with rows of equal keys and times within a run: ``"error"`` refuses them,
            ``fti.KeepLast("loaded_at")`` keeps the last by a column. It is decided before the rows are validated.
        schema: a Pandera model or schema, checked before anything is stored.
        partition_by: the column whose time says which partition a row is in; event time by default.
        lookback: how far before its own partitions the group reads its input groups.
        online: load the group to the online store too.
        online_history: how far back the online store answers; ttl plus delay by default, 7 days without a ttl.
        rename: the source's name of a column to the group's, ``{"Order ID": "order_id"}``, for names with capitals or spaces.
            Everything else in the declaration, the schema too, speaks of the group's names.
        ins: groups for ``fti.Table`` parameters that cannot be found by name, beside what ``@dg.asset`` takes.
        options: every parameter of ``@dg.asset``, with its own meaning.

    Raises:
        DeclarationError: the declaration is impossible.

    >>> import pandas as pd
    >>> @feature_group(keys=["customer_id"])
    ... def customers() -> pd.DataFrame:
    ...     return pd.DataFrame({"customer_id": [1], "age": [33.0]})
    >>> customers.table
    'customers_v1'
    """
    caller = caller_frame()
    caller_names = {} if caller is None else dict(caller.f_locals)

    def declare(function: Callable[..., Any]) -> FeatureGroup:
        from fti_assets.features.groups.parameters import group_inputs
        from fti_assets.orchestration.signature import annotations_of

        checked_function(function, over="fti.feature_group")
        own_name = checked_name(name or function.__name__, what="feature group")
        annotations = annotations_of(function, caller_names)
        names = checked_rename(rename or {}, what=repr(own_name))
        groups, other_ins = group_inputs(function, annotations, ins or {}, caller_names)
        group = FeatureGroup(
            name=own_name,
            version=version,
            function=function,
            keys=tuple(
                checked_column(key, names, what=f"key of {own_name!r}")
                for key in ([keys] if isinstance(keys, str) else keys)
            ),
            event_time=event_time,
            available_at=available_at,
            serving_delay=None
            if serving_delay is None
            else duration(serving_delay, what=f"serving_delay of {own_name!r}"),
            ttl=None if ttl is None else duration(ttl, what=f"ttl of {own_name!r}"),
            tie_break=tie_break,
            duplicates=checked_duplicates(duplicates, what=repr(own_name)),
            schema=None if schema is None else pandera_schema(schema, what=repr(own_name)),
            partition_by=partition_by or event_time,
            lookback=duration(lookback or timedelta(0), what=f"lookback of {own_name!r}"),
            online=online,
            online_history=_online_history(online_history, ttl, serving_delay, own_name),
            inputs=groups,
            annotations=annotations,
            asset_ins=other_ins,
            options=options,
            rename=names,
        )
        check_group(group)
        return group

    return declare


def _online_history(
    stated: str | timedelta | None, ttl: str | timedelta | None, delay: str | timedelta | None, name: str
) -> timedelta:
    if stated is not None:
        return duration(stated, what=f"online_history of {name!r}")
    if ttl is None:
        return DEFAULT_ONLINE_HISTORY
    return duration(ttl) + duration(delay or timedelta(0))


def check_group(group: FeatureGroup) -> None:
    """Raise a DeclarationError if a group's declaration is impossible."""
    what = f"feature group {group.table}"
    if not isinstance(group.version, int) or group.version < 1:
        raise DeclarationError(f"{what}: version is {group.version!r}; versions are 1, 2, 3 ...")
    if not group.keys:
        raise DeclarationError(f"{what} has no keys: name the columns that identify the entity, keys=['customer_id']")
    if group.event_time is None:
        timed = {"available_at": group.available_at, "serving_delay": group.serving_delay, "ttl": group.ttl}
        stated = [name for name, value in timed.items() if value is not None]
        if stated:
            raise DeclarationError(
                f"{what} states {one_of(stated)} but no event_time: name the column that says when a row was true"
            )
    if group.available_at is not None and group.serving_delay is not None:
        raise DeclarationError(
            f"{what} states both available_at={group.available_at!r} and a serving_delay: the column already says when "
            "a row could be used, so leave out serving_delay"
        )
    if group.online and group.event_time is not None and group.available_at is None and group.serving_delay is None:
        raise DeclarationError(
            f"{what} is online but does not say when its rows can be used: name the available_at column, or state "
            "serving_delay, the time from a row's event time to the end of the run that stores it"
        )
    for name in [*group.times, *filter(None, [group.tie_break, group.partition_by])]:
        checked_column(name, group.rename, what=f"column of {what}")
    if isinstance(group.partitions_def, dg.TimeWindowPartitionsDefinition) and group.partition_by is None:
        raise DeclarationError(
            f"{what} has time partitions but neither event_time nor partition_by: say which column tells a row's partition"
        )
    for name in dict.fromkeys([*group.times, *filter(None, [group.partition_by])]):
        kind = (group.columns or {}).get(name)
        if kind not in ("timestamp", None):
            raise DeclarationError(f"{what}: {name!r} says when, but its schema declares {kind}: make it a timestamp")
    kept_by = group.duplicates.by if isinstance(group.duplicates, KeepLast) else None
    named = [*group.keys, *group.times, *(name for name in (group.tie_break, group.partition_by, kept_by) if name)]
    for name in group.columns or ():
        checked_column(name, group.rename, what=f"column of {what}")
    group.refuse_unknown_columns(named)
    refuse_unsupported(group.partitions_def, what=what)
    for parameter, other in group.inputs.items():
        if other.partitions_def is None or group.partitions_def is None:
            continue
        if type(other.partitions_def) is not type(group.partitions_def):
            raise DeclarationError(
                f"{what} and its input {parameter!r} ({other.table}) are partitioned differently: "
                f"{type(group.partitions_def).__name__} and {type(other.partitions_def).__name__}"
            )
