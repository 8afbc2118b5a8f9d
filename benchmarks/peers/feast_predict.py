"""A prediction by Feast and a bare graph, run in an environment of its own: ``python feast_predict.py FOLDER LOCATION``.

The folder holds a Parquet file a group (``key``, ``seen_at`` and numbers), ``model.onnx``, and ``asked.json``: for each number of keys
the requests of each call, with the numbers that a request brings. The location is ``sqlite``, or the address of a Redis server
(``host:port,db=0``), on which the features of a key are asked as a feature service, once as it is and once precomputed. MLflow is given
the graph's own tensor, since it takes the columns of a frame for inputs. The last line printed is JSON: by the way of asking and the
number of keys, the median CPU microseconds of a call and the answers of the first.
"""

import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pandas as pd

warnings.simplefilter("ignore")


def main(folder: Path, location: str) -> dict[str, dict[str, object]]:
    import mlflow.onnx
    from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
    from feast.types import Float64
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    online = {"type": "sqlite", "path": str(folder / "online.db")}
    if location != "sqlite":
        online = {"type": "redis", "connection_string": location}
    kind = online["type"]
    store = FeatureStore(
        config=RepoConfig(
            project=folder.name.replace("-", "_"),
            provider="local",
            registry=str(folder / f"{kind}.db"),
            online_store=online,
            entity_key_serialization_version=3,
        )
    )
    entity = Entity(name="key", join_keys=["key"], value_type=ValueType.STRING)
    groups = json.loads((folder / "groups.json").read_text())
    frames = {name: pd.read_parquet(folder / f"{name}.parquet") for name in groups}
    features = {name: [column for column in rows if column not in ("key", "seen_at")] for name, rows in frames.items()}
    views = [
        FeatureView(
            name=name,
            entities=[entity],
            ttl=None,
            schema=[Field(name=feature, dtype=Float64) for feature in features[name]],
            source=FileSource(path=str(folder / f"{name}.parquet"), timestamp_field="seen_at"),
        )
        for name in frames
    ]
    services = {"feast": FeatureService(name="plain", features=views)}
    if kind == "redis":
        services["precomputed"] = FeatureService(name="precomputed", features=views, precompute_online=True)
    store.apply([entity, *views, *services.values()])
    for name, rows in frames.items():
        store.write_to_online_store(name, rows)
    if kind == "redis":
        store.precompute_feature_service("precomputed")

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])
    order = [f"{name}__{feature}" for name in groups for feature in features[name]]
    tensor = TensorSpec(np.dtype(np.float32), (-1, len(order) + 2), "numbers")
    saved = folder / f"mlflow-{kind}"
    mlflow.onnx.save_model(
        onnx.load(str(folder / "model.onnx")), str(saved), signature=ModelSignature(Schema([tensor]))
    )
    pyfunc = mlflow.pyfunc.load_model(str(saved))
    runs: dict[str, Callable[[np.ndarray], Any]] = {
        "onnxruntime": lambda dense: session.run(None, {"numbers": dense})[0],
        "pyfunc": lambda dense: pyfunc.predict({"numbers": dense})["probability"],
    }
    results: dict[str, dict[str, object]] = {}
    for way, service in services.items():
        for runtime, run in runs.items():

            def call(requests: list[dict[str, Any]], service: Any = service, run: Any = run) -> np.ndarray:
                rows = [{"key": one["key"]} for one in requests]
                read = store.get_online_features(features=service, entity_rows=rows, full_feature_names=True).to_dict()
                columns = [[one["distance"] for one in requests], [one["seats"] for one in requests]]
                dense = np.array([*columns, *[read[name] for name in order]], dtype=np.float32).T.copy()
                return np.asarray(run(dense))

            for count, request_lists in json.loads((folder / "asked.json").read_text()).items():
                first = call(request_lists[0]).astype(float).reshape(-1).tolist()
                times = []
                for requests in request_lists:
                    start = time.process_time_ns()
                    call(requests)
                    times.append((time.process_time_ns() - start) / 1000)
                results[f"{way}+{runtime} {count}"] = {"us": statistics.median(times), "answers": first}
    if kind == "redis":
        store.teardown()
    return results


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2])))
