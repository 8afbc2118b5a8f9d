"""A build as records: its graph, what it answers, what it is judged by and what it learned from."""

from dataclasses import dataclass, field
from typing import Any, Literal

from fti_assets.core.manifest.datasets import DatasetRecord
from fti_assets.core.manifest.intervals import Interval
from fti_assets.core.manifest.judging import BootstrapRecord, CalibrationRecord, FairnessRecord, ThresholdRecord
from fti_assets.core.manifest.tasks import BY_NAME, Task, each_task
from fti_assets.core.manifest.views import OnDemandCall, ViewRecord
from fti_assets.core.records import record
from fti_assets.core.types import InputType

Status = Literal["accepted", "rejected"]

NUMBERS = "numbers"
"""The graph input that holds every plain number, float32 ``[n, k]``, in the order of its ``features``."""


@record(frozen=True)
class GraphInput:
    """One input of the graph: ``numbers`` (float32 ``[n, k]``), ``double.<feature>`` (float64 ``[n, 1]``, a number that float32
    would round too early), ``text.<feature>`` (string ``[n, 1]``) or
    ``integer.<feature>`` (int64 ``[n, 1]``, categories of whole numbers; missing is the least int64),
    ``time.<feature>`` (int64 ``[n, 1]``, microseconds since 1970), ``age.<feature>`` (int64 ``[n, 2]``, two times) or
    ``vector.<feature>`` (float32 ``[n, dim]``, an embedding, NaN for what is missing; only it has a ``dim``)."""

    name: str
    type: InputType
    features: tuple[str, ...]
    dim: int | None = None

    @property
    def width(self) -> int:
        """How many columns it has."""
        return len(self.features) if self.dim is None else self.dim


@record(frozen=True)
class GraphOutput:
    """One output of the graph."""

    name: str
    type: str


@dataclass(frozen=True)  # as the documentation shows what is public
class GateVerdict:
    """The verdict of one gate, with the figure that it judged and its bound.

    Args:
        gate: the gate's name.
        passed: whether the build may become the champion according to this gate.
        reason: why, in words.
        value: the figure that was judged, such as how much worse the build is than the champion; None if there is none.
        bound: the bound of the figure, such as the tolerance.
        interval: the figure's interval, if it was computed.
    """

    gate: str
    passed: bool
    reason: str
    value: float | None = None
    bound: float | None = None
    interval: Interval | None = None


@record(frozen=True)
class MemberRecord:
    """A model within a composite: the build, the hash of its graph, and what its answers are called in the order of the graph's columns."""

    model: str
    build: str
    task: Task
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
class FeatureImportance:
    """By how much a metric gets worse with a feature shuffled: the mean and the standard deviation of the repeats."""

    mean: float
    std: float


@record(frozen=True)
class ImportanceRecord:
    """The permutation importance of each feature on the test split, the most important first.

    ``score`` is the metric of ``rows`` of the test split as they are, each shuffled ``repeats`` times. ``groups`` are features that were
    shuffled together.
    """

    metric: str
    score: float
    rows: int
    repeats: int
    features: dict[str, FeatureImportance]
    groups: dict[str, FeatureImportance] = field(default_factory=dict)


@record(frozen=True)
class TuningRecord:
    """How the parameters of a build were chosen: by trials on validation.

    ``value`` is the metric of the best trial, whose number is ``best`` and whose model the build is. Of the ``trials`` so many were
    ``pruned`` or ``failed``; each of them is in the file ``tuning.json``.
    """

    metric: str
    value: float
    parameters: dict[str, Any]
    best: int
    trials: int
    pruned: int
    failed: int
    seed: int


@record(frozen=True)
class ModelManifest:
    """Everything about one build of a model, immutable once written.

    ``files`` are what lies in the build beside its graph, manifest and card: the sha256 of each by its name. ``warnings`` are what
    training found about the features. ``asset_key`` is
    the key of the asset that made it. ``latency_goal`` is within how many seconds a server is to answer a request. A build of the
    kind "graph" is a graph that was published as it was: it has inputs of its own and no features, and its view, dataset and task mean
    nothing. A composite has what its models have together: their views as one, and no dataset, encoders or metrics of its own; what it
    is made of is in ``composite``, and ``classes`` are the names of its answers. ``comparison`` is that of the graph with the trained
    model; builds of earlier releases have none, nor an ``importance``, which is None as well where none was measured.
    ``threshold`` is that of a binary model's metrics; builds of earlier releases have none.
    ``thresholds`` are those of several labels. ``fairness`` has the columns that were asked
    for, or crossed ones, joined by commas. ``intervals`` are those of ``metrics``, ``slice_intervals`` those of ``slices``, and
    ``bootstrap`` says how they were made. ``tuning`` says how its parameters were chosen, if by trials. ``seed`` is that of
    the training; composites and builds of earlier releases have none. ``trained_because`` has the reasons of the triggers that asked for
    it, and is empty if none did. ``seconds`` is how long the build took, without being published; builds of earlier releases have none.
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
    importance: ImportanceRecord | None = None
    threshold: ThresholdRecord | None = None
    thresholds: dict[str, ThresholdRecord] = field(default_factory=dict)
    fairness: dict[str, FairnessRecord] = field(default_factory=dict)
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    calibration: CalibrationRecord | None = None
    description: str = ""
    intended_use: str = ""
    limits: tuple[str, ...] = ()
    tuning: TuningRecord | None = None
    intervals: dict[str, Interval] = field(default_factory=dict)
    slice_intervals: dict[str, dict[str, dict[str, Interval]]] = field(default_factory=dict)
    bootstrap: BootstrapRecord | None = None
    seed: int | None = None
    trained_because: str = ""
    seconds: float | None = None
    format: int = 1

    @property
    def reference(self) -> str:
        """The build as aliases and errors name it: ``v1/20130501T000000Z-1f9ac3d2``."""
        return f"v{self.version}/{self.build}"

    @property
    def labels(self) -> tuple[str, ...]:
        """The names of several labels, in the order of the answers; none for a build of one label."""
        return self.classes if each_task(self.task) != self.task else ()

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
