"""Feature groups, and their columns as a view names them: ``airports.on(dest="airport").prefix("dest_")["late_rate_3h"]``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.manifest import Column, ColumnRule, RequestWindows
from fti_assets.core.names import FEATURES, TableName
from fti_assets.core.rules import Rule
from fti_assets.core.sql import checked_name
from fti_assets.core.times import Times, microseconds
from fti_assets.core.types import ColumnType
from fti_assets.errors import DeclarationError, excerpt, one_of
from fti_assets.features.groups.schedule import Schedule
from fti_assets.features.groups.timed_table import TimedTable
from fti_assets.features.groups.window_columns import window_types
from fti_assets.features.rows.changes import FeedPosition
from fti_assets.features.rows.duplicates import Duplicates, KeepLast
from fti_assets.features.rows.layout import Layout
from fti_assets.features.rows.rename import checked_column
from fti_assets.features.validation.schema import column_types
from fti_assets.orchestration.partitions import is_timed
from fti_assets.stores.streams.stream import EventStream

if TYPE_CHECKING:
    import pandera.pandas as pa

DEFAULT_ONLINE_HISTORY = timedelta(days=7)


def is_spark_frame(annotation: Any) -> bool:
    """Whether an annotation is Spark's class of frames, of which there is one a client; Spark itself need not be imported."""
    return _is_of_spark(annotation, "DataFrame")


def is_spark_session(annotation: Any) -> bool:
    """Whether an annotation is Spark's class of sessions."""
    return _is_of_spark(annotation, "SparkSession")


def _is_of_spark(annotation: Any, name: str) -> bool:
    module = getattr(annotation, "__module__", None)
    return isinstance(module, str) and module.startswith("pyspark.sql") and getattr(annotation, "__name__", "") == name


@checked_arguments(instead="@fti.feature_group(keys=[...]) over a function")
@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class FeatureGroup(TimedTable):
    """A declared feature group. Make one with ``feature_group``.

    ``group["column"]`` selects columns for a view, ``group.key`` is its asset key for ``deps=[...]``, ``group.assets_def``
    its asset, and calling it calls the function.
    """

    schema_name: ClassVar[str] = FEATURES

    function: Callable[..., Any]
    ttl: timedelta | None
    tie_break: str | None
    duplicates: Duplicates
    schema: pa.DataFrameSchema | None
    lookback: timedelta
    online: bool
    online_history: timedelta
    inputs: Mapping[str, TimedTable]
    annotations: Mapping[str, Any] = field(repr=False)
    asset_ins: Mapping[str, Any] = field(repr=False)
    rename: Mapping[str, str] = field(default_factory=dict, repr=False)
    as_json: ClassVar[
        tuple[str, ...]
    ] = ()  # of its columns the online store holds none as JSON: a feature is a plain value
    validate: bool = False
    schedule: Schedule | None = field(default=None, repr=False)
    body: str = field(default="", repr=False)
    stream: EventStream | None = None
    must_equal_stream: bool = False
    engine: Literal["duckdb", "spark"] = "duckdb"
    windows: RequestWindows | None = None

    def __repr__(self) -> str:
        return f"feature group {self.table_name}"

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self.function(*arguments, **keywords)

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

    @cached_property
    def columns(self) -> dict[str, ColumnType | None] | None:
        """The columns that the schema or the schedule declares and their types; None without either. Those of windows are known by name."""
        if self.windows is not None:
            [source] = self.inputs.values()
            return window_types(self.windows, self.keys, source.columns_of_schema, of=self.table_name)
        if self.schema is None:
            return None if self.schedule is None else self.schedule.columns
        return column_types(self.schema)

    @property
    def columns_of_schema(self) -> Mapping[str, ColumnType | None]:
        """The columns whose types the schema declares; none without a schema."""
        return self.columns or {}

    @property
    def is_stored(self) -> bool:
        return self.source is None and self.windows is None

    @property
    def table(self) -> TableName:
        """Where its rows are in the lake: of windows those of the group that they are over."""
        return super().table if self.windows is None else self.windows.source_table

    @property
    def times(self) -> Times:
        """When a row is true, and from when on to when it answers."""
        ttl_us = None if self.ttl is None else microseconds(self.ttl)
        return Times(self.event_time, self.available_at, self.delay_us, ttl_us, self.tie_break)

    @property
    def time_columns(self) -> tuple[str, ...]:
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
    def session_parameters(self) -> tuple[str, ...]:
        """The function's parameters that take the session of Spark."""
        return tuple(name for name, annotation in self.annotations.items() if is_spark_session(annotation))

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns that no two rows share."""
        own = (*self.keys, *self.time_columns, *((self.tie_break,) if self.tie_break else ()))
        return tuple(dict.fromkeys(own))  # a time may be a key as well

    def source_name(self, column: str) -> str:
        """What the source calls a column."""
        return next((source for source, name in self.rename.items() if name == column), column)

    def refuse_unknown_columns(self, names: Sequence[str]) -> None:
        """Raise a DeclarationError if a column is not in the schema; without a schema, nothing can be said yet."""
        for name in names:
            checked_column(name, self.rename, what=f"column of {self.table_name}")
        unknown = [name for name in dict.fromkeys(names) if self.columns is not None and name not in self.columns]
        if unknown:
            raise DeclarationError(
                f"{self.table_name} has no column {one_of(unknown)}: its schema has {one_of(self.columns or ())}"
            )

    def request_rules(self, request: Sequence[Column]) -> tuple[tuple[ColumnRule, ...], tuple[str, ...]]:
        """What its schema says of the fields of a request, and in words what it says that no request is held against."""
        if self.schema is None:
            return (), ()
        # Here, since it brings Pandera, which whoever declares a schema has imported, and others need not.
        from fti_assets.features.validation.request_rules import request_rules

        of_request = request_rules(self.schema, request)
        return of_request.rules, of_request.left_out

    @property
    def rests_on(self) -> tuple[TimedTable, ...]:
        """The groups and monitors that it takes as inputs, each once."""
        return tuple(dict.fromkeys(self.inputs.values()))

    @property
    def upstream(self) -> tuple[TimedTable, ...]:
        """The groups and monitors that it rests on, near and far."""
        near = self.rests_on
        return tuple(dict.fromkeys([*near, *(far for source in near for far in source.upstream)]))

    @property
    def depth(self) -> int:
        """How many of them stand behind it, one behind another."""
        return max((1 + source.depth for source in self.inputs.values()), default=0)


@dataclass(frozen=True)
class Selection:
    """Some columns of a feature group, and how its keys are found in a spine.

    Args:
        group: the feature group.
        columns: the group's columns, or empty for every column that is neither key nor time.
        spine_keys: the spine column for each of the group's keys; a key that is not named has its own name there.
        feature_prefix: put before each column's name to make the feature's.
    """

    group: FeatureGroup
    columns: tuple[str, ...] = ()
    spine_keys: Mapping[str, str] = field(default_factory=dict)
    feature_prefix: str = ""

    def columns_in(self, types: Mapping[str, object]) -> list[str]:
        """The selected columns; all of ``types`` that are neither key nor time if none was named."""
        group = self.group
        return list(self.columns) or [
            name for name in types if name not in group.keys and name not in group.time_columns
        ]

    @property
    def feature_names(self) -> list[str]:
        """The features that it makes, as far as the group's schema tells them."""
        return [self.feature_prefix + column for column in self.columns_in(self.group.columns or {})]

    @checked_arguments(method=True, itself=["columns"])
    def __getitem__(self, columns: str | tuple[str, ...]) -> Selection:
        names = (columns,) if isinstance(columns, str) else columns
        if not isinstance(names, tuple | list) or not all(isinstance(name, str) for name in names):
            raise DeclarationError(
                f"columns of {self.group.table_name} are taken by name, {self.group.name}['age'] or {self.group.name}['age', 'plan'], not "
                f"by {excerpt(columns)}"
            )
        names = tuple([str.__str__(name) for name in names])
        self.group.refuse_unknown_columns(names)
        return replace(self, columns=names)

    @checked_arguments(method=True)
    def on(self, **spine_to_group: str) -> Selection:
        """Join where a spine column equals a group key of another name: ``.on(dest="airport")``."""
        unknown = [key for key in spine_to_group.values() if key not in self.group.keys]
        if unknown:
            raise DeclarationError(
                f"{self.group.table_name} has no key {one_of(unknown)} to join on: its keys are {one_of(self.group.keys)}; "
                f"write .on(<spine column>=<key of {self.group.name}>)"
            )
        return replace(self, spine_keys={key: spine for spine, key in spine_to_group.items()})

    @checked_arguments(method=True)
    def prefix(self, text: str) -> Selection:
        """Name each feature ``<text><column>``, so that one group can be joined twice."""
        return replace(self, feature_prefix=checked_name(text, what=f"prefix of {self.group.name}"))


def selection_of(feature: Selection | FeatureGroup) -> Selection:
    """A group among a view's features stands for all of its columns."""
    return feature if isinstance(feature, Selection) else Selection(feature)


NOT_FUTURE = Rule(
    "rows_not_in_future", "No row claims to be true and available only after it is stored", blocking=False
)
IN_TIME = Rule("rows_in_time", "New rows are stored before they are said to be available", blocking=False)


def layout_of(group: FeatureGroup) -> Layout:
    """What the group's table demands of its rows."""
    return Layout(
        what=group.table_name,
        not_null=tuple(dict.fromkeys((*group.keys, *group.time_columns))),
        unique=group.identity,
        partition_by=group.partition_by if is_timed(group.partitions_def) else None,
        schema=group.schema,
        types=group.columns or {},
        times=tuple(name for name in dict.fromkeys([*group.time_columns, group.partition_by]) if name is not None),
        keep_last_by=group.duplicates.by if isinstance(group.duplicates, KeepLast) else None,
        rename=group.rename if group.source is None else {},  # an external group's rows come under its own names
    )


def judges_time(group: FeatureGroup) -> bool:
    """Whether the group says when its rows can be used, so that a late one is a breach."""
    return group.available_at is not None or group.serving_delay is not None
