"""Making a dataset again from its manifest, and saying in what it differs; nothing is stored."""

from __future__ import annotations

from dataclasses import dataclass

from fti_assets.core.manifest import DatasetManifest, ViewRecord
from fti_assets.core.names import PARTITION, in_partitions
from fti_assets.core.records import from_json
from fti_assets.core.sql import quote
from fti_assets.core.times import Partition, instant
from fti_assets.errors import FtiError, NotMaterializedError, list_some, one_of
from fti_assets.features.external.rows import external_versions, read_external
from fti_assets.features.rows.staging import stage
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.tables.staged_contents import contents_of
from fti_assets.training.datasets.dataset import TrainingDataset, layout_of
from fti_assets.training.datasets.rows import DatasetRows, dataset_rows
from fti_assets.training.datasets.run import stored_view


@dataclass(frozen=True)
class Rebuilt:
    """A partition made again beside the stored one.

    Args:
        dataset: the dataset's table.
        partition: the cutoff.
        stored, made: the data versions, a hash of the rows' content: that recorded when they were stored, and that of those made.
        rows: how many rows there are of the stored ones and of those that were made.
        differences: sentences on what differs in rows and columns; none if both are equal.
        notes: what differs and need not change a row, such as the code version.
    """

    dataset: str
    partition: str
    stored: str
    made: str
    rows: tuple[int, int]
    differences: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """Whether the rows are the same, to the bit."""
        return self.stored == self.made and not self.differences

    def __str__(self) -> str:
        what = f"{self.dataset} {self.partition}"
        lines = [
            f"{what} is equal: {self.rows[0]:,} rows, content {self.stored}"
            if self.is_equal
            else f"{what} differs: stored {self.rows[0]:,} rows, content {self.stored}; made again {self.rows[1]:,} rows, content "
            f"{self.made}"
        ]
        return "\n".join([*lines, *(f"  {one}" for one in (*self.differences, *self.notes))])


def rebuild(lake: Lake, dataset: TrainingDataset, partition: str) -> Rebuilt:
    """Make a partition again from the snapshot that its manifest names, by the code that is here, and compare it.

    Raises:
        NotMaterializedError: it is not there, or its snapshot is expired.
        DataError: it cannot be made.
    """
    ledger = lake.ledger(dataset.table)
    if partition not in ledger:
        alternatives = f"it has {one_of(sorted(ledger))}" if ledger else "it has none"
        raise NotMaterializedError(
            f"{dataset.table_name} has no partition {partition!r} in {lake.store.root}: {alternatives}"
        )
    record = ledger[partition]
    what = f"the manifest of {dataset.table_name} {partition}"
    manifest = from_json(DatasetManifest, record.record, what=what, remedy="materialize it again")
    groups = dataset.view.groups
    read_external(lake, groups)
    try:
        view = stored_view(lake, dataset)
        rows = dataset_rows(lake, dataset, view, cutoff=instant(manifest.cutoff), snapshot=manifest.snapshot)
    except FtiError as error:
        earlier = [*_tables(manifest.view), manifest.label_group]
        later = sorted({group.table_name for group in groups} - {*earlier})
        if not later:
            raise
        raise NotMaterializedError(
            f"{dataset.table_name} {partition} was made of {list_some(dict.fromkeys(earlier))}, and the code that is here rests on "
            f"{list_some(later)} besides, which cannot be read at snapshot {manifest.snapshot}, that of the manifest: rebuild it with the "
            f"code of then. {error}"
        ) from error
    staged = stage(lake.connection, rows.relation, layout_of(dataset), [Partition(partition)])
    [(content, count)] = contents_of(lake, staged.table, [partition]).values()
    differences = []
    if content != record.data_version or _are_altered(lake, dataset, partition, staged.table):
        differences = _differences(lake, dataset, partition, staged.table, manifest, rows)
    if content == record.data_version and differences:
        differences.insert(
            0, "the stored rows have been altered since they were stored, with the content of those made again"
        )
    notes = []
    code_version = dataset.assets_def.code_versions_by_key[dataset.assets_def.key] or ""
    if code_version != manifest.code_version:
        notes.append(f"the code version is {code_version}, the manifest says {manifest.code_version}")
    if view != manifest.view:
        fields = [name for name in view.__dataclass_fields__ if getattr(view, name) != getattr(manifest.view, name)]
        notes.append(f"the view {view.name!r} differs in {list_some(fields)}")
    notes += [
        f"{table} is kept outside the lake and has changed since: it is version {version} now"
        for table, version in external_versions(lake, groups).items()
        if manifest.upstream.get(table) != version
    ]
    return Rebuilt(
        dataset.table_name,
        partition,
        record.data_version,
        content,
        (record.rows, count),
        tuple(differences),
        tuple(notes),
    )


def _are_altered(lake: Lake, dataset: TrainingDataset, partition: str, staging: str) -> bool:
    """Whether the table has other rows than those made again: its recorded hash tells nothing of rows changed by hand."""
    of_partition = in_partitions([partition])
    names = [name for name in lake.connection.sql(f"FROM {quote(staging)}").columns if name != PARTITION]
    columns = ", ".join(map(quote, names))
    original, rebuilt = (
        f"SELECT {columns} FROM {table} WHERE {of_partition}" for table in (dataset.table.sql, quote(staging))
    )
    [(count,)] = lake.connection.execute(
        f"SELECT (SELECT count(*) FROM ({original} EXCEPT ALL {rebuilt})) + "
        f"(SELECT count(*) FROM ({rebuilt} EXCEPT ALL {original}))"
    ).fetchall()
    return bool(count)


def _differences(
    lake: Lake, dataset: TrainingDataset, partition: str, staging: str, manifest: DatasetManifest, rows: DatasetRows
) -> list[str]:
    """What differs between stored and staged rows, as sentences."""
    connection, rebuilt = lake.connection, quote(staging)
    original = f"(FROM {dataset.table.sql} WHERE {in_partitions([partition])})"
    described = [connection.sql(f"FROM {table}") for table in (original, rebuilt)]
    types = [
        {name: str(kind) for name, kind in zip(one.columns, one.types, strict=True) if name != PARTITION}
        for one in described
    ]
    ways = (
        [f"only the stored rows have {list_some(absent)}"]
        if (absent := [one for one in types[0] if one not in types[1]])
        else []
    )
    ways += (
        [f"only those made again have {list_some(new)}"]
        if (new := [one for one in types[1] if one not in types[0]])
        else []
    )
    both = [name for name in types[0] if name in types[1]]
    ways += [
        f"{name!r} is {types[0][name]} in the stored rows and {types[1][name]} in those made again"
        for name in both
        if types[0][name] != types[1][name]
    ]
    counts = [
        f"{part} {manifest.rows.get(part, 0):,} and {count:,}"
        for part, count in rows.rows.items()
        if manifest.rows.get(part, 0) != count
    ]
    counts += [
        f"{why} {manifest.left_out.get(why, 0):,} and {count:,}"
        for why, count in rows.left_out.items()
        if manifest.left_out.get(why, 0) != count
    ]
    ways += [f"the rows, stored and made again: {'; '.join(counts)}"] if counts else []
    for name in both:
        column = quote(name)
        [(lost, more)] = connection.execute(
            f"SELECT (SELECT count(*) FROM (SELECT {column} FROM {original} EXCEPT ALL SELECT {column} FROM {rebuilt})), "
            f"(SELECT count(*) FROM (SELECT {column} FROM {rebuilt} EXCEPT ALL SELECT {column} FROM {original}))"
        ).fetchall()
        if lost or more:
            ways.append(
                f"{name!r}: {lost:,} values of the stored rows are not among those made again, {more:,} the other way round"
            )
    return ways or ["the same values stand beside others: rows were combined otherwise"]


def _tables(view: ViewRecord) -> list[str]:
    """The tables that a view joins, each once."""
    return list(dict.fromkeys([view.spine_table.name, *(join.table_name for join in view.joins)]))
