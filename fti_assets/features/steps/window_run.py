"""What the step of windows at the time of a request does: see that the rows are there, and load the online store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from typing import Any

import dagster as dg

from fti_assets.core.names import Commit, PartitionRecord
from fti_assets.core.times import Partition
from fti_assets.errors import NotMaterializedError
from fti_assets.features.groups.columns import code_terms_of
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.features.online.load import load_online
from fti_assets.features.published.contract import publish_contract_of
from fti_assets.features.steps.inputs import refuse_missing_partitions
from fti_assets.orchestration.materialization import report_commit
from fti_assets.orchestration.partitions import is_timed, partitions_between, running_partitions
from fti_assets.orchestration.resources import ONLINE_KEYS, Stores
from fti_assets.stores.lake.lake import Lake


def run_request_windows(group: FeatureGroup, context: dg.AssetExecutionContext, stores: Stores) -> Iterator[Any]:
    """Say of each partition that is run which rows its predictions count, and load the keys that have changed.

    Nothing is stored in the lake. A partition's version is that of the source's partitions that its predictions reach, so that
    what rests on the windows runs again when one of these has changed.
    """
    partitions = running_partitions(context)
    with stores.offline_store().connect() as lake:
        publish_contract_of(lake, group)
        with lake.one_snapshot():
            snapshot = lake.snapshot()
            records = tuple(_record(lake, group, partition, snapshot) for partition in partitions)
        metadata: dict[str, Any] = {}
        if group.online:
            metadata[ONLINE_KEYS] = load_online(lake, stores.online_store(), group)
        commit = Commit(snapshot, records, tuple(record.partition for record in records), {})
        yield from report_commit(context, commit, metadata, delay=group.serving_delay or timedelta(0))


def _record(lake: Lake, group: FeatureGroup, partition: Partition, snapshot: int) -> PartitionRecord:
    """What the source's ledger says of a partition, under the version of all that its predictions reach."""
    [source] = group.inputs.values()
    ledger = lake.ledger(group.table, snapshot=snapshot)
    within_reach = list(ledger)
    if is_timed(source.partitions_def) and partition.start is not None and partition.end is not None:
        start = partition.start - group.lookback
        refuse_missing_partitions(lake, source, group, start, partition.end, snapshot)
        near = partitions_between(source.partitions_def, start, partition.end)
        within_reach = [one.key for one in near if one.key in ledger]
    if partition.key not in ledger:
        raise NotMaterializedError(
            f"{group.table_name} is over {source.table_name}, whose partition {partition.key!r} is not materialized: materialize it first"
        )
    terms = [repr(code_terms_of(group)), *sorted((key, ledger[key].data_version) for key in within_reach)]
    version = hashlib.sha256(json.dumps(terms).encode()).hexdigest()[:24]
    return replace(ledger[partition.key], data_version=version)
