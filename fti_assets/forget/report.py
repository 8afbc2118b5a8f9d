"""What forgetting a key found and did, in plain words; the key itself is nowhere in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from fti_assets.errors import count_of, list_some
from fti_assets.forget.carriers import Kind
from fti_assets.forget.sinks import SinkReport
from fti_assets.stores.lake.catalog import ranges
from fti_assets.stores.lake.upkeep.forgetting import ExpiryReport
from fti_assets.stores.lake.upkeep.occurrences import Occurrences


@dataclass(frozen=True)
class TableReport:
    """A table that held rows of the key, and whether they were taken out."""

    kind: Kind
    occurrences: Occurrences
    taken_out: bool
    made_from: Sequence[int] = ()
    """Of a dataset, the snapshots that its partitions were made from."""


@dataclass(frozen=True)
class Forgotten:
    """What was found of a key, and what was done."""

    group: str
    columns: tuple[str, ...]
    dry_run: bool
    tables: Sequence[TableReport]
    """The tables that held rows of the key when the command began."""
    tiles: Sequence[str]
    """The tables of what windows keep of the partitions that held it; they are dropped, and made again by the next run."""
    online: Mapping[str, int]
    """Of each namespace, how many keys were deleted; in a dry run, how many are there."""
    outboxes: Mapping[str, int]
    """Of each outbox of its stream, how many events waited in it for the lake; they were brought there first, unless it was a dry run."""
    rejected: Mapping[str, tuple[int, int]]
    """Of each table, how many rows that were kept aside are the key's, in how many files."""
    logged: Mapping[str, tuple[int, int]]
    """Of each model, how many answers in the files of its prediction log are the key's, in how many files."""
    sinks: Sequence[SinkReport]
    """The sinks of predictions that may hold it."""
    elsewhere: Mapping[str, tuple[Occurrences, str]]
    """Other groups that hold rows of the same entity, and the command that forgets it there."""
    models: Sequence[str]
    """The builds that learned from a snapshot that holds the key."""
    snapshots: Sequence[int]
    """The snapshots that hold the key still, or, if they were expired, held it."""
    pinned: Mapping[int, tuple[str, ...]] = field(default_factory=dict)
    """What is pinned to those snapshots."""
    expired: ExpiryReport | None = None
    """With ``expire``, what that did, and what a search of all files found afterwards."""
    kept_for_sinks: bool = False
    """Whether ``expire`` was left out, since old snapshots are needed to tell the key's rows in a sink."""
    of_killed_writers: int = 0
    """The files of killed writers that held it when the command began."""
    written_again: Sequence[str] = ()
    """Tables into which somebody wrote the key while it was taken out."""
    still_logged: Sequence[str] = ()
    """The files of prediction logs that hold it after all, such as those that are being written."""
    reported_partitions: int = 0
    without_lock: bool = False
    """Whether a dry run looked at a lake that it cannot write, and so without the writers' lock."""

    @property
    def nothing(self) -> bool:
        """Whether the key is nowhere."""
        return not (
            self.tables
            or self.tiles
            or self.snapshots
            or any(self.online.values())
            or self.rejected
            or self.logged
            or self.elsewhere
            or self.of_killed_writers
            or any(report.rows or report.problem for report in self.sinks)
        )

    @property
    def deleted_files(self) -> int:
        """The files that were deleted because no snapshot needs them."""
        return 0 if self.expired is None else self.expired.deleted


def as_text(forgotten: Forgotten) -> str:
    """Write a report for people."""
    return "\n".join(_lines(forgotten))


def _lock(result: Forgotten) -> Iterator[str]:
    if result.without_lock:
        yield "the lake cannot be written here, so it was looked at without the writers' lock: what is written meanwhile may be told or not"


def _lines(result: Forgotten) -> Iterator[str]:
    key_text = f"the key of {result.group} ({', '.join(result.columns)})"
    if result.nothing:
        yield f"{key_text} is nowhere: not in the lake, at no snapshot, not online, not among rejected rows, in no log. Nothing was changed"
        yield from _outboxes(result)
        yield from _sinks(result)
        yield from _search(result)
        yield from _lock(result)
        return
    yield f"{'would forget' if result.dry_run else 'forgot'} {key_text}"
    for report in result.tables:
        if report.kind != "dataset" or report.taken_out:
            message = "holds" if result.dry_run else "taken out:"
            yield f"  {report.occurrences.table.full_name}: {message} {_rows(report.occurrences)}"
    for tiles in result.tiles:
        yield f"  {tiles}: what windows keep of its partitions{'' if result.dry_run else ', dropped'}"
    for namespace, keys in result.online.items():
        yield f"  online {namespace}: {count_of(keys, 'key')}{'' if result.dry_run else ' deleted'}"
    yield from _outboxes(result)
    for table, (rows, files) in result.rejected.items():
        yield f"  rejected rows of {table}: {rows} in {count_of(files, 'file')}{'' if result.dry_run else ', taken out'}"
    for model, (lines, files) in result.logged.items():
        yield f"  logged answers of {model}: {lines} in {count_of(files, 'file')}{'' if result.dry_run else ', taken out'}"
    yield from _sinks(result)
    yield from _datasets(result)
    if result.models:
        yield "models that learned from a snapshot which holds it:"
        yield from (f"  {model}" for model in result.models)
    yield from _snapshots(result)
    yield from _lock(result)
    if result.elsewhere:
        yield "other groups that hold rows of the same entity:"
        for table, (occurrences, command) in result.elsewhere.items():
            yield f"  {table}: {_rows(occurrences)}; {command}"
    if result.written_again:
        yield f"somebody wrote it into {list_some(result.written_again)} meanwhile: take it out of the sources and forget it again"
    if result.still_logged:
        yield f"files of prediction logs that hold it still: {list_some(result.still_logged)}; forget it again once they are closed"
    if result.reported_partitions:
        yield f"Dagster was told the new data versions of {count_of(result.reported_partitions, 'partition')}"
    if not result.dry_run:
        yield (
            "what this cannot reach: the sources, from which the next run would bring it back; previews and failing samples in "
            "Dagster's event log; sinks that are no longer declared, and what buckets and databases keep of rows that were replaced; "
            "copies and backups"
        )


def _sinks(result: Forgotten) -> Iterator[str]:
    for report in result.sinks:
        sink = f"  {report.place} of {report.table}:"
        again = f"{list_some(report.written)} written again" if report.written else "nothing written"
        rows = sum((report.rows or {}).values())
        holds = f"{count_of(rows, 'row')} in {count_of(len(report.rows or {}), 'partition')}"
        if report.problem:
            yield f"{sink} {again}: {report.problem}. It may hold the key still: forget it again"
        elif report.rows is None:
            reach_text = f"called again with {list_some(report.written)}" if report.written else "not reached"
            yield f"{sink} {reach_text}; {report.unasked}"
        elif result.dry_run and report.rows:
            yield f"{sink} holds {holds}"
        elif report.left:
            yield f"{sink} {holds}, {again}, and a search finds {report.left} rows still: forget it again"
        elif report.rows or report.written:
            yield f"{sink} {holds}, {again}; a search finds none"


def _outboxes(result: Forgotten) -> Iterator[str]:
    for path, events in result.outboxes.items():
        then = (
            "were not searched: they are brought to the lake first"
            if result.dry_run
            else "were brought to the lake, and searched there"
        )
        yield f"  outbox {path}: {count_of(events, 'event')}, which {then}"


def _datasets(result: Forgotten) -> Iterator[str]:
    whole_datasets = [report for report in result.tables if report.kind == "dataset" and not report.taken_out]
    if whole_datasets:
        yield "training datasets that hold it, and still do:"
        for report in whole_datasets:
            origin = f", made from snapshots {ranges(report.made_from)}" if report.made_from else ""
            yield f"  {report.occurrences.table.full_name}: {_rows(report.occurrences)}{origin}"
        yield "  --expire takes it out of them too"


def _snapshots(result: Forgotten) -> Iterator[str]:
    if result.of_killed_writers and result.expired is None:
        yield f"files of killed writers that hold it: {result.of_killed_writers}"
        if not result.dry_run:
            yield "  upkeep deletes them when they are a day old; --expire does it now"
    if not result.snapshots:
        yield from _search(result)
        return
    snapshots = ranges(result.snapshots)
    if result.expired is None:
        yield f"snapshots that hold it: {snapshots}"
        if result.kept_for_sinks:
            yield (
                "  they were not expired, since a sink may hold it and its rows are told by theirs: mend the sink, or declare it no more, "
                "and forget it again"
            )
        elif not result.dry_run:
            yield "  they stay readable until upkeep expires them; --expire does it now"
        return
    yield f"snapshots expired: {snapshots}; {count_of(result.deleted_files, 'file')} deleted"
    lost = list(dict.fromkeys(what for whats in result.pinned.values() for what in whats))
    if lost:
        yield "what rested on them can no longer be made again from the same rows:"
        yield from (f"  {what}" for what in lost)
    yield from _search(result)


def _search(result: Forgotten) -> Iterator[str]:
    if result.expired is None:
        return
    if result.expired.unnamed:
        yield f"files of killed writers deleted: {result.expired.unnamed}"
    if result.expired.holding:
        yield f"files that hold it still: {list_some(result.expired.holding)}; forget it again"
    if result.expired.unreadable:
        yield (
            f"files that cannot be searched: {list_some(result.expired.unreadable)}; materialize their partitions again, or delete what is "
            "no Parquet file, and forget it again"
        )
    if not (result.expired.holding or result.expired.unreadable):
        yield f"no file under {result.expired.folder} holds it: {result.expired.searched} were searched, and nothing outside of it"
    if result.expired.beside:
        number = len(result.expired.beside)
        yield f"files beside it, which were not searched: {number} ({list_some(result.expired.beside)}); look whether they hold it"


def _rows(occurrences: Occurrences) -> str:
    total = sum(occurrences.rows.values())
    if not total:
        return f"no rows now, but at snapshots {ranges(occurrences.snapshots)}"
    partitions = list(occurrences.rows)
    return f"{count_of(total, 'row')} in {count_of(len(partitions), 'partition')} ({list_some(partitions)})"
