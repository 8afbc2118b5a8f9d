"""What each declaration reads of which others, whatever starts it: the same that its default condition waits for."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import dagster as dg

from fti_assets.core.names import WHOLE, TableName
from fti_assets.core.times import LIFETIME_LENGTH, Partition, naive_utc
from fti_assets.features.asset import upstream_of
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.groups.timed_table import TimedTable
from fti_assets.inference.batch.predictions import BatchPredictions
from fti_assets.orchestration.conditions.reach import Reach, join_spans
from fti_assets.orchestration.conditions.within_reach import AnyWithinReach, Upstream
from fti_assets.orchestration.declaration import Declaration, TableDeclaration
from fti_assets.orchestration.partitions import is_timed, partitions_between, partitions_of
from fti_assets.training.composites.composite import Composite
from fti_assets.training.datasets.asset import reach_into
from fti_assets.training.datasets.dataset import TrainingDataset
from fti_assets.training.models.model import Model


def reads_of(declaration: Declaration) -> tuple[Upstream, ...]:
    """The assets that a declaration reads, and how far; an external group is none."""
    match declaration:
        case FeatureGroup() as group:
            back = None if group.lookback == LIFETIME_LENGTH else group.lookback
            return tuple(upstream_of({source: Reach(back) for source in group.inputs.values()}))
        case TrainingDataset() as dataset:
            return tuple(upstream_of({group: reach_into(dataset, group) for group in dataset.view.groups}))
        case Model() as model:
            return (Upstream(model.dataset.key, model.dataset.partitions_def),)
        case Composite() as composite:
            return tuple(Upstream(model.key, model.partitions_def) for model in composite.models)
        case BatchPredictions() as predictions:
            reaches: dict[TimedTable, Reach] = {predictions.spine: Reach()}
            reaches |= {group: Reach(group.ttl or timedelta(0)) for group in predictions.feature_groups}
            return tuple(upstream_of(reaches))
    return tuple(_within(declaration.assets_def.automation_conditions_by_key.values()))


def partitions_read(
    source: Upstream,
    readers: Sequence[str],
    partitions_def: dg.PartitionsDefinition[str] | None,
    stored_keys: Iterable[str],
) -> list[str]:
    """Those of some partitions of a source that some partitions of a reading asset read.

    Args:
        source: what is read.
        readers: partitions of the reading asset.
        partitions_def: its partitions.
        stored_keys: the partitions of the source that are asked about.
    """
    keys = set(stored_keys)
    if not is_timed(source.partitions_def):
        same = source.partitions_def is not None and source.partitions_def == partitions_def
        return sorted(keys & set(readers) if same else keys)
    if not is_timed(partitions_def):
        return sorted(keys)
    spans = join_spans(_span(source.reach, one) for one in partitions_of(partitions_def, list(readers)))
    parts = (one.key for start, end in spans for one in partitions_between(source.partitions_def, start, end))
    return [key for key in dict.fromkeys(parts) if key in keys]


def readers_among(
    source: Upstream,
    partitions: Sequence[str],
    partitions_def: dg.PartitionsDefinition[str] | None,
) -> list[str] | None:
    """The partitions of a reading asset that read some partitions of a source; None for all of it."""
    if partitions_def is None:
        return [WHOLE]
    if not is_timed(source.partitions_def) or not is_timed(partitions_def):
        same = source.partitions_def == partitions_def
        return list(partitions) if same else None
    results: dict[str, None] = {}
    for start, end in join_spans(
        (one.start, one.end) for one in partitions_of(source.partitions_def, list(partitions)) if one.start and one.end
    ):
        span = source.reach.span_of(partitions_def, start.replace(tzinfo=UTC), end.replace(tzinfo=UTC))
        if span is not None:
            readers = partitions_between(partitions_def, naive_utc(span.start), naive_utc(span.end))
            results |= dict.fromkeys(one.key for one in readers)
    return list(results)


def tables_of(declarations: Iterable[Declaration]) -> Mapping[TableName, TableDeclaration]:
    """The declarations whose rows are tables of the lake, by table."""
    return {one.table: one for one in declarations if isinstance(one, TableDeclaration) and one.is_stored}


def _span(reach: Reach, partition: Partition) -> tuple[datetime, datetime]:
    """What a partition may read of a source."""
    assert partition.start is not None
    assert partition.end is not None
    try:
        start = datetime.min if reach.back is None else partition.start - reach.back
    except OverflowError:
        start = datetime.min
    return start, partition.end + reach.ahead if reach.own else partition.start


def _within(conditions: Iterable[dg.AutomationCondition[dg.AssetKey]]) -> Iterator[Upstream]:
    """What the conditions of an asset look at."""
    for condition in conditions:
        if isinstance(condition, AnyWithinReach):
            yield from condition.sources
        yield from _within(condition.children)
