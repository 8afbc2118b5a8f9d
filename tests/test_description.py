"""``fti describe``: facts from declarations and definitions."""

import json
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pandera.pandas as pa
import pytest

import fti_assets as fti
from fti_assets.cli import main
from fti_assets.describe import as_text, describe, load_definitions
from fti_assets.orchestration.declaration import declaration_of

DAYS = dg.DailyPartitionsDefinition(start_date="2025-01-01")


class OrderSchema(pa.DataFrameModel):
    """An order."""

    order_id: int = pa.Field(ge=0)
    customer: int
    t: pd.Timestamp
    amount: float = pa.Field(ge=0, raise_warning=True)


@fti.feature_group(
    keys=["order_id"], event_time="t", schema=OrderSchema, partitions_def=DAYS, tags={"mode": "streaming"},
    automation_condition=dg.AutomationCondition.eager(), owners=["team:shop"],
)  # fmt: skip
def orders() -> pd.DataFrame:
    """Each order."""
    return pd.DataFrame()


@fti.feature_group(keys=["order_id"], event_time="t", available_at="known", partitions_def=DAYS)
def outcomes(orders: fti.Table) -> fti.Table:
    return orders


@fti.feature_group(
    keys=["customer"], event_time="hour", lookback="7d", ttl="36h", serving_delay="15min", partitions_def=DAYS
)
def habits(outcomes: fti.Table) -> fti.Table:
    return outcomes


view = fti.FeatureView(
    name="returns",
    spine=orders,
    label=fti.Label(outcomes["is_returned"], maturity="2d"),
    features=[orders["amount"], habits["rate"]],
    encoders={"rate": fti.Passthrough()},
)
dataset = fti.training_dataset(name="returns_dataset", view=view, split=fti.TimeSplit(validation="3d", test="7d"))


@fti.model(
    dataset=dataset, task="binary", gates=[fti.BeatsBaseline("log_loss")], metadata={"latency_goal": "20 ms"},
    tags={"framework": "scikit-learn"},
    evaluate=fti.Evaluation(metrics=["roc_auc", "log_loss"], slices=["amount"]),
)  # fmt: skip
def returns_model(data: fti.TrainingData) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression().fit(data.train.X, data.train.y)


@fti.model(dataset=dataset, task="binary", tags={"accelerator": "gpu"})
def net(data: fti.TrainingData) -> Any:
    return data.fit(None)


scores = fti.batch_predictions(name="scores", model=returns_model, metadata={"consumer": "the returns desk"})


@dg.asset
def report() -> None: ...


@pytest.fixture
def definitions(tmp_path: Path) -> dg.Definitions:
    nightly = dg.define_asset_job("nightly", selection=["outcomes_v1"])

    @dg.sensor(asset_selection=["habits_v1"])
    def on_a_file(context: dg.SensorEvaluationContext) -> None: ...

    own = fti.build_definitions(
        [scores, net],
        resources={"fti": fti.Stores(lake=str(tmp_path / "lake"), models=str(tmp_path / "models"))},
        assets=[report],
        schedules=[dg.ScheduleDefinition(name="at_three", job=nightly, cron_schedule="0 3 * * *")],
        sensors=[on_a_file],
    )
    return dg.Definitions.merge(own, dg.Definitions(jobs=[nightly]))


def fact(system: dict[str, Any], part: str, asset: str) -> dict[str, Any]:
    [facts] = [one for one in system[part] if one["asset"] == asset]
    return dict(facts)


def test_each_asset_is_found_to_be_what_it_was_declared_as(definitions: dg.Definitions) -> None:
    assets = list(definitions.get_repository_def().assets_defs_by_key.values())
    mapped = dg.map_asset_specs(lambda spec: spec.merge_attributes(tags={"team": "shop"}), assets)
    result, found_mapped = (
        {one.key.to_user_string(): declaration_of(one) for one in some} for some in (assets, mapped)
    )
    assert result == found_mapped == {
        "orders_v1": orders, "outcomes_v1": outcomes, "habits_v1": habits, "returns_dataset_v1": dataset,
        "returns_model_v1": returns_model, "net_v1": net, "scores_v1": scores, "report": None,
    }  # fmt: skip


def test_feature_pipelines_say_how_they_run_and_what_they_keep(definitions: dg.Definitions) -> None:
    system = describe(definitions)
    of_orders = fact(system, "features", "orders_v1")
    assert of_orders["mode"] == "streaming"  # stated by a tag
    assert of_orders["runs"] == "incremental: daily partitions since 2025-01-01"
    assert of_orders["framework"] == "pandas"
    rules = list(orders.assets_def.check_specs)
    assert of_orders["validation"] == {
        "schema": "OrderSchema", "rules": len(rules), "blocking": sum(rule.blocking for rule in rules),
    }  # fmt: skip
    assert of_orders["validation"]["blocking"] < len(rules)  # a warning is not blocking
    assert of_orders["schedule"] == ["automation condition eager"]
    assert (of_orders["upstream"], of_orders["owners"]) == ([], ["team:shop"])
    of_habits = fact(system, "features", "habits_v1")
    assert of_habits["mode"] == "batch"
    assert of_habits["runs"] == "incremental: daily partitions since 2025-01-01, reading 7d back"
    assert (of_habits["framework"], of_habits["upstream"]) == ("DuckDB", ["outcomes_v1"])
    assert (of_habits["times"], of_habits["ttl"]) == ("true at hour, available 15min later", "36h")
    assert of_habits["freshness"] == "fails 2895min after the last run"
    assert of_orders["freshness"] == "warns 2d and fails 4d after the last run"


def test_schedules_and_sensors_that_target_an_asset_are_told(definitions: dg.Definitions) -> None:
    system = describe(definitions)
    assert "schedule at_three (0 3 * * *)" in fact(system, "features", "outcomes_v1")["schedule"]
    assert "sensor on_a_file" in fact(system, "features", "habits_v1")["schedule"]
    assert fact(system, "others", "report")["schedule"] == ["by hand: no automation condition, schedule or sensor"]


def test_training_says_how_it_is_judged_and_registered(definitions: dg.Definitions, tmp_path: Path) -> None:
    system = describe(definitions)
    model = fact(system, "models", "returns_model_v1")
    assert (model["framework"], model["accelerator"]) == ("scikit-learn", "not stated")
    assert model["encoders"] == {"amount": "Standardize() by default", "rate": "Passthrough()"}
    assert model["evaluation"] == {"metrics": ["roc_auc", "log_loss"], "slices": ["amount"], "threshold": 0.5}
    assert model["gates"] == ["BeatsBaseline(metric='log_loss')"]
    assert model["registry"] == {"store": str(tmp_path / "models"), "champion": None, "builds": 0}
    assert not (tmp_path / "models").exists()  # it is only read
    of_net = fact(system, "models", "net_v1")
    assert (of_net["framework"], of_net["accelerator"]) == ("not stated", "gpu")
    of_dataset = fact(system, "datasets", "returns_dataset_v1")
    assert of_dataset["label"] == "is_returned of outcomes_v1, mature after 2d"
    assert of_dataset["features"] == ["amount", "rate"]


def test_inference_says_who_asks_and_what_cannot_be_asked_online(definitions: dg.Definitions) -> None:
    system = describe(definitions)
    batch = fact(system, "batch", "scores_v1")
    assert (batch["consumer"], batch["latency_goal"]) == ("the returns desk", "not stated")
    assert batch["sink"].startswith("the table predictions.scores_v1")
    online = fact(system, "online", "returns_model_v1")
    assert online["answers"] == "no: habits_v1 is not online"
    assert (online["latency_goal"], online["consumer"]) == ("20 ms", "not stated")


def test_text_has_every_fact_and_json_is_same_for_machines(definitions: dg.Definitions) -> None:
    system = describe(definitions)
    assert json.loads(json.dumps(system)) == system
    text = as_text(system)
    for part in ("FEATURES", "TRAINING: models", "INFERENCE: batch", "OTHER ASSETS"):
        assert part in text.splitlines()
    assert "    latency goal 20 ms" in text.splitlines()
    assert "    consumer     not stated" in text.splitlines()


def test_the_command_describes_a_file_and_a_module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FTI_HOME", str(tmp_path / "home"))
    monkeypatch.syspath_prepend(tmp_path)
    Path("described_shop.py").write_text(
        "import pandas as pd, fti_assets as fti\n"
        "@fti.feature_group(keys=['customer'])\n"
        "def ages() -> pd.DataFrame:\n    '''How old customers are.'''\n    return pd.DataFrame()\n"
        "defs = fti.build_definitions([ages])\n"
    )
    Path("definitions.py").write_text("from described_shop import defs\n")
    assert main(["describe"]) == 0
    printed = capsys.readouterr().out
    assert "  ages_v1\n    description  How old customers are.\n" in printed
    assert "runs         full: the whole table in each run" in printed
    assert main(["describe", "-f", "definitions.py"]) == 0
    assert capsys.readouterr().out == printed
    assert main(["describe", "-m", "described_shop", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["features"][0]["asset"] == "ages_v1"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no file definitions.py: name the file or module"),
        ("x = 1", "definitions.py holds no dg.Definitions"),
        ("1 / 0", "definitions.py cannot be loaded: ZeroDivisionError: division by zero"),
        ("import dagster as dg\na, b = dg.Definitions(), dg.Definitions()", "several dg.Definitions, 'a' and 'b'"),
    ],
)
def test_definitions_that_cannot_be_described_are_one_sentence(
    text: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    if text is not None:
        Path("definitions.py").write_text(text)
    assert main(["describe"]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("fti: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_the_flagship_is_described_whole() -> None:
    from examples.flight_delays.definitions import defs

    system = describe(defs)
    triggers_of = {facts["asset"] for part in system.values() for facts in part}
    assert triggers_of == {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    net_facts = fact(system, "models", "delay_v1")
    assert net_facts["framework"] == "PyTorch Lightning"
    assert "carrier" in net_facts["encoders"]
    assert fact(system, "online", "delay_v1")["answers"] == "yes"
    weather = fact(system, "features", "weather_v1")
    assert "freshness" not in weather, "its days have ended, so nothing of it can be overdue"
    assert (weather["framework"], weather["times"]) == ("pandas", "true at observed_at, available at known_at")
    assert weather["validation"]["rules"] > weather["validation"]["blocking"] > 10
    assert as_text(system).startswith("FEATURES\n")


def test_file_with_postponed_annotations_is_loaded_as_dagster_loads_it(tmp_path: Path) -> None:
    file = tmp_path / "postponed.py"
    file.write_text(
        "from __future__ import annotations\n"
        "import pandas as pd, pandera.pandas as pa, fti_assets as fti\n"
        "class Visit(pa.DataFrameModel):\n    visit: int\n    at: pd.Timestamp\n"
        "@fti.feature_group(keys=['visit'], event_time='at', schema=Visit)\n"
        "def visits() -> pd.DataFrame: ...\n"
        "defs = fti.build_definitions([visits])\n"
    )
    [group] = describe(load_definitions(file=file))["features"]
    assert group["asset"] == "visits_v1"


@pytest.fixture(scope="module")
def watched() -> dg.Definitions:
    log = fti.prediction_log(name="log", model=returns_model)
    rules = [fti.Drift("psi", columns=["amount", "rate"]), fti.Drift("null_rate", reference="weeks_before", in_a_row=2)]
    quality = [
        fti.Quality("roc_auc", at_least=0.7, slices=["amount"]),
        fti.Quality("log_loss", drop=0.1, in_a_row=3),
        fti.Quality("brier"),
    ]
    retried = fti.model(dataset=dataset, task="binary", rollback="propose", name="retried")(lambda data: None)
    return fti.build_definitions(
        [
            fti.monitor(name="watch", predictions=scores, drift=rules, quality=quality, partitions_def=DAYS),
            fti.parity(name="same", log=log, sample=2_000, lag="5min"),
            fti.experiment(name="arms", model=returns_model, log=log, metric="log_loss", looks=3),
            retried,
        ],
        resources={"alerts": fti.Alerts(to=["log", dg.EnvVar("ON_CALL"), "jsons://h/s3cret"], at_least="error")},
    )


def test_what_watches_a_system_is_told_in_words(watched: dg.Definitions) -> None:
    system = describe(watched)
    monitor, parity = fact(system, "monitors", "watch_v1"), fact(system, "monitors", "same_v1")
    assert (monitor["watches"], monitor["models"], monitor["labels"]) == (
        "scores_v1",
        ["returns_model_v1"],
        "mature after 2d",
    )
    assert monitor["drift"] == [
        "psi of amount and rate against training at most 0.2",
        "null_rate against weeks before at most 0.05 above it (2 in a row)",
    ]
    assert monitor["quality"] == [
        "roc_auc by amount at least 0.7",
        "log_loss worse by at most 0.1 than on test rows (3 in a row)",
        "brier measured",
    ]
    assert (parity["compares"], parity["requests"], parity["lag"]) == ("log_v1", "at most 2,000 of a partition", "5min")
    arms, review = fact(system, "monitors", "arms_v1"), fact(system, "monitors", "retried_review_v1")
    assert (arms["compares"], arms["decides"]) == (
        "the arms of returns_model_v1 by log_loss",
        "at 1,000 keys an arm, in 3 looks",
    )
    assert (review["rollback"], review["compares"].split(" by ")[0]) == (
        "propose",
        "the champion of retried_v1 with the one before it",
    )
    assert system["others"] == []
    [result] = system["alerts"]
    assert (result["asset"], result["of"], result["tells"][:2]) == ("alerts", "errors", ["log", "$ON_CALL"])
    assert result["tells"][2].startswith("jsons://*** and its password")
    lines = as_text(system).splitlines()
    assert {"MONITORING", "ALERTS"} <= set(lines)
    assert json.loads(json.dumps(system)) == system


@pytest.mark.parametrize(
    ("word", "kind", "name"),
    [
        ("watch", "monitor", "watch_v1"),
        ("same", "parity", "same_v1"),
        ("arms", "experiment", "arms_v1"),
        ("review", "review", "retried_review_v1"),
        ("ON_CALL", "resource", "alerts"),
    ],
)
def test_what_watches_a_system_is_found(watched: dg.Definitions, word: str, kind: str, name: str) -> None:
    assert (kind, name) in [(one.kind, one.name) for one in fti.search(word, watched)]
