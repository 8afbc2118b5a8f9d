"""The rows of a training dataset at a cutoff: spine, label, split and features, all as they were known by then."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

import duckdb

from fti_assets.core.manifest import Column, SampleRecord, ViewRecord
from fti_assets.core.manifest.profiles import Profile
from fti_assets.core.names import is_kept
from fti_assets.core.rules import Verdict
from fti_assets.core.sql import quote, temporary_name, timestamp
from fti_assets.core.types import type_of_sql
from fti_assets.engines.running import RunningEngine
from fti_assets.errors import DataError, count_of, list_some, one_of
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.point_in_time.assemble import assemble
from fti_assets.features.rows.visibility import available_sql
from fti_assets.features.spine_rows import LATE, spine_as_of
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake
from fti_assets.training.datasets.checks.coverage import Coverage, coverage_of, with_match_columns
from fti_assets.training.datasets.checks.judging import judge_dataset
from fti_assets.training.datasets.checks.rows import ROW_SPLIT
from fti_assets.training.datasets.dataset import SPLIT, TrainingDataset
from fti_assets.training.datasets.labels import complete_for, label_columns, with_labels
from fti_assets.training.datasets.queries import (
    DIVIDED,
    OF_DIVIDED,
    cut_queries,
    divided_sql,
    queries_by_part,
    undivided,
    whole_queries,
)
from fti_assets.training.datasets.sampling.sample import is_sampled_out, sample_record
from fti_assets.training.datasets.spine_filter import filtered
from fti_assets.training.datasets.splits.hash_split import HashedParts
from fti_assets.training.datasets.splits.row_parts import (
    MatureRows,
    has_labels,
    is_mature,
    part_or_reason,
    split_sql,
    where_the_parts_lie,
)
from fti_assets.training.datasets.splits.split import SPLITS, Interval, TimeSplit
from fti_assets.training.datasets.weight_column import refuse_wrong_weights
from fti_assets.training.views.terms import Label


@dataclass(frozen=True)
class DatasetRows:
    """The rows of one cutoff, in the order of prediction time and keys, how many were left out and why, what the joins found,
    how many spine rows were not available at their prediction time, and what the checks of the rows said.
    ``classes`` counts the rows of each label's classes by part, ``missing`` the mature rows that lack each label."""

    relation: duckdb.DuckDBPyRelation
    rows: Mapping[str, int]
    left_out: Mapping[str, int]
    trained_until: datetime | None
    coverage: Coverage
    boundaries: Mapping[str, Interval]
    delay_breaches: int
    verdicts: tuple[Verdict, ...] = ()
    sample: SampleRecord | None = None
    profile: Profile | None = None
    classes: Mapping[str, Mapping[str, Mapping[str, int]]] = field(default_factory=dict)
    missing: Mapping[str, int] = field(default_factory=dict)
    keys_in_several_parts: float = 0.0
    queries: Mapping[str, int] = field(default_factory=dict)


def dataset_rows(
    lake: Lake, dataset: TrainingDataset, view: ViewRecord, *, cutoff: datetime, snapshot: int,
    engine: RunningEngine | None = None
) -> DatasetRows:  # fmt: skip
    """Make a dataset's rows: nothing at or after the cutoff, and nothing that was not known by it.

    Returns:
        Rows with the spine's keys, the prediction time, each feature, the label and ``split``.

    Raises:
        DataError: the spine's key is not unique for its label, or no row has a label.
    """
    connection, spine = lake.connection, dataset.view.spine
    spine_rows = lake.rows(spine.table, snapshot=snapshot)
    by_then = spine_as_of(connection, _visible_spine(connection, spine, spine_rows, cutoff, dataset), view)
    filtered_out = {}
    if dataset.where is not None:
        by_then, filtered_out["filtered"] = filtered(connection, by_then, dataset.where, what=dataset.table_name)
    if any(one.group is not spine and one.horizon is None for one in dataset.view.labels.values()):
        _refuse_ambiguous(connection, by_then, spine)

    def rows_of(label: Label) -> duckdb.DuckDBPyRelation | None:
        """The rows of a label's group, where they are not the spine rows themselves."""
        is_own = label.group is spine and label.horizon is None and not has_versions(spine)
        return None if is_own else lake.rows(label.group.table, snapshot=snapshot)

    candidates, with_labels_view, table = (
        quote(temporary_name(kind)) for kind in ("candidates", "labelled", "dataset")
    )
    complete = partial(complete_for, lake, cutoff=cutoff, snapshot=snapshot)
    labelled = with_labels(connection, by_then, rows_of, complete, dataset.view.labels, spine, cutoff)
    # Stored, since the split, the counts and the join each read it again.
    connection.execute(f"CREATE TEMP TABLE {candidates} AS FROM {relation_name(labelled)}")
    parts: dict[str, Interval] = {}
    if isinstance(dataset.split, TimeSplit):
        mature = MatureRows(connection, candidates, dataset, cutoff)
        parts = dataset.split.boundaries(cutoff, dataset.view.maturity, window=dataset.window, rows=mature)
    _refuse_without_entity(connection, candidates, dataset, cutoff)
    if dataset.weight is not None:
        counted = f"{has_labels(dataset)} AND {is_mature(dataset, cutoff)}"
        what = f"{dataset.table_name} at {cutoff}"
        refuse_wrong_weights(connection, candidates, dataset.weight, counted, what=what, spine=spine.table_name)
    in_parts = f"SELECT *, {split_sql(dataset, parts)} AS {ROW_SPLIT} FROM {candidates}"
    cut = ""
    if dataset.query:
        is_known = _is_visible(spine, cutoff, dataset)
        cut = cut_queries(connection, dataset.query, relation_name(spine_rows), candidates, view.identity, is_known)
    divided = divided_sql(dataset.query, is_mature(dataset, cutoff), cut)
    connection.execute(f"CREATE TEMP VIEW {with_labels_view} AS SELECT *, {divided} AS {DIVIDED} FROM ({in_parts})")
    labels = {
        column: Column(name, type_of_sql(str(connection.table(candidates).select(column).types[0])) or "text")
        for name, column in label_columns(dataset.view.labels).items()
    }
    sampled_by = next(iter(labels))  # of several labels no class is sampled
    is_out = is_sampled_out(dataset.sample, view.identity, sampled_by, labels[sampled_by].type)
    reason = part_or_reason(dataset, cutoff, is_out)
    counts = dict(connection.execute(f"SELECT {reason} AS why, count(*) FROM {with_labels_view} GROUP BY 1").fetchall())
    left_out = filtered_out | {why: counts.get(why, 0) for why in ("immature", "unlabelled", "between splits")}
    if dataset.sample is not None:
        left_out["sampled out"] = counts.get("sampled out", 0)
    if dataset.query:
        left_out[OF_DIVIDED] = counts.get(OF_DIVIDED, 0)
    rows, missing = {part: counts.get(part, 0) for part in SPLITS}, _missing(connection, candidates, dataset, cutoff)
    if not rows["train"]:
        count = sum(counts.values()) + sum(filtered_out.values())
        raise DataError(
            f"{dataset.table_name} at {cutoff} has no row to train on: {count_of(count, 'row')} of {spine.table_name} known by "
            f"then, of which {_listed_counts(left_out)}; rows by split: {_listed_counts(rows)}"
            f"{whole_queries(dataset.query, left_out) or where_the_parts_lie(dataset, parts) or _remedy(dataset, missing, left_out)}"
        )
    sample = None
    if dataset.sample is not None:
        train = f"(FROM {with_labels_view} WHERE {part_or_reason(dataset, cutoff)} = 'train')"
        what = f"{dataset.table_name} at {cutoff}"
        sample = sample_record(
            connection, dataset.sample, train, sampled_by, labels[sampled_by].type, is_out, what=what
        )
    order = ", ".join(map(quote, view.order))
    usable = connection.sql(f"FROM {with_labels_view} WHERE {reason} IN {SPLITS} ORDER BY {order}")
    # Joined after the filter: rows that are left out need no features.
    result = assemble(lake, with_match_columns(view), usable, snapshot=snapshot, engine=engine)
    connection.execute(f"CREATE TEMP TABLE {table} AS FROM {relation_name(result)}")
    assembly = connection.table(table)
    own = dict.fromkeys([*view.identity, *(feature.name for feature in view.features), *dataset.kept_columns])
    relation = assembly.project(
        f"{', '.join(map(quote, own))}, {', '.join(f'{column} AS {quote(label.name)}' for column, label in labels.items())}, "
        f"{ROW_SPLIT} AS {quote(SPLIT)}"
    )
    coverage = coverage_of(assembly, view)
    judgement = judge_dataset(connection, table, dataset, view, labels, coverage, sample)
    return DatasetRows(
        relation,
        rows,
        left_out,
        _trained_until(connection, with_labels_view, view),
        coverage,
        parts,
        delay_breaches=int(assembly.aggregate(f"count(*) FILTER ({LATE})").fetchall()[0][0]),
        verdicts=(*judgement.verdicts, *([undivided(dataset.query, left_out)] if dataset.query else [])),
        classes=judgement.classes,
        missing=missing,
        keys_in_several_parts=judgement.keys_in_several_parts,
        queries=queries_by_part(connection, table, dataset.query),
        sample=sample,
        profile=judgement.profile,
    )


def _listed_counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in counts.items())


def _missing(
    connection: duckdb.DuckDBPyConnection, table: str, dataset: TrainingDataset, cutoff: datetime
) -> dict[str, int]:
    """How many mature rows lack each label."""
    columns = label_columns(dataset.view.labels)
    counts = ", ".join(f"count(*) FILTER ({column} IS NULL)" for column in columns.values())
    [row] = connection.execute(f"SELECT {counts} FROM {table} WHERE {is_mature(dataset, cutoff)}").fetchall()
    return dict(zip(columns, row, strict=True))


def _remedy(dataset: TrainingDataset, missing: Mapping[str, int], left_out: Mapping[str, int]) -> str:
    if left_out.get("filtered"):
        return ". Look at what where= keeps; or materialize more rows before the cutoff"
    if left_out.get("sampled out"):
        return ". Give sample= a larger share"
    if left_out["unlabelled"]:
        labels = dataset.view.labels
        lacking = max(labels, key=lambda name: missing[name])
        which = f", which {missing[lacking]} of them lack" if len(labels) > 1 else ""
        return f". Look at what fills {labels[lacking].name!r} in {labels[lacking].group.table_name}{which}, and at its keys"
    return ". Materialize more rows before the cutoff, or give a later cutoff"


def _visible_spine(
    connection: duckdb.DuckDBPyConnection,
    spine: FeatureGroup,
    rows: duckdb.DuckDBPyRelation,
    cutoff: datetime,
    dataset: TrainingDataset,
) -> duckdb.DuckDBPyRelation:
    """The versions of the spine's rows before the cutoff and within the window that were known by the cutoff."""
    return connection.sql(f"FROM {relation_name(rows)} WHERE {_is_visible(spine, cutoff, dataset)}")


def _is_visible(spine: FeatureGroup, cutoff: datetime, dataset: TrainingDataset) -> str:
    """The SQL of whether a version of a spine row is before the cutoff, within the window, and was known by the cutoff."""
    if spine.event_time is None:
        return "true"
    time, moment = quote(spine.event_time), timestamp(cutoff)
    since = "" if dataset.window is None else f" AND {time} >= {timestamp(cutoff - dataset.window)}"
    return f"{time} < {moment} AND {available_sql(spine.times)} <= {moment}{since}"


def has_versions(group: FeatureGroup) -> bool:
    """Whether a key may have several rows of one event time."""
    return group.event_time is not None and (group.available_at is not None or group.tie_break is not None)


def _refuse_ambiguous(
    connection: duckdb.DuckDBPyConnection, rows: duckdb.DuckDBPyRelation, spine: FeatureGroup
) -> None:
    keys = ", ".join(map(quote, spine.keys))
    query = f"SELECT {keys} FROM {relation_name(rows)} GROUP BY ALL HAVING count(*) > 1 LIMIT 3"
    if twice := connection.execute(query).fetchall():
        raise DataError(
            f"the key {', '.join(spine.keys)} of the spine {spine.table_name} is not unique, so its label is not known: it has "
            f"{list_some(row if len(row) > 1 else row[0] for row in twice)} more than once. Give each row a key of its own, or give "
            "the label within='30d' for the first outcome after each prediction"
        )


def _refuse_without_entity(
    connection: duckdb.DuckDBPyConnection, candidates: str, dataset: TrainingDataset, cutoff: datetime
) -> None:
    """Refuse rows without an entity, which a split by hash goes by, or without a query, as that is null or no column of the spine."""
    of_split = dataset.split.columns if isinstance(dataset.split, HashedParts) else ()
    columns = tuple(dict.fromkeys((*of_split, *dataset.query)))
    spine, own_columns = dataset.view.spine, connection.table(candidates).columns
    if missing := [name for name in columns if name not in own_columns]:
        own = [name for name in own_columns if not is_kept(name)]
        verb = "is split" if missing[0] in of_split else "has queries"
        raise DataError(
            f"{dataset.table_name} {verb} by {list_some(missing)}, which its spine {spine.table_name} does not have: there is "
            f"{one_of(own)}"
        )
    if not columns:
        return
    nulls = " OR ".join(f"{quote(name)} IS NULL" for name in columns)
    [(count,)] = connection.execute(
        f"SELECT count(*) FROM {candidates} WHERE ({nulls}) AND {has_labels(dataset)} AND {is_mature(dataset, cutoff)}"
    ).fetchall()
    if count:
        raise DataError(
            f"{dataset.table_name} at {cutoff} has {count_of(count, 'row')} without {one_of(columns)}, so it is unknown which part "
            f"they belong to: fill it in {spine.table_name}, or name another column"
        )


def _trained_until(connection: duckdb.DuckDBPyConnection, rows: str, view: ViewRecord) -> datetime | None:
    if view.prediction_time is None:
        return None
    time = quote(view.prediction_time)
    latest: datetime | None = connection.execute(
        f"SELECT max({time}) FROM {rows} WHERE {ROW_SPLIT} IN ('train', 'validation')"
    ).fetchall()[0][0]
    return latest
