"""Feast's own point-in-time join, run in an environment of its own: ``python feast_join.py FOLDER...``.

A folder holds ``spine.parquet`` (``id``, the keys and ``t``), a Parquet file a group (``key``, ``e`` and features), and
``groups.json``: for each group its key in the spine, its features and its ttl in seconds, or null. The answer goes to
``feast.parquet`` beside them. The last line printed is JSON: CPU seconds and peak memory of each folder's join, without the
imports and the registration.
"""

import json
import resource
import sys
import time
import warnings
from datetime import timedelta
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

warnings.simplefilter("ignore")


def joined(folder: Path) -> dict[str, float]:
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Float64

    groups = json.loads((folder / "groups.json").read_text())
    kinds = {"string": ValueType.STRING, "large_string": ValueType.STRING}
    schema = pq.read_schema(folder / "spine.parquet")
    store = FeatureStore(
        config=RepoConfig(
            project="peer",
            provider="local",
            registry=str(folder / "registry.db"),
            offline_store={"type": "duckdb"},
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            entity_key_serialization_version=3,
        )
    )
    entities = {
        group["key"]: Entity(
            name=group["key"],
            join_keys=[group["key"]],
            value_type=kinds.get(str(schema.field(group["key"]).type), ValueType.INT64),
        )
        for group in groups.values()
    }
    views = [
        FeatureView(
            name=name,
            entities=[entities[group["key"]]],
            ttl=None if group["ttl_s"] is None else timedelta(seconds=group["ttl_s"]),
            schema=[Field(name=feature, dtype=Float64) for feature in group["features"]],
            source=FileSource(
                path=str(folder / f"{name}.parquet"), timestamp_field="e", field_mapping={"key": group["key"]}
            ),
        )
        for name, group in groups.items()
    ]
    store.apply([*entities.values(), *views])
    spine = pd.read_parquet(folder / "spine.parquet").rename(columns={"t": "event_timestamp"})
    wanted = [f"{name}:{feature}" for name, group in groups.items() for feature in group["features"]]
    start = time.process_time()
    answer = store.get_historical_features(entity_df=spine, features=wanted, full_feature_names=True).to_arrow()
    seconds = time.process_time() - start
    pq.write_table(answer, folder / "feast.parquet")
    return {"cpu_s": seconds, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}


if __name__ == "__main__":
    print(json.dumps([joined(Path(folder)) for folder in sys.argv[1:]]))
