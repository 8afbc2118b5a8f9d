"""The drift of what was answered in some partitions: against the train rows of the build that answered, and the weeks before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import dagster as dg

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.manifest.profiles import ColumnProfile, Profile
from fti_assets.core.sql import literal, quote
from fti_assets.core.times import Partition
from fti_assets.errors import FtiError
from fti_assets.monitoring.drift.counts import CountedColumn, count_columns
from fti_assets.monitoring.drift.drift import TRAINING, WEEKS_BEFORE, Drift
from fti_assets.monitoring.drift.judging import Comparison, measured
from fti_assets.monitoring.drift.statistics import together
from fti_assets.monitoring.measurement import Measurement, Subject
from fti_assets.monitors.answers.answered import BUILD, MATURE, PARTITION, Answered
from fti_assets.monitors.drift.columns import (
    WatchedColumn,
    answer_columns,
    feature_columns,
    label_columns,
    profile_of_build,
)
from fti_assets.monitors.drift.volume import volume_of
from fti_assets.orchestration.partitions import partitions_between
from fti_assets.stores.models.store import ModelStore
from fti_assets.training.datasets.profiling import edges_of, projections_sql, usual_length

Counts = Mapping[str, Mapping[str, Mapping[str, ColumnProfile]]]
"""The counts of each column, by partition and build."""


@dataclass
class Drifts:
    """What was measured, and in words what could not be."""

    measurements: list[Measurement] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def drift_of(
    answers: Answered,
    store: ModelStore,
    partitions: Sequence[Partition],
    *,
    calendar: dg.PartitionsDefinition[str],
    weeks: int,
    rules: Sequence[Drift],
) -> Drifts:
    """Measure drift in some partitions; what cannot be measured of one build stops no other.

    Args:
        answers: of one model.
        store: with its builds.
        partitions: of the monitor.
        calendar: the monitor's partitions.
        weeks: how many weeks before a partition it is compared with.
        rules: what is judged.
    """
    before = {one.key: _before(calendar, one, weeks) for one in partitions} if weeks else {}
    every = {one.key: one for one in [*partitions, *(earlier for own in before.values() for earlier in own)]}
    counts = answers.counts(list(every.values()))
    by_build: dict[str, list[Partition]] = {}
    for partition in partitions:
        for build in counts.get(partition.key, {}):
            by_build.setdefault(build, []).append(partition)
    totals = answers.totals(list(every.values()), counts)
    results = Drifts()
    for one in partitions:
        results.measurements += volume_of(answers.column, one, before.get(one.key), totals, rules)
    for build, own in by_build.items():
        # The build that gave most of a partition's answers says what is compared with the weeks before, of all its answers.
        main = [
            one
            for one in own
            if one.key in before and max(counts[one.key].items(), key=lambda item: (item[1], item[0]))[0] == build
        ]
        needed = [
            *own,
            *(every[key] for key in {e.key: None for one in main for e in before[one.key]} if key in counts),
        ]
        _of_build(answers, store, build, own, {one.key: before[one.key] for one in main}, needed, rules, results)
    return results


def _before(calendar: dg.PartitionsDefinition[str], partition: Partition, weeks: int) -> list[Partition]:
    assert partition.start is not None
    return partitions_between(calendar, partition.start - timedelta(weeks=weeks), partition.start)


def _of_build(
    answers: Answered,
    store: ModelStore,
    build: str,
    partitions: Sequence[Partition],
    before: Mapping[str, Sequence[Partition]],
    needed: Sequence[Partition],
    rules: Sequence[Drift],
    results: Drifts,
) -> None:
    """Compare what a build answered in some partitions, in some of them with the weeks before, too."""
    columns, table = _rows_of(answers, store, build, needed, results)
    connection = answers.lake.connection
    of_labels = [one for one in columns if one.subject == "label"]
    others = [one for one in columns if one.subject != "label"]
    by = [PARTITION, BUILD]
    counts = _merged(
        {},
        count_columns(connection, table, [one.counted for one in others], by),
        count_columns(connection, f"(FROM {table} WHERE {MATURE})", [one.counted for one in of_labels], by),
    )
    for partition in partitions:
        earlier = before.get(partition.key)
        own_columns, own_counts = columns, counts
        without_bins = [one for one in columns if not one.has_bins]
        if earlier is not None and without_bins:
            # Nobody noted how they were spread, so the weeks before are compared with in bins of their own.
            binned = _with_own_bins(answers, table, without_bins, earlier)
            rows = f"(FROM {table} WHERE {_in([partition, *earlier])})"
            more = [
                count_columns(
                    connection, _mature(rows, subject), [o.counted for o in binned if o.subject == subject], by
                )
                for subject in dict.fromkeys(one.subject for one in binned)
            ]
            own_columns = [*(one for one in columns if one.has_bins), *binned]
            own_counts = _merged(counts, *more)
        for column in _with_many_categories(columns, counts, partition, earlier or ()):
            rows = _mature(f"(FROM {table} WHERE {_in([partition, *(earlier or ())])})", column.subject)
            own_counts = _merged(own_counts, count_columns(connection, rows, [column.counted], by))
        for column in own_columns:
            for comparison in _comparisons(column, own_counts, partition, build, earlier):
                results.measurements += measured(comparison, rules)
    connection.execute(f"DROP TABLE {table}")  # a range has one for each build, and is done with it


def _mature(rows: str, subject: Subject) -> str:
    return f"(FROM {rows} WHERE {MATURE})" if subject == "label" else rows


def _comparisons(
    column: WatchedColumn, counts: Counts, partition: Partition, build: str, earlier: Sequence[Partition] | None
) -> Iterator[Comparison]:
    assert partition.start is not None
    name, none = column.counted.name, _nothing(column.counted)
    own = counts.get(partition.key, {}).get(build, {}).get(name, none)
    # A dataset leaves out rows without a label, so that its share of them is no reference.
    left_out = ("null_rate",) if column.subject == "label" else ()
    of_training = Comparison(
        partition_start=partition.start,
        subject=column.subject,
        column=column.name,
        current=own,
        reference=TRAINING,
        before=_comparable(column.profile, own),
        build=build,
        learned=column.learned,
        left_out=left_out,
    )
    yield of_training
    if earlier is not None:
        whole = together(_of_partition(counts, partition, name))
        past = together(of for one in earlier for of in _of_partition(counts, one, name))
        yield replace(
            of_training,
            current=whole or none,
            reference=WEEKS_BEFORE,
            before=past,
            build="",
            learned=None,
            left_out=(),
        )


def _comparable(profile: ColumnProfile | None, current: ColumnProfile) -> ColumnProfile | None:
    """A profile, if it is of a column of this type."""
    return profile if profile is not None and profile.type == current.type else None


def _nothing(column: CountedColumn) -> ColumnProfile:
    """The counts of no rows."""
    return ColumnProfile(column.name, column.type, 0.0, 0.0, column.edges, (0.0,) * (len(column.edges) + 1))


def _rows_of(
    answers: Answered, store: ModelStore, build: str, partitions: Sequence[Partition], results: Drifts
) -> tuple[list[WatchedColumn], str]:
    """The columns of what a build answered, and its rows; of a build that is lost, or cannot be joined, the answers alone."""
    manifest: ModelManifest | None = None
    profile: Profile | None = None
    try:
        manifest = store.manifest(answers.model.name, build)
        profile = profile_of_build(store, manifest)
        table = answers.joined(manifest, partitions)
    except FtiError as error:
        results.problems.append(f"what {build} of {answers.model.name!r} saw cannot be told: {error}")
        table = answers.to_table(answers.without_label(answers.stored(partitions).project(f"*, false AS {MATURE}")))
        manifest = None
    columns = list(answer_columns(answers, manifest, profile))
    if manifest is not None:
        if profile is None:
            results.problems.append(
                f"{build} of {answers.model.name!r} has no profile of what it learned from, which an earlier release did not write: "
                "train it again, then it is compared"
            )
        columns += feature_columns(answers, manifest, profile)
        columns += label_columns(answers, profile, table)
    return columns, table


def _with_own_bins(
    answers: Answered, table: str, columns: Sequence[WatchedColumn], earlier: Sequence[Partition]
) -> list[WatchedColumn]:
    """Columns with the edges of the rows of earlier partitions."""
    results = []
    for column in columns:
        rows = _mature(f"(FROM {table} WHERE {_in(earlier)})", column.subject)
        counted, connection = column.counted, answers.lake.connection
        dim = usual_length(connection, rows, counted.name) if counted.type == "vector" else None
        projections = projections_sql(quote(counted.name), dim or 0)
        values = [f"nullif({value}::DOUBLE, 'nan'::DOUBLE)" for value in (counted.value, *projections)]
        own, *others = edges_of(connection, rows, values)
        directions = tuple(zip(projections, others, strict=True))
        results.append(replace(column, counted=replace(counted, edges=own, directions=directions)))
    return results


def _with_many_categories(
    columns: Sequence[WatchedColumn], counts: Counts, partition: Partition, earlier: Sequence[Partition]
) -> Iterator[WatchedColumn]:
    """Columns with more categories than a count names, to be counted by all that the weeks before name.

    Otherwise a category of the weeks before that is rarer than others on the day would count as gone.
    """
    for column in columns:
        name = column.counted.name
        past = [of for one in earlier for of in _of_partition(counts, one, name)]
        if past and any(of.further_categories for of in [*past, *_of_partition(counts, partition, name)]):
            named = dict.fromkeys(
                [*column.counted.categories, *(category for of in past for category in of.categories)]
            )
            yield replace(column, counted=replace(column.counted, categories=tuple(named)))


def _in(partitions: Iterable[Partition]) -> str:
    keys = ", ".join(literal(one.key) for one in partitions)
    return f"{PARTITION} IN ({keys})" if keys else "false"


def _of_partition(counts: Counts, partition: Partition, name: str) -> Iterator[ColumnProfile]:
    """The counts of a column, of each build that answered in a partition."""
    return (of[name] for of in counts.get(partition.key, {}).values() if name in of)


def _merged(counts: Counts, *more: Mapping[Any, Mapping[str, ColumnProfile]]) -> Counts:
    """Counts with those of more columns."""
    results = {key: {build: dict(of) for build, of in builds.items()} for key, builds in counts.items()}
    for one in more:
        for (partition, build), columns in one.items():
            results.setdefault(partition, {}).setdefault(build, {}).update(columns)
    return results
