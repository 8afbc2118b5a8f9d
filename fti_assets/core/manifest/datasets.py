"""A training dataset as records: what the lake keeps of a cutoff, and what a build says of what it learned from."""

from dataclasses import field

from fti_assets.core.manifest.profiles import Profile
from fti_assets.core.manifest.views import Column, ViewRecord
from fti_assets.core.names import DATASETS, TableName, versioned_name
from fti_assets.core.records import record
from fti_assets.core.types import ColumnType


@record(frozen=True)
class RandomParts:
    """How a split by hash put rows into parts: the hash, its seed, the shares that test and validate, and the columns that were hashed.

    Without ``columns``, as in a manifest of an earlier release, those are all keys of the spine.
    """

    hash: str
    seed: int
    test: float
    validation: float
    columns: tuple[str, ...] = ()


@record(frozen=True)
class SampleRecord:
    """Of which train rows a dataset keeps a share: by which hash and seed, the share of each class, how many rows of it there were, and
    how many were kept. Under the empty text stand the shares of all rows."""

    hash: str
    seed: int
    shares: dict[str, float]
    rows: dict[str, int]
    kept: dict[str, int]


@record(frozen=True)
class DatasetRecord:
    """The training dataset that a build learned from; ``random_parts`` where it was split by hash.

    ``data_version`` is the hash of its rows' content, ``upstream`` names each group's table with a hash of the partition versions that
    it was made of; a manifest of an earlier release has none. ``where`` is the condition on the spine's rows,
    ``sample`` what was kept of the train rows, ``query`` the columns of the spine that name a list to be ranked, ``weight`` the one that
    says what each row counts, empty where all count alike.
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
    where: str = ""
    sample: SampleRecord | None = None
    query: tuple[str, ...] = ()
    weight: str = ""

    @property
    def table(self) -> TableName:
        return TableName(DATASETS, versioned_name(self.name, self.version))


@record(frozen=True)
class LabelRecord:
    """One of several labels that a dataset's rows have.

    ``name`` is its column in the dataset, ``column`` that of the ``group``'s table. ``missing`` counts the mature rows that lack it, and
    that are left out therefore; ``classes`` the rows of each class by split, as of a dataset of one label.
    """

    name: str
    type: ColumnType
    column: str
    group: str
    maturity_us: int
    missing: int = 0
    classes: dict[str, dict[str, int]] = field(default_factory=dict)


@record(frozen=True)
class DatasetManifest:
    """How one cutoff of a training dataset was made, kept in the lake beside its rows.

    ``rows`` counts each split, ``left_out`` the spine rows that are in none and why, ``upstream`` names each group's
    table with a hash of the partition versions that were read, ``trained_until`` is the latest prediction time in train
    or validation. ``external`` names the tables that another system keeps, and where: they are not in the snapshot, and
    ``upstream`` has the version that was there when they were read. ``coverage`` is the share of rows for which each join
    found a row, under ``(row)``, and a value, by feature. ``delay_breaches`` counts the rows whose spine row was not available at
    its prediction time: their own columns are those of its earliest version. ``warnings`` are what the checks of the rows found.
    ``where`` is the condition on the spine's own columns that its rows meet, ``sample`` what was kept of the train rows.
    ``query`` are the columns of the spine that name a list to be ranked, if it has lists, and ``queries`` counts those of each split.
    ``classes`` counts the rows of each class by split, where the label has classes; ``keys_in_several_parts`` is the share of keys, or of
    what the split goes by, that have rows in more than one. ``profile`` is how the values of the train rows were spread; a manifest of an
    earlier release has none. ``labels`` are those of a view that has several: ``label`` and ``label_group`` are then the first one's,
    ``maturity_us`` is the longest, and ``classes`` is empty. ``seconds`` is
    how long it took to make; a manifest of an earlier release has none. ``weight`` is the column that says what each row counts.
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
    where: str = ""
    sample: SampleRecord | None = None
    classes: dict[str, dict[str, int]] = field(default_factory=dict)
    keys_in_several_parts: float = 0.0
    profile: Profile | None = None
    query: tuple[str, ...] = ()
    queries: dict[str, int] = field(default_factory=dict)
    labels: tuple[LabelRecord, ...] = ()
    seconds: float | None = None
    weight: str = ""

    @property
    def label_columns(self) -> tuple[Column, ...]:
        """The columns of its labels, one or several."""
        return tuple(Column(one.name, one.type) for one in self.labels) or (self.label,)
