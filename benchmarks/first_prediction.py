"""The first hour's wait: the README's small system from its table to its first prediction, beside the same by hand.

    python -m benchmarks.first_prediction

What is run is what the README says: ``dagster asset materialize -f churn.py --select '*'`` over 500 customers, then ``app.py``, each in
a process of its own. By hand it is plain Dagster on the same stack, as its author would make it fast: three assets in one process,
over one connection to a DuckLake; a check of the keys, a random split, a one-hot encoder within the ONNX graph, the graph compared with
the model, its metrics beside a baseline, and an app of numpy and onnxruntime. It has no data versions, manifest, model store, champion or
schema of requests. Both are run in turn; the CPU time of the processes and their children is compared, and the medians are printed, with
the time to load the definitions alone. The first turn, which may compile modules, is shown and not counted.
"""

import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

GOAL, ROUNDS, CUSTOMERS = 1.3, 5, 500
README = Path(__file__).parents[1] / "README.md"

BY_HAND = """
import functools
import json
from pathlib import Path

import dagster as dg
import duckdb
import duckdb_extension_ducklake
import duckdb_extension_sqlite_scanner
import numpy as np
import pandas as pd

HOME = Path("by_hand")
FEATURES = ["age", "plan"]


@functools.cache
def lake():
    HOME.mkdir(exist_ok=True)
    connection = duckdb.connect()
    connection.execute("SET autoinstall_known_extensions = false")
    for package in (duckdb_extension_sqlite_scanner, duckdb_extension_ducklake):
        [file] = Path(package.__file__).parent.glob(f"extensions/v{duckdb.__version__}/*.duckdb_extension")
        connection.execute(f"LOAD '{file}'")
    connection.execute(f"ATTACH 'ducklake:sqlite:{HOME / 'catalog.sqlite'}' AS lake (DATA_PATH '{HOME / 'data'}')")
    return connection


def store(name, rows):
    lake().register("rows", rows)
    lake().execute("BEGIN")
    lake().execute(f"CREATE TABLE IF NOT EXISTS lake.{name} AS FROM rows LIMIT 0")
    lake().execute(f"DELETE FROM lake.{name}")
    lake().execute(f"INSERT INTO lake.{name} FROM rows")
    lake().execute("COMMIT")


def stored(name):
    return lake().sql(f"FROM lake.{name}").df()


@dg.asset(check_specs=[dg.AssetCheckSpec("keys_unique", asset="customers", blocking=True)])
def customers():
    rows = pd.read_csv("customers.csv")
    unique = bool(rows.customer_id.is_unique and rows.customer_id.notna().all())
    yield dg.AssetCheckResult(passed=unique, check_name="keys_unique")
    store("customers", rows)
    yield dg.MaterializeResult(metadata={"dagster/row_count": len(rows)})


@dg.asset(deps=[customers])
def churn_dataset():
    rows = stored("customers")
    drawn = np.random.default_rng(0).random(len(rows))
    rows["split"] = np.where(drawn < 0.6, "train", np.where(drawn < 0.8, "validation", "test"))
    store("churn_dataset", rows)
    return dg.MaterializeResult(metadata={"rows": rows.split.value_counts().to_dict()})


@dg.asset(deps=[churn_dataset])
def churn():
    import onnxruntime
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import log_loss, roc_auc_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    rows = stored("churn_dataset")
    train, test = rows[rows.split == "train"], rows[rows.split == "test"]
    encode = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["plan"]), remainder="passthrough")
    model = make_pipeline(encode, LogisticRegression()).fit(train[FEATURES], train.churned)
    types = [("age", FloatTensorType([None, 1])), ("plan", StringTensorType([None, 1]))]
    graph = to_onnx(model, initial_types=types, options={"zipmap": False}).SerializeToString()
    session = onnxruntime.InferenceSession(graph)
    inputs = {"age": test[["age"]].to_numpy(np.float32), "plan": test[["plan"]].to_numpy(object)}
    answers = session.run(None, inputs)[1][:, 1]
    np.testing.assert_allclose(answers, model.predict_proba(test[FEATURES])[:, 1], atol=1e-5)
    metrics = {"log_loss": log_loss(test.churned, answers), "roc_auc": roc_auc_score(test.churned, answers)}
    baseline = {"log_loss": log_loss(test.churned, np.full(len(test), train.churned.mean()))}
    (HOME / "model.onnx").write_bytes(graph)
    (HOME / "manifest.json").write_text(json.dumps({"metrics": metrics, "baseline": baseline}))
    return dg.MaterializeResult(metadata=metrics)


defs = dg.Definitions([customers, churn_dataset, churn], executor=dg.in_process_executor)
"""

APP_BY_HAND = """
import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession("by_hand/model.onnx")
inputs = {"age": np.array([[33]], np.float32), "plan": np.array([["pro"]], object)}
print(session.run(None, inputs)[1][0, 1])
"""


def block(name: str) -> str:
    """A file that the README shows."""
    match = re.search(rf"<!-- {re.escape(name)} -->\n```python\n(.*?)```", README.read_text(), re.DOTALL)
    assert match is not None, f"the README has no block {name}"
    return match[1]


def customers() -> pd.DataFrame:
    """500 customers, of whom the older ones stay."""
    random = np.random.default_rng(0)
    ages, plans = random.normal(40, 10, CUSTOMERS).round(), random.choice(["free", "pro"], CUSTOMERS)
    churned = (random.random(CUSTOMERS) < 1 / (1 + np.exp((ages - 40) / 4))).astype(int)
    return pd.DataFrame({"customer_id": np.arange(CUSTOMERS), "age": ages, "plan": plans, "churned": churned})


def cpu_s(folder: Path, *command: str) -> float:
    """The CPU seconds of a command and its children."""
    environment = {name: value for name, value in os.environ.items() if name not in ("FTI_HOME", "DAGSTER_HOME")}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def timed(folder: Path, stores: str) -> dict[str, float]:
    """A first materialization and a first prediction, from nothing."""
    shutil.rmtree(folder / stores, ignore_errors=True)
    dagster = str(Path(sys.executable).with_name("dagster"))
    return {
        "load": cpu_s(folder, sys.executable, "-c", "import churn"),
        "materialize": cpu_s(folder, dagster, "asset", "materialize", "-f", "churn.py", "--select", "*"),
        "predict": cpu_s(folder, sys.executable, "app.py"),
    }


def main() -> None:
    """Measure in turn and print the medians."""
    systems = {
        "ours": ({"churn.py": block("churn.py"), "app.py": block("app.py")}, ".fti"),
        "by_hand": ({"churn.py": BY_HAND, "app.py": APP_BY_HAND}, "by_hand"),
    }
    times: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        for who, (files, _) in systems.items():
            folder = Path(name, who)
            folder.mkdir()
            customers().to_csv(folder / "customers.csv", index=False)
            for file, source in files.items():
                (folder / file).write_text(source)
        for turn in range(ROUNDS + 1):
            for who, (_, stores) in systems.items():
                taken = timed(Path(name, who), stores)
                print(f"{who}: {', '.join(f'{what} {seconds:.2f} s' for what, seconds in taken.items())}", flush=True)
                if turn:
                    for what, seconds in (taken | {"first": taken["materialize"] + taken["predict"]}).items():
                        times.setdefault(f"{what}_{who}_s", []).append(seconds)
    medians = {what: round(statistics.median(taken), 2) for what, taken in times.items()}
    ratio = medians["first_ours_s"] / medians["first_by_hand_s"]
    print(json.dumps({"benchmark": "first_prediction", "ratio": round(ratio, 3), "goal": GOAL, **medians}))


if __name__ == "__main__":
    main()
