"""Declarations in YAML: what they become, how they name each other, and what is refused."""

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from inspect import signature
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
import yaml
from dagster.components.testing import create_defs_folder_sandbox
from dagster.components.testing.utils import DefsFolderSandbox, component_defs
from sklearn.linear_model import LogisticRegression

import fti_assets as fti
from fti_assets.components import (
    AlertsComponent,
    CompositeComponent,
    ExperimentComponent,
    FeatureGroupComponent,
    FeatureViewComponent,
    ModelComponent,
    MonitorComponent,
    ParityComponent,
    PredictionLogComponent,
    PredictionsComponent,
    PublishedGroupComponent,
    PublishedModelComponent,
    StoresComponent,
)
from fti_assets.components.attributes import AssetAttributes
from fti_assets.components.declaring import DeclaringComponent
from fti_assets.components.feature_view import DatasetAttributes, LabelAttributes
from fti_assets.components.monitoring import DriftAttributes, QualityAttributes
from fti_assets.components.reference import space_of
from fti_assets.errors import DeclarationError
from fti_assets.monitoring.drift.drift import DEFAULT_RULES
from fti_assets.orchestration.options import AssetOptions
from fti_assets.testing import stores_in
from tests.support.partitions import range_tags

# Dagster itself reads each YAML document so, and points from each asset to its YAML.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.parse_obj_as. is deprecated"),
    pytest.mark.filterwarnings("ignore:Class `.*Code.*` is currently in beta"),
    pytest.mark.filterwarnings("ignore:Parameter `use_user_code_server`"),
    pytest.mark.filterwarnings("ignore:Parameter `owners` of initializer `SensorDefinition"),
]

SHOP = """
import dagster as dg
import numpy as np
import pandas as pd
import pandera.pandas as pa

import fti_assets as fti


class VisitsSchema(pa.DataFrameModel):
    visit_id: int
    t: pd.Timestamp
    spend: float


def rows(context: dg.AssetExecutionContext) -> pd.DataFrame:
    window = context.partition_time_window
    start, end = (moment.replace(tzinfo=None) for moment in (window.start, window.end))
    t = pd.date_range(start, end, freq="30min", inclusive="left")
    rng = np.random.default_rng(int(start.timestamp()))
    spend = rng.normal(size=len(t))
    late = (spend + rng.normal(scale=0.5, size=len(t)) > 0).astype(int)
    number = (t - pd.Timestamp("2013-01-01")) // pd.Timedelta("30min")
    return pd.DataFrame({"visit_id": number, "t": t, "spend": spend, "bought": late, "known": t + pd.Timedelta("2h")})


def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return rows(context)[["visit_id", "t", "spend"]]


def outcomes(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return rows(context)[["visit_id", "t", "bought", "known"]]


def doubles(visits: fti.Table) -> fti.Table:
    return fti.Table(visits.relation.project("visit_id, t, 2 * spend AS double_spend"))


def buyer(data: fti.TrainingData) -> object:
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    return make_pipeline(SimpleImputer(), LogisticRegression()).fit(data.train.X, data.train.y)
"""

VISITS = """
type: fti_assets.components.FeatureGroupComponent
attributes:
  function: shop.py:visits
  keys: [visit_id]
  event_time: t
  schema: shop.py:VisitsSchema
  owners: ["team:shop"]
  tags: {tier: 1}
  description: Who came.
  group_name: shop
  kinds: [duckdb]
  automation_condition: "{{ dg.AutomationCondition.eager() }}"
  partitions_def: {type: daily, start_date: 2013-01-01, end_date: "2013-01-10"}
"""
OUTCOMES = """
type: fti_assets.components.FeatureGroupComponent
attributes:
  function: {package}.defs.visits.shop.outcomes
  keys: [visit_id]
  event_time: t
  available_at: known
  partitions_def: {{type: daily, start_date: "2013-01-01", end_date: "2013-01-10"}}
"""
VIEW = """
type: fti_assets.components.FeatureViewComponent
attributes:
  name: buying
  spine: visits
  label: {group: outcomes, column: bought, maturity: 3h}
  features:
    - group: visits
      columns: [spend]
    - on_demand: on_demand.py:squared
  encoders:
    spend: Passthrough
    spend_squared: {type: Standardize}
  dataset:
    split: {validation: 1d, test: 1d}
    partitions_def: {type: daily, start_date: "2013-01-05", end_date: "2013-01-10"}
    owners: ["team:science"]
"""
ON_DEMAND = """
import numpy as np

import fti_assets as fti


@fti.on_demand(outputs={"spend_squared": float})
def squared(spend: np.ndarray) -> dict[str, np.ndarray]:
    return {"spend_squared": spend**2}


def plain(spend: np.ndarray) -> np.ndarray:
    return spend
"""
MODEL = """
type: fti_assets.components.ModelComponent
attributes:
  function: {package}.defs.visits.shop.buyer
  dataset: buying
  task: binary
  evaluate: {{metrics: [roc_auc, log_loss], slices: [spend]}}
  gates:
    - {{type: BeatsBaseline, metric: log_loss}}
    - type: NotWorseThanChampion
      metric: roc_auc
      tolerance: 0.01
"""
PREDICTIONS = """
type: fti_assets.components.PredictionsComponent
attributes:
  name: daily_buys
  model: buyer
  partitions_def: {type: daily, start_date: "2013-01-05", end_date: "2013-01-10"}
"""
SERVING = """
type: fti_assets.components.ModelComponent
attributes:
  function: {package}.defs.visits.shop.buyer
  name: returner
  dataset: buying
  task: binary
---
type: fti_assets.components.CompositeComponent
attributes:
  name: either
  models: [buyer, returner]
  combine: combining.py:likely
---
type: fti_assets.components.PredictionsComponent
attributes:
  name: sunk
  model: either
  sinks:
    - {{type: ParquetSink, folder: "{root}/exports"}}
    - {{type: FunctionSink, function: "combining.py:push"}}
  partitions_def: {{type: daily, start_date: "2013-01-05", end_date: "2013-01-10"}}
---
type: fti_assets.components.PredictionsComponent
attributes:
  name: best
  model: buyer
  top: {{k: 3, by: shop_id}}
  partitions_def: {{type: daily, start_date: "2013-01-05", end_date: "2013-01-10"}}
---
type: fti_assets.components.PredictionLogComponent
attributes: {{name: buyer_log, model: buyer, redact: [spend], limits: {{p99_ms: 50}}}}
---
type: fti_assets.components.ExperimentComponent
attributes: {{name: arms, model: buyer, log: buyer_log, metric: log_loss, least_keys: 500, looks: 2}}
"""
COMBINING = """
import numpy as np

import fti_assets as fti

PUSHED = []


@fti.on_demand(outputs={"likely": float})
def likely(buyer: np.ndarray, returner: np.ndarray) -> dict[str, np.ndarray]:
    return {"likely": np.maximum(buyer, returner)}


def push(rows, partition):
    PUSHED.append((partition, rows.read_all().num_rows))
"""
WATCHING = """
type: fti_assets.components.MonitorComponent
attributes:
  name: buys_watch
  predictions: daily_buys
  drift:
    - {statistic: psi, at_most: 0.25, columns: [spend], in_a_row: 2}
    - {statistic: null_rate, min_rows: 50}
  quality:
    - {metric: roc_auc, at_least: 0.7, slices: [spend]}
    - {metric: log_loss}
  weeks: 1
  group_name: on_call
---
type: fti_assets.components.PredictionLogComponent
attributes: {name: buyer_log, model: buyer}
---
type: fti_assets.components.MonitorComponent
attributes: {name: served_watch, log: buyer_log_v1, estimate: false}
---
type: fti_assets.components.ParityComponent
attributes: {name: buyer_parity, log: buyer_log, sample: 50, lag: 5min}
"""
ALERTS = """
type: fti_assets.components.AlertsComponent
attributes:
  to: [log, {env: ON_CALL}, "jsons://hooks.example.com/s3cret"]
  at_least: error
"""
EVENTS = """
from datetime import datetime

import msgspec
import pandas as pd
import pandera.pandas as pa

import fti_assets as fti


class Tap(msgspec.Struct):
    card: str
    at: datetime


class Taps(pa.DataFrameModel):
    card: str
    at: pd.Timestamp
    stored_at: pd.Timestamp


made_in_python = fti.RedisStream("taps", url="redis://ann:s3cret@host/0")


def taps() -> pd.DataFrame: ...
"""
STREAMED = """
type: fti_assets.components.FeatureGroupComponent
attributes:
  function: taps.py:taps
  name: taps
  keys: [card]
  event_time: at
  available_at: stored_at
  schema: taps.py:Taps
  partitions_def: {type: daily, start_date: "2013-01-01"}
  stream: {type: NatsStream, name: taps, url: {env: NATS_URL}, event_type: "taps.py:Tap", shards: [taps_0, taps_1]}
  must_equal_stream: true
---
type: fti_assets.components.FeatureGroupComponent
attributes:
  name: taps_alone
  keys: [card]
  event_time: at
  available_at: stored_at
  schema: taps.py:Taps
  partitions_def: {type: daily, start_date: "2013-01-01"}
  stream: taps.py:made_in_python
"""
STORES = """
type: fti_assets.components.StoresComponent
attributes:
  lake: "{{{{ env.SHOP_HOME }}}}/lake"
  models: "{root}/models"
"""


class Project:
    """A project with a folder a component, as ``dg`` makes it."""

    def __init__(self, sandbox: DefsFolderSandbox) -> None:
        self.sandbox = sandbox
        self.write("visits", VISITS, **{"shop.py": SHOP})

    def write(self, folder: str, yaml: str, **files: str) -> Path:
        place = self.sandbox.defs_folder_path / folder
        place.mkdir(parents=True, exist_ok=True)
        (place / "defs.yaml").write_text(textwrap.dedent(yaml).lstrip())
        for name, text in files.items():
            (place / name).write_text(text)
        return place / "defs.yaml"

    def write_system(self) -> None:
        """Each part in a folder of its own, some nested, none in the order of what rests on what."""
        package = self.sandbox.project_name
        self.write("facts/outcomes", OUTCOMES.format(package=package))
        self.write("a_view", VIEW, **{"on_demand.py": ON_DEMAND})
        self.write("models/buyer", MODEL.format(package=package))
        self.write("a_prediction", PREDICTIONS)

    @contextmanager
    def load(self) -> Iterator[dg.Definitions]:
        with self.sandbox.build_all_defs() as defs:
            yield defs

    def refused(self) -> str:
        """What loading says, from the error that this library raised."""
        with pytest.raises(Exception) as caught, self.load():  # noqa: PT011
            pass
        error: BaseException | None = caught.value
        messages: list[str] = []
        while error is not None:
            if isinstance(error, DeclarationError):
                return str(error)
            messages.append(str(error))
            error = error.__cause__ or error.__context__
        return "\n".join(messages)


@pytest.fixture
def project() -> Iterator[Project]:
    with create_defs_folder_sandbox() as sandbox:
        yield Project(sandbox)


def materialize(defs: dg.Definitions, *names: str, instance: dg.DagsterInstance, days: tuple[str, str]) -> bool:
    tags = range_tags(*days)
    job = defs.resolve_implicit_global_asset_job_def()
    selection = [dg.AssetKey(name) for name in names]
    return bool(job.execute_in_process(instance=instance, asset_selection=selection, tags=tags).success)


def test_group_from_yaml_is_asset_that_python_declares(project: Project) -> None:
    with project.load() as defs:
        spec = defs.resolve_assets_def("visits_v1").get_asset_spec()
    assert spec.owners == ["team:shop"]
    assert spec.tags["tier"] == "1"
    assert spec.description == "Who came."
    assert spec.group_name == "shop"
    assert "duckdb" in spec.kinds
    assert spec.automation_condition == dg.AutomationCondition.eager()
    assert spec.partitions_def == dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-01-10")


@pytest.mark.soak
def test_group_from_yaml_is_stored_under_fti_home_by_default(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTI_HOME", str(tmp_path / "home"))
    with project.sandbox.build_component_tree() as tree, dg.DagsterInstance.ephemeral() as instance:
        assert materialize(tree.build_defs(), "visits_v1", instance=instance, days=("2013-01-01", "2013-01-02"))
        (visits,) = tree.get_all_components(FeatureGroupComponent)
        assert len(fti.read(visits.declaration_in(tree))) == 96


@pytest.mark.soak
def test_a_group_from_yaml_is_renamed_as_in_python(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTI_HOME", str(tmp_path / "home"))
    terms = VISITS.replace("  schema: shop.py:VisitsSchema\n", "  rename: {spend: spent_in_all}\n")
    project.write("visits", terms)
    with project.sandbox.build_component_tree() as tree, dg.DagsterInstance.ephemeral() as instance:
        assert materialize(tree.build_defs(), "visits_v1", instance=instance, days=("2013-01-01", "2013-01-01"))
        (visits,) = tree.get_all_components(FeatureGroupComponent)
        assert sorted(fti.read(visits.declaration_in(tree)).columns) == ["spent_in_all", "t", "visit_id"]
    project.write("visits", terms.replace("spent_in_all", "Spent In All"))
    assert "rename of 'visits' calls 'spend' 'Spent In All', which is not a name" in project.refused()


def test_no_automation_condition_in_yaml_is_none_as_in_python(project: Project) -> None:
    project.write("visits", VISITS.replace('"{{ dg.AutomationCondition.eager() }}"', "null"))
    with project.load() as defs:
        assert defs.resolve_assets_def("visits_v1").get_asset_spec().automation_condition is None


@pytest.mark.soak
def test_system_in_six_folders_uses_its_declared_stores(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_HOME", str(tmp_path))
    project.write_system()
    project.write("stores", STORES.format(root=tmp_path))
    with project.load() as defs, dg.DagsterInstance.ephemeral() as instance:
        keys = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
        assert keys == {"visits_v1", "outcomes_v1", "buying_dataset_v1", "buyer_v1", "daily_buys_v1"}
        week = ("2013-01-01", "2013-01-07")
        assert materialize(defs, "visits_v1", "outcomes_v1", instance=instance, days=week)
        cutoff = ("2013-01-06", "2013-01-06")
        assert materialize(defs, "buying_dataset_v1", instance=instance, days=cutoff)
        assert materialize(defs, "buyer_v1", instance=instance, days=cutoff)
        assert materialize(defs, "daily_buys_v1", instance=instance, days=("2013-01-07", "2013-01-07"))
        stores = fti.Stores(lake=str(tmp_path / "lake"), models=str(tmp_path / "models"))
        champion = stores.model_store().aliases("buyer").champion
        assert champion is not None
        manifest = stores.model_store().manifest("buyer", champion)
    assert [gate.gate for gate in manifest.gates] == ["beats_baseline_log_loss", "not_worse_than_champion_roc_auc"]
    assert [feature.name for feature in manifest.view.features] == ["spend", "spend_squared"]


def test_sinks_lists_logs_experiments_and_composites_run_from_yaml(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTI_HOME", str(tmp_path))
    of_shops = SHOP.replace('"visit_id": number', '"shop_id": number % 6, "visit_id": number')
    of_shops = of_shops.replace('[["visit_id"', '[["shop_id", "visit_id"').replace(
        "    visit_id: int", "    shop_id: int\n    visit_id: int"
    )
    project.write("visits", VISITS.replace("[visit_id]", "[shop_id, visit_id]"), **{"shop.py": of_shops})
    package = project.sandbox.project_name
    project.write("facts", OUTCOMES.format(package=package).replace("[visit_id]", "[shop_id, visit_id]"))
    project.write("a_view", VIEW, **{"on_demand.py": ON_DEMAND})
    project.write("buyer", MODEL.format(package=package))
    project.write("serving", SERVING.format(package=package, root=tmp_path), **{"combining.py": COMBINING})
    with project.sandbox.build_component_tree() as tree, dg.DagsterInstance.ephemeral() as instance:
        defs = tree.build_defs()
        system = {f"{package}_features_and_training", f"{package}_inference"}
        assert {sensor.name for sensor in defs.sensors or ()} == {"buyer_log_v1_files", *system}
        assert materialize(defs, "visits_v1", "outcomes_v1", instance=instance, days=("2013-01-01", "2013-01-07"))
        cutoff = ("2013-01-06", "2013-01-06")
        for names in (["buying_dataset_v1"], ["buyer_v1", "returner_v1"], ["either_v1"]):
            assert materialize(defs, *names, instance=instance, days=cutoff)
        day = ("2013-01-07", "2013-01-07")
        assert materialize(defs, "sunk_v1", "best_v1", "buyer_log_v1", instance=instance, days=day)
        assert (
            defs.resolve_implicit_global_asset_job_def()
            .execute_in_process(instance=instance, asset_selection=[dg.AssetKey("arms_v1")])
            .success
        )
        named = {one.names()[0]: one.declaration_in(tree) for one in tree.get_all_components(PredictionsComponent)}
        answers, lists = fti.read(named["sunk"]), fti.read(named["best"])
        [[experiment]] = [tree.get_all_components(ExperimentComponent)]
        assert experiment.declaration_in(tree).terms.looks == 2
        [[log]] = [tree.get_all_components(PredictionLogComponent)]
        assert log.declaration_in(tree).redact == {"spend"}
        assert log.declaration_in(tree).limits == fti.ServiceLimits(p99_ms=50)
        [[composite]] = [tree.get_all_components(CompositeComponent)]
        assert [model.name for model in composite.declaration_in(tree).models] == ["buyer", "returner"]
    assert len(answers) == 48
    assert {name for answer in answers[named["sunk"].answers[0].value] for name in answer} == {"likely"}
    assert len(lists) == 48  # a list a shop and half an hour, of which each is of another one
    assert {len(items) for items in lists["top"]} == {1}
    pushed = named["sunk"].sinks[1].function.__globals__["PUSHED"]
    assert pushed == [("2013-01-07", 48)]
    assert [file.parent.name for file in tmp_path.glob("exports/sunk_v1/*/*.parquet")] == ["_partition=2013-01-07"]


def test_a_sink_of_yaml_shows_no_password(project: Project) -> None:
    project.write_system()
    sink = "  sinks: [{type: PostgresSink, dsn: 'postgresql://ann:s3cret@db/shop'}, {type: PostgresSink, dsn: {env: DSN}}]\n"
    project.write("a_prediction", PREDICTIONS + sink)
    with project.sandbox.build_component_tree() as tree:
        tree.build_defs()
        (component,) = tree.get_all_components(PredictionsComponent)
        assert "s3cret" not in repr(component)
        assert "PostgresSink" in repr(component)
        places = [sink.place for sink in component.declaration_in(tree).sinks]
    assert places == ["Postgres table in 'user=ann dbname=shop host=db'", "Postgres table in the database of $DSN"]


def test_a_view_may_name_several_labels() -> None:
    labels = "{late: {group: arrivals, column: is_late}, gone: {group: gone, column: is_gone, missing: false}}"
    view = FeatureViewComponent.resolve_from_yaml(f"name: v\nspine: flights\nlabel: {labels}\nfeatures: []")
    assert {name: (one.group, one.missing) for name, one in view.label.items()} == {
        "late": ("arrivals", None),
        "gone": ("gone", False),
    }


def test_group_that_two_folders_name_is_one_declaration_and_one_asset(project: Project) -> None:
    project.write_system()
    with project.sandbox.build_component_tree() as tree:
        tree.build_defs()
        (view,) = tree.get_all_components(FeatureViewComponent)
        (model,) = tree.get_all_components(ModelComponent)
        (predictions,) = tree.get_all_components(PredictionsComponent)
        groups = {group.names()[0]: group for group in tree.get_all_components(FeatureGroupComponent)}
        dataset = view.declaration_in(tree)
        assert dataset.view.spine is groups["visits"].declaration_in(tree)
        assert dataset.view.label.group is groups["outcomes"].declaration_in(tree)
        assert model.declaration_in(tree).dataset is dataset
        assert predictions.declaration_in(tree).models == (model.declaration_in(tree),)


def test_a_model_from_yaml_brings_its_triggers_and_its_review(project: Project) -> None:
    project.write_system()
    path = project.sandbox.defs_folder_path / "models/buyer/defs.yaml"
    own = '  retrain: [{type: OnSchedule, cron: "0 6 * * 1"}, {type: OnNewData, partitions: 7}]\n  cooldown: 3d\n  rollback: propose\n'
    path.write_text(path.read_text().replace("  evaluate:", f"{own}  evaluate:"))
    with project.sandbox.build_component_tree() as tree:
        defs = tree.build_defs()
        (model,) = tree.get_all_components(ModelComponent)
        retraining = model.declaration_in(tree).retraining
    assert retraining.triggers == (fti.OnSchedule("0 6 * * 1"), fti.OnNewData(partitions=7))
    assert "buyer_v1_retraining" in {sensor.name for sensor in defs.sensors}
    assert dg.AssetKey("buyer_review_v1") in defs.resolve_asset_graph().get_all_asset_keys()


def test_monitors_and_parities_from_yaml_are_those_of_python(project: Project) -> None:
    project.write_system()
    project.write("watching", WATCHING)
    path = project.sandbox.defs_folder_path / "models/buyer/defs.yaml"
    triggers = "[{type: OnDrift, monitor: buys_watch}, {type: OnDegradation, metric: roc_auc, monitor: buys_watch_v1}]"
    path.write_text(path.read_text().replace("  evaluate:", f"  retrain: {triggers}\n  evaluate:"))
    with project.sandbox.build_component_tree() as tree:
        defs = tree.build_defs()
        named = {one.names()[0]: one.declaration_in(tree) for one in tree.get_all_components(DeclaringComponent)}
    watch, served, parity = named["buys_watch"], named["served_watch"], named["buyer_parity"]
    assert watch.answers is named["daily_buys"]
    assert served.answers is parity.of is named["buyer_log"]
    assert watch.drift == (
        fti.Drift("psi", at_most=0.25, columns=["spend"], in_a_row=2),
        fti.Drift("null_rate", min_rows=50),
    )
    assert watch.quality == (fti.Quality("roc_auc", at_least=0.7, slices=["spend"]), fti.Quality("log_loss"))
    assert (watch.weeks, watch.estimate, served.drift, served.estimate) == (1, True, DEFAULT_RULES, False)
    assert (parity.sample, parity.lag) == (50, timedelta(minutes=5))
    assert "buyer_v1_retraining" in {sensor.name for sensor in defs.sensors}
    assert defs.resolve_assets_def("buys_watch_v1").get_asset_spec().group_name == "on_call"


def test_each_condition_of_a_project_is_evaluated_in_its_code(project: Project) -> None:
    project.write_system()
    project.write("watching", WATCHING)
    with project.sandbox.build_component_tree() as tree:
        repository = tree.build_defs().get_repository_def()
        first = tree.build_defs(project.sandbox.defs_folder_path / "a_prediction")
    targets = {
        sensor.name.removeprefix(project.sandbox.project_name): sensor.asset_selection.resolve(repository.asset_graph)
        for sensor in repository.sensor_defs
        if isinstance(sensor, dg.AutomationConditionSensorDefinition)
    }
    by_themselves = {
        key for asset in repository.assets_defs_by_key.values() for key in asset.automation_conditions_by_key
    }
    assert targets.keys() == {"_features_and_training", "_inference"}
    assert set().union(*targets.values()) == by_themselves
    assert {"daily_buys_v1", "buys_watch_v1", "served_watch_v1", "buyer_parity_v1"} == {
        key.to_user_string() for key in targets["_inference"]
    }
    assert first.get_repository_def().sensor_defs  # a part of a project loads, as dg lists it by path


def test_alerts_from_yaml_tell_of_every_asset_of_the_project(project: Project, tmp_path: Path) -> None:
    project.write("alerts", ALERTS)
    (project.sandbox.defs_folder_path / "plain.py").write_text(
        "import dagster as dg\n\n\n@dg.asset\ndef counts() -> None:\n    raise RuntimeError('the counter is gone')\n\n\n"
        "defs = dg.Definitions(assets=[counts])\n"
    )
    with project.load() as defs, dg.DagsterInstance.ephemeral() as instance:
        assert defs.resources is not None
        alerts = defs.resources["alerts"]
        assert (alerts.at_least, alerts.seconds) == ("error", 10.0)
        assert alerts.to[:2] == ["log", dg.EnvVar("ON_CALL")]
        assert alerts.to[2].startswith("jsons://*** and its password")  # numbered where the process has others
        name = f"{project.sandbox.project_name}_alerts"
        assert name in {sensor.name for sensor in defs.sensors or ()}
        job = defs.resolve_implicit_global_asset_job_def()
        job.execute_in_process(instance=instance, asset_selection=[dg.AssetKey("counts")], raise_on_error=False)
        resources = {"alerts": fti.Alerts(), "fti": stores_in(tmp_path)}
        with dg.build_sensor_context(instance, definitions=defs, resources=resources) as context:
            result = str(defs.resolve_sensor_def(name).evaluate_tick(context).skip_message)
    assert "counts failed" in result
    assert "visits_v1 is stale" in result


def test_two_components_of_alerts_are_refused(project: Project) -> None:
    for folder in ("alerts", "more_alerts"):
        project.write(folder, "type: fti_assets.components.AlertsComponent\nattributes: {}\n")
    assert "this project has 2 AlertsComponents" in project.refused()


@pytest.mark.parametrize(
    ("to", "said"),
    [
        ("[{variable: ON_CALL}]", "write the variable's name, {env: ON_CALL}"),
        ("[ex ample://s3cret]", "which is no address"),
        ("[]", "give a list of addresses"),
    ],
)
def test_alerts_that_reach_nobody_are_refused_with_the_file(project: Project, to: str, said: str) -> None:
    path = project.write("alerts", f"type: fti_assets.components.AlertsComponent\nattributes: {{to: {to}}}\n")
    message = project.refused()
    assert message.startswith(f"{path}:1: ")
    assert said in message
    assert "s3cret" not in message


def test_addresses_of_alerts_are_not_shown_by_their_component() -> None:
    component = AlertsComponent(to=["log", {"env": "ON_CALL"}, "jsons://hooks.example.com/s3cret"])
    assert "s3cret" not in repr(component)
    assert repr(component).startswith("AlertsComponent(to=['log', {'env': 'ON_CALL'}, 'jsons://***']")


def test_streams_from_yaml_are_those_of_python(project: Project) -> None:
    project.write("taps", STREAMED, **{"taps.py": EVENTS})
    with project.sandbox.build_component_tree() as tree:
        tree.build_defs()
        components = (one for one in tree.get_all_components(FeatureGroupComponent) if one.stream)
        taps, alone = (component.declaration_in(tree) for component in components)
        assert isinstance(taps.stream, fti.NatsStream)
        assert (taps.stream.name, taps.stream.shards, taps.must_equal_stream) == ("taps", ("taps_0", "taps_1"), True)
        assert taps.stream.place == "NATS stream taps at $NATS_URL"
        assert taps.stream.type.__name__ == "Tap"
        assert isinstance(alone.stream, fti.RedisStream)
        assert alone.stream.place == "Redis stream taps at redis://ann:***@host/0"
    displayed = FeatureGroupComponent(
        name="x", keys=["k"], stream={"type": "NatsStream", "url": "nats://ann:s3cret@host"}
    )
    assert "s3cret" not in repr(displayed)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("NatsStream", "NatStream", "has the type 'NatStream': it is 'KafkaStream', 'NatsStream' or 'RedisStream'"),
        ("shards:", "parts:", "NatsStream takes 'name', 'url', 'type' or 'shards'"),
        ("{env: NATS_URL}", "{variable: NATS_URL}", "write the variable's name, url: {env: NATS_URL}"),
        ('taps.py:Tap"', 'taps.py:Taps"', "give a msgspec.Struct or a Pydantic model"),
        ("stream: taps.py:made_in_python", "", "has no function and no stream"),
        ("stream: taps.py:made_in_python", "inputs: {a: taps}", "has no function but inputs"),
    ],
)
def test_a_stream_that_is_none_is_refused_with_its_file(project: Project, before: str, after: str, said: str) -> None:
    project.write("taps", STREAMED.replace(before, after), **{"taps.py": EVENTS})
    message = project.refused()
    assert "taps/defs.yaml" in message
    assert said in message


def test_a_model_from_yaml_has_encoders_and_weights_of_its_own(project: Project) -> None:
    project.write_system()
    path = project.sandbox.defs_folder_path / "models/buyer/defs.yaml"
    own = "  encoders: {spend_squared: Passthrough, spend: {type: Standardize}}\n  weights: balanced\n"
    path.write_text(path.read_text().replace("  evaluate:", f"{own}  evaluate:"))
    with project.sandbox.build_component_tree() as tree:
        tree.build_defs()
        (model,) = tree.get_all_components(ModelComponent)
        declared = model.declaration_in(tree)
        assert declared.encoders == {"spend": fti.Standardize(), "spend_squared": fti.Passthrough()}
        assert declared.weights == fti.ClassWeights("balanced")
        assert {name: type(one) for name, one in declared.dataset.view.encoders.items()} == {
            "spend": fti.Passthrough,
            "spend_squared": fti.Standardize,
        }


def test_several_components_can_stand_in_one_file(project: Project) -> None:
    package = project.sandbox.project_name
    documents = [OUTCOMES.format(package=package), VIEW.replace("    - on_demand: on_demand.py:squared\n", "")]
    documents[1] = documents[1].replace("    spend_squared: {type: Standardize}\n", "")
    project.write("all", "---\n".join([*documents, MODEL.format(package=package)]))
    with project.load() as defs:
        keys = {key.to_user_string() for key in defs.resolve_asset_graph().get_all_asset_keys()}
    assert keys == {"visits_v1", "outcomes_v1", "buying_dataset_v1", "buyer_v1"}


@pytest.mark.parametrize(
    ("more", "sample", "query"),
    [
        ("sample: {negatives: 0.2}\n    weight: spend", fti.Sample(negatives=0.2), ()),
        ("query: visit_id", None, ("visit_id",)),
        ("query: [visit_id, t]", None, ("visit_id", "t")),
    ],
)
def test_split_filter_sample_and_query_are_those_of_python(
    project: Project, more: str, sample: Any, query: Any
) -> None:
    view = VIEW.replace("    - on_demand: on_demand.py:squared\n", "").replace(
        "    spend_squared: {type: Standardize}\n", ""
    )
    terms = f"split: {{keys: [visit_id], test: 0.1}}\n    where: spend > 0\n    {more}"
    project.write(
        "all",
        "---\n".join(
            [
                OUTCOMES.format(package=project.sandbox.project_name),
                view.replace("split: {validation: 1d, test: 1d}", terms),
            ]
        ),
    )
    with project.sandbox.build_component_tree() as tree:
        (view_component,) = tree.get_all_components(FeatureViewComponent)
        dataset = view_component.declaration_in(tree)
    assert dataset.split == fti.HashSplit(keys=["visit_id"], test=0.1)
    assert (dataset.where, dataset.sample, dataset.query) == ("spend > 0", sample, query)
    assert dataset.weight == ("spend" if "weight" in more else None)


DOUBLES = """
type: fti_assets.components.FeatureGroupComponent
attributes:
  function: {package}.defs.visits.shop.doubles
  keys: [visit_id]
  event_time: t
  {more}
  partitions_def: {{type: daily, start_date: "2013-01-01", end_date: "2013-01-10"}}
"""


@pytest.mark.parametrize("more", ["version: 1", "inputs: {visits: visits_v1}"])
def test_table_parameter_is_group_of_its_name_or_of_inputs(project: Project, more: str) -> None:
    project.write("doubles", DOUBLES.format(package=project.sandbox.project_name, more=more))
    with project.load() as defs:
        graph = defs.resolve_asset_graph()
        assert graph.get(dg.AssetKey("doubles_v1")).parent_keys == {dg.AssetKey("visits_v1")}


def test_view_takes_group_that_is_declared_in_python(project: Project) -> None:
    project.write_system()
    (project.sandbox.defs_folder_path / "people.py").write_text(
        textwrap.dedent(
            """
            import dagster as dg
            import pandas as pd

            import fti_assets as fti


            @fti.feature_group(keys=["visit_id"])
            def people() -> pd.DataFrame:
                return pd.DataFrame({"visit_id": [1], "age": [33.0]})


            defs = dg.Definitions(assets=[people.assets_def])
            """
        )
    )
    group = f"{project.sandbox.project_name}.defs.people.people"
    view = VIEW.replace("    - on_demand", f"    - group: {group}\n      columns: [age]\n    - on_demand")
    project.write("a_view", view, **{"on_demand.py": ON_DEMAND})
    with project.load() as defs:
        parents = defs.resolve_asset_graph().get(dg.AssetKey("buying_dataset_v1")).parent_keys
    assert dg.AssetKey("people_v1") in parents


def test_stores_made_in_python_are_the_one_resource(project: Project) -> None:
    (project.sandbox.defs_folder_path / "places.py").write_text(
        "import dagster as dg\nimport fti_assets as fti\n\nstores = fti.Stores(lake='here')\n"
        "defs = dg.Definitions(resources={'fti': stores})\n"
    )
    path = f"{project.sandbox.project_name}.defs.places.stores"
    project.write("stores", f"type: fti_assets.components.StoresComponent\nattributes: {{resource: {path}}}\n")
    with project.load() as defs:
        assert defs.resources is not None
        assert defs.resources["fti"].lake == "here"


def test_a_component_can_be_made_in_python() -> None:
    def planes(context: dg.AssetExecutionContext) -> Any: ...

    component = FeatureGroupComponent(function=planes, keys=["tail_number"], owners=["team:shop"])
    defs = component_defs(component=component)
    assert defs.resolve_assets_def("planes_v1").get_asset_spec().owners == ["team:shop"]


@pytest.mark.parametrize(
    ("folder", "before", "after", "said"),
    [
        (
            "visits",
            "shop.py:visits",
            "shop.py:vists\n  name: visits",
            "has no 'vists'; it has 'VisitsSchema', 'rows', 'visits'",
        ),
        ("visits", "shop.py:visits", "shopping.py:visits", "there is no file 'shopping.py' in"),
        ("visits", "shop.py:visits", "nowhere.features.visits", "there is no module 'nowhere'; for a file beside"),
        ("visits", "shop.py:visits", "visits", "write <file>.py:<name> for a file beside the defs.yaml"),
        ("visits", "keys: [visit_id]", "keys: [visitor]", "visits_v1 has no column 'visitor': its schema has"),
        (
            "visits",
            "keys: [visit_id]",
            "keys: [visit_id]\n  ttl: 3 moons",
            "ttl of 'visits' '3 moons' is not a duration",
        ),
        (
            "a_view",
            "spine: visits",
            "spine: visitors",
            "spine of view 'buying' is 'visitors', but no FeatureGroupComponent",
        ),
        ("a_view", "[spend]", "[spent]", "visits_v1 has no column 'spent': its schema has 'visit_id', 't' or 'spend'"),
        ("a_view", "on_demand.py:squared", "on_demand.py:plain", "declare it with @fti.on_demand(outputs={...})"),
        ("a_view", "- group: visits", "- prefix: dest_", "names neither a group nor on_demand"),
        (
            "a_view",
            "Passthrough",
            "Passthru",
            "encoder of feature 'spend' has the type 'Passthru': it is 'Age', 'Bucketize'",
        ),
        ("a_view", "{type: Standardize}", "{type: OneHot, most: 3}", "OneHot takes 'max_categories', not 'most'"),
        ("a_view", "{validation: 1d, test: 1d}", "{seed: 1}", "TimeSplit takes 'validation' or 'test', not 'seed'"),
        ("models/buyer", "dataset: buying", "dataset: selling", "there is 'buying_v1'"),
        ("models/buyer", "metric: log_loss", "metric: loss", "there is no metric 'loss'"),
        ("models/buyer", "  task:", "  encoders: {spent: OneHot}\n  task:", "model 'buyer' has encoders for 'spent'"),
        (
            "models/buyer",
            "  task:",
            "  encoders: {spend: OneHt}\n  task:",
            "encoder of feature 'spend' has the type 'OneHt'",
        ),
        (
            "a_prediction",
            "model: buyer",
            "model: seller",
            "no ModelComponent or CompositeComponent or PublishedModelComponent has that name; there is 'buyer_v1'",
        ),
        (
            "a_prediction",
            "  model:",
            "  top: {k: 3, of: visit_id}\n  model:",
            "top of predictions 'daily_buys': TopK takes 'k'",
        ),
        (
            "a_prediction",
            "  model:",
            "  sinks: [{type: CsvSink}]\n  model:",
            "a sink of predictions 'daily_buys' has the type 'CsvSink'",
        ),
        (
            "a_prediction",
            "  model:",
            "  sinks: [{type: PostgresSink, dsn: {variable: DSN}}]\n  model:",
            "dsn: {env: SHOP_DSN}",
        ),
        (
            "models/buyer",
            "  task:",
            "  retrain: [{type: OnDrift, monitor: sells_watch}]\n  task:",
            "'sells_watch', which is not declared here",
        ),
        (
            "watching",
            "predictions: daily_buys",
            "predictions: daily_sells",
            "predictions of monitor 'buys_watch' is 'daily_sells', but no PredictionsComponent has that name; there is 'daily_buys_v1'",
        ),
        ("watching", "statistic: psi", "statistic: pse", "Drift has the statistic 'pse': it can be 'psi'"),
        ("watching", "columns: [spend]", "columns: [spent]", "'spent', which is not measured"),
        ("watching", "metric: log_loss", "metric: log_loss, at_least: 1", "log_loss is better the lower"),
        (
            "watching",
            "at_most: 0.25",
            "at_most: much",
            "'at_most' of number 1 (statistic 'psi') of drift of MonitorComponent 'buys_watch' is 'much': it should be a valid number",
        ),
    ],
)
def test_bad_yaml_is_refused_with_file_and_what_to_do(
    project: Project, folder: str, before: str, after: str, said: str
) -> None:
    project.write_system()
    if folder == "watching":
        project.write("watching", WATCHING)
    path = project.sandbox.defs_folder_path / folder / "defs.yaml"
    assert before in path.read_text()
    path.write_text(path.read_text().replace(before, after))
    message = project.refused()
    assert message.startswith(f"{path}:1: ")
    assert said in message


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (
            "statistic: psi",
            "statistic: psi, at_mst: 0.2",
            "number 1 (statistic 'psi') of drift of MonitorComponent 'buys_watch' has no attribute 'at_mst', which is 0.2: did you mean "
            "'at_most'? It takes 'statistic', 'at_most', 'columns', 'in_a_row', 'min_rows', 'unusual' and 'reference'",
        ),
        ("statistic: psi", "statistik: psi", "has no attribute 'statistik', which is 'psi': did you mean 'statistic'?"),
        ("metric: log_loss", "at_most: 1", "number 2 of quality of MonitorComponent 'buys_watch' needs 'metric'"),
        ("metric: log_loss", "metric: [log_loss]", "is ['log_loss']: it should be a valid string"),
        ("  drift:", "  wekes: 2\n  drift:", "MonitorComponent 'buys_watch' has no attribute 'wekes', which is 2: did you mean 'weeks'?"),
    ],
)  # fmt: skip
def test_a_typo_within_a_rule_is_told_once_and_in_words(project: Project, before: str, after: str, said: str) -> None:
    project.write_system()
    assert before in WATCHING
    path = project.write("watching", WATCHING.replace(before, after, 1))
    message = project.refused()
    assert said in message
    assert f"{path}:" in message
    assert "Extra inputs" not in message and "tuple[" not in message  # noqa: PT018 - of Pydantic's own words none


def test_attribute_that_does_not_exist_is_refused_with_its_line(project: Project) -> None:
    path = project.write("visits", VISITS.replace("event_time", "even_time"))
    message = project.refused()
    assert f"{path}:5" in message
    assert "has no attribute 'even_time', which is 't': did you mean 'event_time'?" in message


def test_two_versions_of_one_group_are_told_apart_by_version(project: Project) -> None:
    project.write_system()
    project.write("newer", VISITS.replace("shop.py", f"{project.sandbox.project_name}.defs.visits.shop").replace(
        "shop:", "shop."
    ).replace("function:", "version: 2\n  function:"))  # fmt: skip
    result = project.refused()
    assert (
        "but several FeatureGroupComponents or PublishedGroupComponents have that name: 'visits_v1' and 'visits_v2'; name one of them"
        in result
    )
    view = VIEW.replace("spine: visits", "spine: visits_v2").replace("group: visits", "group: visits_v2")
    project.write("a_view", view)
    with project.load() as defs:
        parents = defs.resolve_asset_graph().get(dg.AssetKey("buying_dataset_v1")).parent_keys
    assert dg.AssetKey("visits_v2") in parents
    assert dg.AssetKey("visits_v1") not in parents


def test_groups_that_rest_on_each_other_are_refused(project: Project) -> None:
    package = project.sandbox.project_name
    project.write("doubles", DOUBLES.format(package=package, more="inputs: {visits: halves}"))
    halves = DOUBLES.format(package=package, more="name: halves\n  inputs: {visits: doubles}")
    project.write("halves", halves)
    assert "'doubles' rests on itself" in project.refused() or "'halves' rests on itself" in project.refused()


def test_two_stores_are_refused(project: Project, tmp_path: Path) -> None:
    for folder in ("stores", "more_stores"):
        project.write(folder, f"type: fti_assets.components.StoresComponent\nattributes: {{lake: {tmp_path}}}\n")
    assert "this project has 2 StoresComponents" in project.refused()


@pytest.mark.parametrize(
    ("attributes", "said"),
    [
        ("{resource: os.path, lake: here}", "'lake' and resource are both given"),
        ("{resource: os.path}", "name an fti.Stores"),
        ("{resource: os.paths}", "os has no 'paths'"),
    ],
)
def test_stores_that_are_none_are_refused_with_the_file(project: Project, attributes: str, said: str) -> None:
    path = project.write("stores", f"type: fti_assets.components.StoresComponent\nattributes: {attributes}\n")
    message = project.refused()
    assert message.startswith(f"{path}:1: ")
    assert said in message


@pytest.mark.soak
def test_a_champion_whose_group_version_is_gone_is_refused(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTI_HOME", str(tmp_path))
    project.write_system()
    with project.load() as defs, dg.DagsterInstance.ephemeral() as instance:
        assert materialize(defs, "visits_v1", "outcomes_v1", instance=instance, days=("2013-01-01", "2013-01-07"))
        for name in ("buying_dataset_v1", "buyer_v1"):
            assert materialize(defs, name, instance=instance, days=("2013-01-06", "2013-01-06"))
    project.write("visits", VISITS.replace("keys:", "version: 2\n  keys:"), **{"shop.py": SHOP})
    assert "needs 'visits_v1', which is no longer declared" in project.refused()


def test_the_attributes_are_those_of_an_asset() -> None:
    python_only = {
        "config_schema", "required_resource_keys", "resource_defs", "hooks", "io_manager_def", "io_manager_key", "dagster_type",
        "output_required", "key", "check_specs", "is_virtual",
    }  # fmt: skip
    assert set(AssetAttributes.model_fields) | python_only == set(AssetOptions.__annotations__)


def test_stores_and_alerts_have_the_parameters_of_their_resources() -> None:
    assert set(StoresComponent.model_fields) - {"resource"} == set(fti.Stores.model_fields)
    assert set(AlertsComponent.model_fields) == set(fti.Alerts.model_fields)


@pytest.mark.parametrize(
    ("component", "declares", "only_yaml", "only_python"),
    [
        (
            FeatureGroupComponent,
            fti.feature_group,
            {"function", "inputs", "keep_last"},
            {"ins", "duplicates", "engine"},  # frames of Spark are made by code
        ),
        (FeatureViewComponent, fti.FeatureView, {"dataset"}, set()),
        (LabelAttributes, fti.Label, {"group"}, set()),
        (DatasetAttributes, fti.training_dataset, set(), {"view"}),
        (ModelComponent, fti.model, {"function"}, {"ins"}),
        (CompositeComponent, fti.composite, set(), set()),
        (PredictionsComponent, fti.batch_predictions, set(), set()),
        (PredictionLogComponent, fti.prediction_log, set(), set()),
        (ExperimentComponent, fti.experiment, set(), set()),
        (MonitorComponent, fti.monitor, set(), set()),
        (DriftAttributes, fti.Drift, set(), set()),
        (QualityAttributes, fti.Quality, set(), set()),
        (ParityComponent, fti.parity, set(), set()),
        (PublishedGroupComponent, fti.group, set(), {"stores"}),
        (PublishedModelComponent, fti.published_model, set(), {"stores"}),
    ],
)
def test_yaml_takes_what_python_takes(
    component: Any, declares: Any, only_yaml: set[str], only_python: set[str]
) -> None:
    written = {field.alias or name for name, field in component.model_fields.items()} - set(
        AssetAttributes.model_fields
    )
    python = set(signature(declares).parameters) - {"options"}
    assert (written - python, python - written) == (only_yaml, only_python)


def test_every_component_says_what_it_makes() -> None:
    for kind in (
        CompositeComponent, ExperimentComponent, FeatureGroupComponent, FeatureViewComponent, ModelComponent, MonitorComponent,
        ParityComponent, PredictionLogComponent, PredictionsComponent,
    ):  # fmt: skip
        assert issubclass(kind, DeclaringComponent)
        made = ["asset", "asset_check", *(["sensor"] if kind is PredictionLogComponent else [])]
        assert list(kind.get_spec().produces) == made


RATINGS = """
type: fti_assets.components.PublishedModelComponent
attributes: {name: rater}
---
type: fti_assets.components.PublishedGroupComponent
attributes: {name: people}
---
type: fti_assets.components.PredictionsComponent
attributes: {name: ratings, model: rater}
---
type: fti_assets.components.FeatureViewComponent
attributes: {name: again, spine: people, label: {group: people, column: good}, features: [{group: people, columns: [age]}]}
"""


def test_what_other_code_locations_own_is_named_in_yaml(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FTI_HOME", str(tmp_path / "fti"))
    project.write("ratings", RATINGS)
    assert "defs.yaml" in (problem := project.refused())
    assert "model 'rater' is owned by another code location" in problem

    @fti.feature_group(keys=["person"])
    def people() -> pd.DataFrame:
        return pd.DataFrame(
            {"person": range(60), "age": [one * 1.0 for one in range(60)], "good": [one % 2 for one in range(60)]}
        )

    view = fti.FeatureView(name="rating", spine=people, label=fti.Label(people["good"]), features=[people["age"]])

    @fti.model(dataset=view, task="binary")
    def rater(data: fti.TrainingData) -> LogisticRegression:
        return LogisticRegression().fit(data.train.X, data.train.y)

    owner = fti.build_definitions([rater])
    with dg.DagsterInstance.ephemeral() as instance:
        assert owner.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance).success
    with project.load() as defs:
        graph = defs.resolve_asset_graph()
        assert [graph.get(dg.AssetKey(name)).is_executable for name in ("people_v1", "rater_v1", "ratings_v1")] == [
            False,
            False,
            True,
        ]
        assert graph.get(dg.AssetKey("again_dataset_v1")).parent_keys == {dg.AssetKey("people_v1")}
        assert graph.get(dg.AssetKey("ratings_v1")).parent_keys == {dg.AssetKey("people_v1"), dg.AssetKey("rater_v1")}


def test_space_in_yaml_is_that_of_python() -> None:
    written = """
family:
  type: Choice
  options:
    line:
    ridge: {alpha: {type: LogUniform, low: 0.01, high: 100.0}}
folds: {type: Integers, low: 2, high: 5}
"""
    assert space_of(yaml.safe_load(written), None, what="model 'fare'") == {
        "family": fti.Choice({"line": {}, "ridge": {"alpha": fti.LogUniform(0.01, 100.0)}}),
        "folds": fti.Integers(2, 5),
    }
    with pytest.raises(DeclarationError, match="parameter 'a' of model 'fare' has the type 'Normal'"):
        space_of({"a": {"type": "Normal"}}, None, what="model 'fare'")
