"""What conditions keep from tick to tick does not grow with the gaps among partitions that nobody asks about."""

from typing import Any

import dagster as dg
from dagster._daemon.asset_daemon import asset_daemon_cursor_from_instigator_serialized_cursor

from benchmarks import sensor_tick


def test_no_span_is_kept_for_each_gap() -> None:
    defs, groups, landed = sensor_tick.system(240)
    hours = [hour for number, hour in enumerate(landed) if number % 4]
    repository = defs.get_repository_def()
    cursor: Any = None
    with dg.DagsterInstance.ephemeral() as instance:
        for group in groups:
            for hour in hours:
                sensor_tick.report(instance, group.key, hour, "1")
        for version in ("2", "3"):
            cursor = sensor_tick.tick(repository, "answers_features_and_training", instance, cursor).cursor
            sensor_tick.report(instance, groups[0].key, hours[90], version)
        cursor = sensor_tick.tick(repository, "answers_features_and_training", instance, cursor).cursor
    read = asset_daemon_cursor_from_instigator_serialized_cursor(cursor, repository.asset_graph)
    sizes = [
        len(getattr(subset.value, "included_time_windows", ()))
        for of_asset in read.previous_condition_cursors
        for node in of_asset.node_cursors_by_unique_id.values()
        for subset in (node.true_subset, node.candidate_subset)
        if hasattr(subset, "value")
    ]
    assert sizes
    assert max(sizes) < 10
