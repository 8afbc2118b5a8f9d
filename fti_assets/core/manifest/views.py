"""A feature view as a record: the spine, the joins, the on-demand functions and the rules of a request."""

from typing import Any

from fti_assets.core.manifest.windows import RequestWindows
from fti_assets.core.names import FEATURES, TableName, versioned_name
from fti_assets.core.records import record
from fti_assets.core.times import Times
from fti_assets.core.types import ColumnType

ON_DEMAND_MARK = "__fti_on_demand__"
"""The attribute of a function that was declared an on-demand feature, which says what it meant then: an app runs no other."""

NOT_NULLABLE = "not_nullable"
"""Pandera's name of the check that a column holds no null."""


@record(frozen=True)
class Column:
    """A column of a table or a field of a request."""

    name: str
    type: ColumnType


@record(frozen=True)
class JoinedColumn:
    """One column that a join brings: the feature's name, the group's column and its type."""

    feature: str
    column: str
    type: ColumnType


@record(frozen=True)
class JoinedKey:
    """A spine column that must equal a group's key."""

    spine: str
    group: str
    type: ColumnType


@record(frozen=True)
class JoinedGroup:
    """One point-in-time join of a feature group to a spine.

    ``event_time`` is None for a lookup. ``available_at`` names a column, else it is event time plus ``serving_delay_us``.
    ``external`` says where the group's table lies if another system keeps it, without credentials.
    ``windows`` is of a group that has no rows of its own: its columns are windows over the rows of another one, whose times these are,
    and its keys are columns of those rows. A manifest of an earlier release has none.
    """

    group: str
    version: int
    keys: tuple[JoinedKey, ...]
    columns: tuple[JoinedColumn, ...]
    event_time: str | None = None
    available_at: str | None = None
    serving_delay_us: int = 0
    ttl_us: int | None = None
    tie_break: str | None = None
    external: str = ""
    windows: RequestWindows | None = None

    @property
    def table(self) -> TableName:
        """The table whose rows are joined."""
        return TableName(FEATURES, self.table_name) if self.windows is None else self.windows.source_table

    @property
    def table_name(self) -> str:
        """The name of the group's own table, if it has one, and of its online namespace, such as ``weather_v1``."""
        return versioned_name(self.group, self.version)

    @property
    def times(self) -> Times:
        """The group's times; in a manifest their fields stand beside the keys."""
        return Times(self.event_time, self.available_at, self.serving_delay_us, self.ttl_us, self.tie_break)


@record(frozen=True)
class OnDemandModule:
    """A module of the user's own that an on-demand function's module imports, and the hash of its source."""

    module: str
    sha256: str


@record(frozen=True)
class OnDemandPackage:
    """A package that an on-demand function imports: the name that it is imported by, the distribution that brings it, and its release."""

    package: str
    distribution: str
    version: str


@record(frozen=True)
class OnDemandVector:
    """How many numbers each vector of an on-demand function's output has."""

    output: str
    dim: int


@record(frozen=True)
class OnDemandCall:
    """An on-demand function as it was when the model learned from it.

    ``meaning`` is the hash of its code and of what that reaches, without comments and layout; a manifest of an earlier release has
    none and is compared by the hashes of the modules. ``requires`` are packages beside numpy, of which the same release must be there.
    ``vectors`` are of the outputs that are vectors.
    """

    name: str
    version: int
    module: str
    function: str
    module_sha256: str
    inputs: tuple[str, ...]
    outputs: tuple[Column, ...]
    imports: tuple[OnDemandModule, ...] = ()
    meaning: str = ""
    requires: tuple[OnDemandPackage, ...] = ()
    vectors: tuple[OnDemandVector, ...] = ()

    def dim(self, output: str) -> int | None:
        """How many numbers the vectors of an output have; None for other outputs."""
        return next((one.dim for one in self.vectors if one.output == output), None)


@record(frozen=True)
class ColumnRule:
    """A check of the spine's schema on one field of a request: Pandera's name of it and its arguments, times as ISO text.

    What JSON has no form for is an object of one key: ``float`` (``inf``, ``-inf``, ``nan``), ``decimal``, ``nanoseconds`` since 1970,
    ``pattern`` with its ``flags``, ``other`` for what no value is equal to. ``held_by`` is the check that a type of ``arguments`` holds a
    number, ``as_type`` that to which the schema brings a value before.

    ``NOT_NULLABLE``, without arguments, is that of a field which the schema does not let be null; a manifest of an earlier release has
    none of these, and its fields may all be null.
    """

    column: str
    check: str
    arguments: dict[str, Any]
    as_type: str = ""


@record(frozen=True)
class SpineTimes:
    """When a spine's rows are available: ``available_at`` names a column, else it is the prediction time plus
    ``serving_delay_us``. ``tie_break`` names the column that decides between versions of a row with equal times."""

    available_at: str | None = None
    serving_delay_us: int = 0
    tie_break: str | None = None


@record(frozen=True)
class ViewRecord:
    """A feature view: the spine, what each request must bring, what is joined, and the model's features in order.

    ``rules`` are the checks of the spine's schema that a request can be held against, ``rules_left_out`` tells in words those that it
    cannot.
    ``spine_times`` is None in manifests that do not say when the spine's rows are available.
    """

    name: str
    version: int
    spine: str
    spine_version: int
    spine_keys: tuple[str, ...]
    prediction_time: str | None
    request: tuple[Column, ...]
    joins: tuple[JoinedGroup, ...]
    on_demand: tuple[OnDemandCall, ...]
    features: tuple[Column, ...]
    rules: tuple[ColumnRule, ...] = ()
    rules_left_out: tuple[str, ...] = ()
    spine_times: SpineTimes | None = None

    @property
    def left_out_in_words(self) -> str:
        """The first few checks that no request is held against; empty if there are none."""
        first, more = self.rules_left_out[:5], len(self.rules_left_out) - 5
        return "; ".join([*first, *([f"{more} more"] if more > 0 else [])])

    @property
    def identity(self) -> tuple[str, ...]:
        """The columns that name a row: the spine's keys and the prediction time."""
        return (*self.spine_keys, *self._time)

    @property
    def order(self) -> tuple[str, ...]:
        """The columns by which a dataset's rows are ordered: the same, the time first."""
        return (*self._time, *self.spine_keys)

    @property
    def _time(self) -> tuple[str, ...]:
        return () if self.prediction_time is None else (self.prediction_time,)

    @property
    def spine_table(self) -> TableName:
        return TableName(FEATURES, versioned_name(self.spine, self.spine_version))

    @property
    def times(self) -> Times:
        """When the spine's rows are true and available."""
        times = self.spine_times or SpineTimes()
        return Times(self.prediction_time, times.available_at, times.serving_delay_us, tie_break=times.tie_break)
