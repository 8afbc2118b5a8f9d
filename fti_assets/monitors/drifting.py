"""The drift of what was answered in some partitions."""

from __future__ import annotations

from collections.abc import Sequence

from fti_assets.core.manifest import ModelManifest
from fti_assets.core.times import Partition
from fti_assets.inference.batch.predictions import Answer, BatchPredictions
from fti_assets.monitoring.drift.counts import CountedColumn, count_columns
from fti_assets.monitoring.measurement import Measurement
from fti_assets.monitors.answered import BUILD, PARTITION, answered_rows, builds_of, manifest_of
from fti_assets.monitors.monitor import Monitor
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.models.store import ModelStore


def drift_of(
    monitor: Monitor, lake: Lake, store: ModelStore, partitions: Sequence[Partition], snapshot: int
) -> list[Measurement]:
    """Measure drift in some partitions."""
    predictions = monitor.answers
    assert isinstance(predictions, BatchPredictions)
    results: list[Measurement] = []
    starts = {one.key: one.start for one in partitions}
    for answer in predictions.answers:
        counts = builds_of(lake, predictions, answer, partitions, snapshot)
        by_build: dict[str, list[Partition]] = {}
        for one in partitions:
            for build in counts.get(one.key, {}):
                by_build.setdefault(build, []).append(one)
        for build, those in by_build.items():
            manifest = manifest_of(store, answer.model.name, build)
            if manifest is None:
                continue
            of_build = _null_rates(lake, predictions, answer, manifest, those, snapshot)
            for partition, name, rows, nulls in of_build:
                start = starts[partition]
                assert start is not None
                results.append(
                    Measurement(
                        partition_start=start, subject="feature", column_name=name, statistic="null_rate",
                        reference="training", build=build, value=nulls / rows, rows=int(rows),
                    )
                )  # fmt: skip
    return results


def _null_rates(
    lake: Lake,
    predictions: BatchPredictions,
    answer: Answer,
    manifest: ModelManifest,
    partitions: Sequence[Partition],
    snapshot: int,
) -> list[tuple[str, str, float, float]]:
    rows = answered_rows(lake, predictions, answer, manifest, partitions, snapshot)
    columns = [CountedColumn(feature.name, feature.type) for feature in manifest.view.features]
    counts = count_columns(
        lake.connection, f"(FROM {rows.table} WHERE {BUILD} = '{manifest.reference}')", columns, [PARTITION]
    )
    return [
        (partition, name, one.rows, one.nulls)
        for (partition,), profiles in counts.items()
        for name, one in profiles.items()
    ]
