"""A training dataset as a Dagster asset: what is stored, with what manifest, and what the checks say."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from sklearn.linear_model import LogisticRegression

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.core.manifest import DatasetManifest
from fti_assets.core.records import from_json
from fti_assets.errors import NotMaterializedError
from fti_assets.training.datasets.dataset import TrainingDataset
from tests.support.partitions import range_tags

DAYS = dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-02-10")
CUTOFFS = dg.DailyPartitionsDefinition(start_date="2013-01-05", end_date="2013-02-10")


def source() -> pd.DataFrame:
    """A visit every hour; whether something was bought is known two hours later."""
    t = pd.date_range("2013-01-01", "2013-02-03", freq="h", inclusive="left")
    rng = np.random.default_rng(7)
    spend = rng.normal(size=len(t))
    bought = (spend + rng.normal(scale=0.5, size=len(t)) > 0).astype(int)
    return pd.DataFrame({"visit_id": np.arange(len(t)), "t": t, "shop": "a", "spend": spend, "bought": bought})


@dataclass
class World:
    """Stores, an instance, three groups over one frame that a test can change, and a view."""

    root: Path
    instance: dg.DagsterInstance
    visits_source: pd.DataFrame = field(default_factory=source)

    def __post_init__(self) -> None:
        self.stores = fti.Stores(
            lake=str(self.root / "lake"), models=str(self.root / "models"), online=str(self.root / "online")
        )

        def of_run(context: dg.AssetExecutionContext) -> pd.DataFrame:
            window = context.partition_time_window
            start, end = (moment.replace(tzinfo=None) for moment in (window.start, window.end))
            return self.visits_source[(self.visits_source["t"] >= start) & (self.visits_source["t"] < end)]

        @fti.feature_group(keys=["visit_id"], event_time="t", partitions_def=DAYS)
        def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
            return of_run(context)[["visit_id", "t", "shop", "spend"]]

        @fti.feature_group(keys=["visit_id"], event_time="t", available_at="a", partitions_def=DAYS)
        def outcomes(context: dg.AssetExecutionContext) -> pd.DataFrame:
            rows = of_run(context)
            return rows[["visit_id", "t", "bought"]].assign(a=rows["t"] + pd.Timedelta("2h"))

        @fti.feature_group(keys=["shop"])
        def shops() -> pd.DataFrame:
            return pd.DataFrame({"shop": ["a"], "size": [3.0]})

        self.visits, self.outcomes, self.shops = visits, outcomes, shops
        self.view = fti.FeatureView(
            name="buying",
            spine=visits,
            label=fti.Label(outcomes["bought"], maturity="3h"),
            features=[visits["spend"], shops["size"]],
        )

    def dataset(self, **options: Any) -> TrainingDataset:
        options = {"partitions_def": CUTOFFS, "split": fti.TimeSplit(validation="1d", test="1d"), **options}
        return fti.training_dataset(name="buying_dataset", view=self.view, **options)

    def run(self, *declarations: Any, span: tuple[str, str] | None = None, **options: Any) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [declaration.assets_def for declaration in declarations],
            instance=self.instance,
            resources={"fti": self.stores},
            tags=range_tags(*span) if span else {},
            **options,
        )

    def load(self, start: str = "2013-01-01", end: str = "2013-01-07") -> None:
        self.run(self.visits, self.outcomes, span=(start, end))

    def manifest(self, dataset: TrainingDataset, partition: str) -> DatasetManifest:
        with self.stores.offline_store().connect() as lake:
            return from_json(DatasetManifest, lake.ledger(dataset.table)[partition].record, what="the manifest")

    def data_versions(self, dataset: TrainingDataset, *partitions: str) -> list[str]:
        results = []
        for partition in partitions:
            records = self.instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key=dataset.key, asset_partitions=[partition]), limit=1
            ).records
            materialization = records[0].asset_materialization
            assert materialization is not None
            results.append((materialization.tags or {})["dagster/data_version"])
        return results


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake with the first week, made once."""
    with dg.DagsterInstance.ephemeral() as instance:
        world = World(tmp_path_factory.mktemp("loaded"), instance)
        world.run(world.shops)
        world.load()
    return world.root / "lake"


@pytest.fixture
def world(tmp_path: Path, loaded: Path) -> Iterator[World]:
    shutil.copytree(loaded, tmp_path / "lake")
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(tmp_path, instance)


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[World]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield World(tmp_path, instance)


def checks(result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
    return {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}


def test_a_cutoff_is_stored_with_its_manifest(world: World) -> None:
    dataset = world.dataset()
    result = world.run(dataset, partition_key="2013-01-06")
    rows = fti.read(dataset, stores=world.stores)
    assert list(rows.columns) == ["visit_id", "t", "spend", "size", "bought", "split"]
    assert rows["t"].max() == pd.Timestamp("2013-01-05 21:00")  # three hours of maturity before the cutoff
    manifest = world.manifest(dataset, "2013-01-06")
    assert manifest.cutoff == "2013-01-06T00:00:00"
    assert manifest.point_in_time
    assert manifest.lookups == ("shops_v1",)
    assert (manifest.label.name, manifest.label.type, manifest.label_group) == ("bought", "integer", "outcomes_v1")
    assert manifest.maturity_us == 3 * 3_600_000_000
    assert manifest.rows == rows["split"].value_counts().to_dict()
    assert manifest.left_out == {"immature": 2, "unlabelled": 0, "between splits": 6}
    assert manifest.trained_until == "2013-01-04T17:00:00"
    assert set(manifest.upstream) == {"visits_v1", "outcomes_v1", "shops_v1"}
    (event,) = result.asset_materializations_for_node(dataset.table_name)
    assert event.metadata["dagster/row_count"].value == len(rows)
    assert event.metadata["rows_by_split"].value == manifest.rows
    failed = {name: outcome.description for name, outcome in checks(result).items() if not outcome.passed}
    problem = f"of {len(rows)} rows, 'size' of one value in all of them"
    assert failed == {"features_vary": problem}
    assert manifest.warnings == (problem,)


@pytest.mark.soak
def test_range_of_cutoffs_is_one_run_with_version_each(world: World) -> None:
    dataset = world.dataset()
    world.run(dataset, span=("2013-01-05", "2013-01-07"))
    keys = ["2013-01-05", "2013-01-06", "2013-01-07"]
    versions = world.data_versions(dataset, *keys)
    assert len(set(versions)) == 3
    assert [world.manifest(dataset, key).cutoff[:10] for key in keys] == keys
    world.run(dataset, partition_key="2013-01-06")
    assert world.data_versions(dataset, *keys) == versions  # a range gives what each alone gives


@pytest.mark.soak
def test_a_rerun_gives_the_same_data_version(world: World) -> None:
    dataset = world.dataset()
    observed = set()
    for _ in range(2):
        world.run(dataset, partition_key="2013-01-06")
        observed |= {*world.data_versions(dataset, "2013-01-06")}
    assert len(observed) == 1


@pytest.mark.soak
def test_changed_upstream_day_changes_data_version_and_its_inputs(world: World) -> None:
    dataset = world.dataset()
    world.run(dataset, partition_key="2013-01-06")
    before, version = world.manifest(dataset, "2013-01-06"), world.data_versions(dataset, "2013-01-06")
    world.visits_source["spend"] += 1
    world.run(world.visits, partition_key="2013-01-02")
    world.run(dataset, partition_key="2013-01-06")
    after = world.manifest(dataset, "2013-01-06")
    assert world.data_versions(dataset, "2013-01-06") != version
    assert after.snapshot > before.snapshot
    changed = {table for table in after.upstream if after.upstream[table] != before.upstream[table]}
    assert changed == {"visits_v1"}


@pytest.mark.soak
def test_model_reads_what_was_materialized_whatever_upstream_does_since(world: World) -> None:
    dataset = world.dataset()
    observed: list[np.ndarray] = []

    @fti.model(dataset=dataset, task="binary")
    def buying_model(data: fti.TrainingData) -> Any:
        observed.append(np.column_stack([data.train.columns["spend"], data.train.y]))
        return LogisticRegression().fit(data.train.X, data.train.y)

    world.run(dataset, partition_key="2013-01-06")
    world.run(buying_model, partition_key="2013-01-06")
    world.visits_source["spend"] = 0.0
    world.load()
    world.run(buying_model, partition_key="2013-01-06")
    np.testing.assert_array_equal(observed[0], observed[1])
    store, manifest = world.stores.model_store(), world.manifest(dataset, "2013-01-06")
    assert {build.snapshot for build in store.builds("buying_model")} == {manifest.snapshot}


def test_rows_that_break_schema_are_not_stored_and_kept_aside(world: World) -> None:
    schema = pa.DataFrameSchema({"t": pa.Column("datetime64[us]", pa.Check.lt(pd.Timestamp("2013-01-05")))})
    dataset = world.dataset(schema=schema)
    result = world.run(dataset, span=("2013-01-05", "2013-01-06"), raise_on_error=False)
    assert not result.success
    assert not result.asset_materializations_for_node(dataset.table_name)
    with pytest.raises(NotMaterializedError):
        fti.read(dataset, stores=world.stores)
    assert [name for name, evaluation in checks(result).items() if not evaluation.passed] == [
        "t_less_than",
        "features_vary",
    ]
    (file,) = (world.root / "lake" / "rejected" / dataset.table_name).iterdir()  # the cutoff on the 5th broke nothing
    assert file.name.endswith("-20130106T000000Z.jsonl")
    kept = [json.loads(line) for line in file.read_text().splitlines()]
    assert {row["t"][:10] for row in kept} == {"2013-01-05"}


@pytest.mark.soak
def test_missing_upstream_partitions_warn(empty: World) -> None:
    empty.run(empty.shops)
    empty.load(end="2013-01-03")
    empty.run(empty.visits, empty.outcomes, partition_key="2013-01-05")
    dataset = empty.dataset()
    result = empty.run(dataset, partition_key="2013-01-06")
    complete = checks(result)["upstream_complete"]
    assert result.success
    assert not complete.passed
    assert complete.severity is dg.AssetCheckSeverity.WARN
    assert complete.metadata["failures"].value == 2
    assert "'visits_v1 2013-01-04' and 'outcomes_v1 2013-01-04'" in str(complete.metadata["problem"].value)
    windowed = empty.dataset(window="4d", version=2, split=fti.TimeSplit(validation="1h", test="1h"))
    result = empty.run(windowed, partition_key="2013-01-05")
    assert checks(result)["upstream_complete"].metadata["failures"].value == 2  # the 4th, but nothing before the window


@pytest.mark.soak
def test_newest_cutoff_is_latest_in_time_not_in_alphabet(empty: World) -> None:
    empty.run(empty.shops)
    empty.load("2013-01-28", "2013-02-02")
    cutoffs = dg.DailyPartitionsDefinition(start_date="05-01-2013", end_date="10-02-2013", fmt="%d-%m-%Y")
    dataset = empty.dataset(partitions_def=cutoffs)
    result = empty.run(dataset, span=("31-01-2013", "01-02-2013"))
    cutoff = {
        event.metadata["cutoff"].value
        for event in result.asset_materializations_for_node(dataset.table_name)
        if "cutoff" in event.metadata
    }
    assert cutoff == {"2013-02-01T00:00:00"}


def test_without_partitions_the_cutoff_is_the_clock(world: World) -> None:
    dataset = world.dataset(partitions_def=None)
    with clock.at("2013-01-06T12:00:00"):
        world.run(dataset)
    assert world.manifest(dataset, "all").cutoff == "2013-01-06T12:00:00"
    assert fti.read(dataset, stores=world.stores)["t"].max() == pd.Timestamp("2013-01-06 09:00")


def test_a_group_that_was_never_materialized_is_named(empty: World) -> None:
    result = empty.run(empty.dataset(), partition_key="2013-01-06", raise_on_error=False)
    (failure,) = result.get_step_failure_events()
    assert "features.visits_v1 is not in the offline store" in str(failure.step_failure_data.error)


def test_code_version_tells_of_changed_label_and_changed_join(world: World) -> None:
    def code_version(**changed: Any) -> str | None:
        view = fti.FeatureView(
            **{"name": "buying", "spine": world.visits, "features": [world.visits["spend"]], **changed}
        )
        dataset = fti.training_dataset(name="d", view=view, split=fti.TimeSplit(validation="1d", test="1d"))
        return dataset.assets_def.code_versions_by_key[dataset.key]

    label = fti.Label(world.outcomes["bought"])
    versions = [
        code_version(label=label),
        code_version(label=fti.Label(world.outcomes["returned"])),
        code_version(label=fti.Label(world.outcomes["bought"], maturity="1d")),
        code_version(label=label, features=[world.shops.on(spend="shop").prefix("a_")["size"]]),
        code_version(label=label, features=[world.shops.on(shop="shop").prefix("a_")["size"]]),
    ]
    assert len(set(versions)) == len(versions)
    assert code_version(label=fti.Label(world.outcomes["bought"])) == versions[0]


@pytest.mark.soak
def test_last_day_run_before_its_delay_ended_is_provisional(empty: World) -> None:
    @fti.feature_group(keys=["visit_id"], event_time="t", serving_delay="6h", partitions_def=DAYS)
    def orders(context: dg.AssetExecutionContext) -> pd.DataFrame:
        rows = empty.visits_source
        return rows[rows["t"].dt.strftime("%Y-%m-%d").isin(list(context.partition_keys))]

    view = fti.FeatureView(name="ordering", spine=orders, label=fti.Label(orders["bought"]), features=[orders["spend"]])
    split = fti.TimeSplit(validation="1d", test="1d")
    dataset = fti.training_dataset(name="orders_dataset", view=view, split=split, partitions_def=CUTOFFS)
    with clock.at("2013-01-06T05:59:59"):
        empty.run(orders, span=("2013-01-01", "2013-01-05"))
        complete = checks(empty.run(dataset, partition_key="2013-01-06"))["upstream_complete"]
    assert not complete.passed
    assert complete.severity is dg.AssetCheckSeverity.WARN
    problem = str(complete.metadata["problem"].value)
    assert "from 'orders_v1 2013-01-05', which ran before its end and delay had passed" in problem
    with clock.at("2013-01-06T06:00:00"):
        empty.run(orders, partition_key="2013-01-05")
        assert checks(empty.run(dataset, partition_key="2013-01-06"))["upstream_complete"].passed
