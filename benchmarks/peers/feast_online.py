"""Feast's own reads of its SQLite online store, run in an environment of its own: ``python feast_online.py FOLDER``.

The folder holds a Parquet file a group (``user``, ``seen_at`` and numbers) and ``asked.json``: for each number of keys, the
lists of users to ask for, one list a read. The first answer of each goes to ``answers.json``, one list of numbers a user, group
after group. The last line printed is JSON: the median CPU microseconds of a read, by its number of keys.
"""

import json
import statistics
import sys
import time
import warnings
from pathlib import Path

import pandas as pd

warnings.simplefilter("ignore")


def read(folder: Path) -> dict[str, float]:
    from feast import Entity, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Float64

    store = FeatureStore(
        config=RepoConfig(
            project="peer",
            provider="local",
            registry=str(folder / "registry.db"),
            online_store={"type": "sqlite", "path": str(folder / "online.db")},
            entity_key_serialization_version=3,
        )
    )
    user = Entity(name="user", join_keys=["user"], value_type=ValueType.STRING)
    frames = {file.stem: pd.read_parquet(file) for file in sorted(folder.glob("*.parquet"))}
    features = {name: [column for column in rows if column not in ("user", "seen_at")] for name, rows in frames.items()}
    views = [
        FeatureView(
            name=name,
            entities=[user],
            ttl=None,
            schema=[Field(name=feature, dtype=Float64) for feature in features[name]],
            source=FileSource(path=str(folder / f"{name}.parquet"), timestamp_field="seen_at"),
        )
        for name in frames
    ]
    store.apply([user, *views])
    for name, rows in frames.items():
        store.write_to_online_store(name, rows)
    wanted = [f"{name}:{feature}" for name in frames for feature in features[name]]

    taken, answers = {}, {}
    for count, key_lists in json.loads((folder / "asked.json").read_text()).items():
        times = []
        for users in key_lists:
            rows = [{"user": user} for user in users]
            start = time.process_time_ns()
            answer = store.get_online_features(features=wanted, entity_rows=rows, full_feature_names=True).to_dict()
            times.append((time.process_time_ns() - start) / 1000)
            if count not in answers:
                columns = [answer[f"{name}__{feature}"] for name in frames for feature in features[name]]
                answers[count] = [list(row) for row in zip(*columns, strict=True)]
        taken[count] = statistics.median(times)
    (folder / "answers.json").write_text(json.dumps(answers))
    return taken


if __name__ == "__main__":
    print(json.dumps(read(Path(sys.argv[1]))))
