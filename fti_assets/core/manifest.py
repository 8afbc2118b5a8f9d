"""What a model learned from and what it needs to serve: the manifest beside each graph.

The same record drives the training join, the batch predictions and the online predictor, so the three cannot differ.
Times are naive UTC ISO text, durations whole microseconds. Its JSON Schema is ``manifest.schema.json`` beside this file.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from fti_assets.core.names import DATASETS, FEATURES, TableName, versioned_name
from fti_assets.core.records import record
from fti_assets.core.times import Times
from fti_assets.core.types import ColumnType, InputType

ModelTask = Literal["binary", "multiclass", "regression"]
Task = Literal["binary", "multiclass", "regression", "composite"]
"""What a build does; a composite answers with what several models answer."""

Status = Literal["accepted", "rejected"]

ON_DEMAND_MARK = "__fti_on_demand__"
"""The attribute of a function that was declared an on-demand feature, which says what it meant then: an app runs no other."""

OUTPUT_NAMES: dict[Task, str] = {
    "binary": "probability",
    "multiclass": "probabilities",
    "regression": "value",
    "composite": "answers",
}
"""The graph output that holds a prediction's value, by task."""

BY_NAME: tuple[Task, ...] = ("multiclass", "composite")
"""The tasks whose answer is several numbers, each with a name."""

NOT_NULLABLE = "not_nullable"
"""Pandera's name of the check that a column holds no null."""

NUMBERS = "numbers"
"""The graph input that holds every plain number, float32 ``[n, k]``, in the order of its ``features``."""


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

    @property
    def table(self) -> TableName:
        return TableName(FEATURES, self.table_name)

    @property
    def table_name(self) -> str:
        """The name of the group's table and online namespace, such as ``weather_v1``."""
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
class OnDemandCall:
    """An on-demand function as it was when the model learned from it.

    ``meaning`` is the hash of its code and of what that reaches, without comments and layout; a manifest of an earlier release has
    none and is compared by the hashes of the modules.
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
        shown, more = self.rules_left_out[:5], len(self.rules_left_out) - 5
        return "; ".join([*shown, *([f"{more} more"] if more > 0 else [])])

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


@record(frozen=True)
class GraphInput:
    """One input of the graph: ``numbers`` (float32 ``[n, k]``), ``double.<feature>`` (float64 ``[n, 1]``, a number that float32
    would round too early), ``text.<feature>`` (string ``[n, 1]``) or
    ``integer.<feature>`` (int64 ``[n, 1]``, categories of whole numbers; missing is the least int64)."""

    name: str
    type: InputType
    features: tuple[str, ...]


@record(frozen=True)
class GraphOutput:
    """One output of the graph."""

    name: str
    type: str


@dataclass(frozen=True)  # as the documentation shows what is public
class GateVerdict:
    """What one gate said."""

    gate: str
    passed: bool
    reason: str


@record(frozen=True)
class RandomParts:
    """How a random split put rows into parts: the hash of their keys, its seed, and the shares that test and validate."""

    hash: str
    seed: int
    test: float
    validation: float


@record(frozen=True)
class DatasetRecord:
    """The training dataset that a build learned from; ``random_parts`` where it was split at random.

    ``data_version`` is the hash of its rows' content, ``upstream`` names each group's table with a hash of the partition versions that
    it was made of; a manifest of an earlier release has none.
    """

    name: str
    version: int
    partition: str
    data_version: str
    rows: dict[str, int]
    point_in_time: bool
    trained_until: str | None = None
    random_parts: RandomParts | None = None
    upstream: dict[str, str] = field(default_factory=dict)

    @property
    def table(self) -> TableName:
        return TableName(DATASETS, versioned_name(self.name, self.version))


@record(frozen=True)
class MemberRecord:
    """A model within a composite: the build, the hash of its graph, and what its answers are called in the order of the graph's columns."""

    model: str
    build: str
    task: ModelTask
    sha256: str
    answers: tuple[str, ...]


@record(frozen=True)
class CompositeRecord:
    """What a composite is made of.

    ``feeds`` names the model whose answer fills a field that later models take from the request. ``function`` makes the composite's
    answers of the models' and of features; without one the models' answers are the composite's.
    """

    members: tuple[MemberRecord, ...]
    feeds: dict[str, str] = field(default_factory=dict)
    function: OnDemandCall | None = None

    @property
    def answers(self) -> tuple[str, ...]:
        """What the columns of the graph's output are called."""
        return tuple(name for member in self.members for name in member.answers)


@record(frozen=True)
class GraphComparison:
    """How far the graph's answers are from the trained model's own on every row of the test split.

    ``largest_difference`` is that of a probability, or of a value relative to it where it is above 1; ``outliers`` counts the rows on
    which it is above ``tolerance``, and of ``rows`` so many may be: ``allowed``.
    """

    model: str
    rows: int
    largest_difference: float
    outliers: int
    tolerance: float
    allowed: int


@record(frozen=True)
class ModelManifest:
    """Everything about one build of a model, immutable once written.

    ``files`` are what lies in the build beside its graph, manifest and card: the sha256 of each by its name. ``warnings`` are what
    training found about the features. ``asset_key`` is
    the key of the asset that made it. ``latency_goal`` is within how many seconds a server is to answer a request. A build of the
    kind "graph" is a graph that was published as it was: it has inputs of its own and no features, and its view, dataset and task mean
    nothing. A composite has what its models have together: their views as one, and no dataset, encoders or metrics of its own; what it
    is made of is in ``composite``, and ``classes`` are the names of its answers. ``comparison`` is that of the graph with the trained
    model; builds of earlier releases have none.
    """

    model: str
    version: int
    build: str
    task: Task
    status: Status
    cutoff: str
    created_at: str
    view: ViewRecord
    dataset: DatasetRecord
    inputs: tuple[GraphInput, ...]
    outputs: tuple[GraphOutput, ...]
    encoders: dict[str, Any]
    metrics: dict[str, float]
    baseline: dict[str, float]
    gates: tuple[GateVerdict, ...]
    snapshot: int
    code_version: str
    packages: dict[str, str]
    sha256: str
    classes: tuple[str, ...] = ()
    slices: dict[str, dict[str, dict[str, float]]] = field(default_factory=dict)
    run_id: str = ""
    asset_key: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    latency_goal: float | None = None
    kind: Literal["model", "graph"] = "model"
    composite: CompositeRecord | None = None
    comparison: GraphComparison | None = None
    format: int = 1

    @property
    def reference(self) -> str:
        """The build as aliases and errors name it: ``v1/20130501T000000Z-1f9ac3d2``."""
        return f"v{self.version}/{self.build}"

    @property
    def answers_by_name(self) -> bool:
        """Whether an answer is several numbers, each under a name of ``classes``."""
        return self.task in BY_NAME

    @property
    def on_demand(self) -> tuple[OnDemandCall, ...]:
        """The functions of the user's own that an answer takes, in the order in which they run."""
        last = () if self.composite is None or self.composite.function is None else (self.composite.function,)
        return (*self.view.on_demand, *last)

    @property
    def graph_width(self) -> int | None:
        """How many numbers the graph gives for a row; None for one number that is no list."""
        if not self.answers_by_name:
            return None
        return len(self.classes if self.composite is None else self.composite.answers)


@record(frozen=True)
class DatasetManifest:
    """How one cutoff of a training dataset was made, kept in the lake beside its rows.

    ``rows`` counts each split, ``left_out`` the spine rows that are in none and why, ``upstream`` names each group's
    table with a hash of the partition versions that were read, ``trained_until`` is the latest prediction time in train
    or validation. ``external`` names the tables that another system keeps, and where: they are not in the snapshot, and
    ``upstream`` has the version that was there when they were read. ``coverage`` is the share of rows for which each join
    found a row, under ``(row)``, and a value, by feature. ``delay_breaches`` counts the rows whose spine row was not available at
    its prediction time: their own columns are those of its earliest version. ``warnings`` are what the checks of the rows found.
    """

    dataset: str
    version: int
    cutoff: str
    snapshot: int
    point_in_time: bool
    lookups: tuple[str, ...]
    view: ViewRecord
    label: Column
    label_group: str
    maturity_us: int
    rows: dict[str, int]
    left_out: dict[str, int]
    upstream: dict[str, str]
    trained_until: str | None
    code_version: str
    external: dict[str, str] = field(default_factory=dict)
    coverage: dict[str, dict[str, float]] = field(default_factory=dict)
    delay_breaches: int = 0
    warnings: tuple[str, ...] = ()
    random_parts: RandomParts | None = None
