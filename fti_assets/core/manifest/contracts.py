"""What a code location promises to others of what it owns: a group's contract in the lake, a model's beside each build.

Fields that have their defaults are not written. So a contract of a later release is read by an earlier one as long as it says nothing
that this one does not know, and refused if it does.
"""

from dataclasses import field
from typing import Any, Literal

from fti_assets.core.manifest.tasks import Task
from fti_assets.core.manifest.views import ColumnRule
from fti_assets.core.manifest.windows import RequestWindows
from fti_assets.core.records import record

CONTRACT_FILE = "contract.json"
"""The file of a build that says what its model promises to other code locations."""

Calendar = Literal["", "hourly", "daily", "weekly", "monthly"]


@record(frozen=True)
class PartitionsRecord:
    """Partitions of a declaration: spans of time, a list of keys, keys that Dagster holds under a name, or a class of the owner's own.

    Spans follow a cron schedule in a time zone, from ``start`` to ``end``, the times that clocks show there as ISO text; keys are written
    by ``fmt``. ``excluded_at`` are such times, ``excluded`` cron schedules. ``calendar`` names Dagster's class.
    """

    kind: Literal["time", "list", "dynamic", "other"]
    cron_schedule: str = ""
    timezone: str = "UTC"
    fmt: str = ""
    start: str = ""
    end: str | None = None
    end_offset: int = 0
    excluded: tuple[str, ...] = ()
    excluded_at: tuple[str, ...] = ()
    calendar: Calendar = ""
    keys: tuple[str, ...] = ()
    name: str = ""


@record(frozen=True)
class ContractColumn:
    """What a group's schema says of a column: what it is, and the rules of its values that a request can be held against.

    ``rules_left_out`` are in words those that it cannot.
    """

    name: str
    description: str = ""
    rules: tuple[ColumnRule, ...] = ()
    rules_left_out: tuple[str, ...] = ()


@record(frozen=True)
class GroupContract:
    """What the owner of a feature group promises of one version of it.

    ``columns`` are those of its schema; the types of all columns are those of its table. ``inputs`` are the names and versions of the
    groups that it is made of. ``rules_left_out`` are checks of its schema that are of no one column.
    """

    group: str
    version: int
    asset_key: tuple[str, ...]
    keys: tuple[str, ...]
    event_time: str | None = None
    available_at: str | None = None
    serving_delay_us: int | None = None
    ttl_us: int | None = None
    tie_break: str | None = None
    partition_by: str | None = None
    lookback_us: int = 0
    partitions: PartitionsRecord | None = None
    online: bool = False
    online_history_us: int = 0
    columns: tuple[ContractColumn, ...] = ()
    rules_left_out: tuple[str, ...] = ()
    inputs: dict[str, int] = field(default_factory=dict)
    windows: RequestWindows | None = None
    description: str = ""
    owners: tuple[str, ...] = ()
    release: str = ""
    format: int = 1


@record(frozen=True)
class LabelContract:
    """A label of a model's view: a column of a group, where its key is found in the spine, and how old a row is when it is there."""

    name: str
    group: str
    version: int
    column: str
    spine_keys: dict[str, str] = field(default_factory=dict)
    maturity_us: int = 0
    within_us: int | None = None
    missing: bool | None = None


@record(frozen=True)
class DatasetContract:
    """The training dataset that a model learns from."""

    name: str
    version: int
    asset_key: tuple[str, ...]
    window_us: int | None = None
    query: tuple[str, ...] = ()
    where: str | None = None


@record(frozen=True)
class ModelContract:
    """What the owner of a model promises of one version of it, beside what the build's manifest says.

    ``several_labels`` says whether the view has names for its labels. ``evaluation`` are the arguments of the evaluation, in which
    metrics of the owner's own stand by their names. A composite has no dataset; ``feeds`` are the fields that answers of its models fill.
    """

    model: str
    version: int
    asset_key: tuple[str, ...]
    task: Task
    dataset: DatasetContract | None
    labels: tuple[LabelContract, ...]
    several_labels: bool = False
    partitions: PartitionsRecord | None = None
    promote: str = "automatic"
    catch_up: int = 1
    latency_goal_us: int | None = None
    levels: tuple[float, ...] = ()
    evaluation: dict[str, Any] = field(default_factory=dict)
    feeds: dict[str, str] = field(default_factory=dict)
    description: str = ""
    owners: tuple[str, ...] = ()
    release: str = ""
    format: int = 1
