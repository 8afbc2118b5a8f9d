"""A system split over code locations that meet only in the stores gives what it gives in one."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.core.names import DATASETS, FEATURES, PREDICTIONS, TableName
from fti_assets.errors import DeclarationError, NotMaterializedError, StoreError
from fti_assets.features.published.reading import close_stores
from fti_assets.plan.plan import Plan, plan_change
from fti_assets.plan.text import as_text
from fti_assets.stores.lake.tables.contracts import put_contract
from tests.on_demand import calendar, half_stake
from tests.support import visits as whole
from tests.support.worlds import made_once

NOW = "2013-01-09T00:00:00"
ROOT = Path(__file__).parents[2]


@dataclass
class Split:
    """The stores, what each location declares, and the instance that they share."""

    stores: fti.Stores
    dataset: Any
    model: Any
    predictions: Any
    instance: dg.DagsterInstance


def train(stores: fti.Stores) -> Any:
    """The second location: a view over groups that the first one owns."""
    visits, outcomes, crowds, shops = (
        fti.group(name, stores=stores) for name in ("visits", "outcomes", "crowds", "shops")
    )
    view = fti.FeatureView(
        name="bought_view",
        spine=visits,
        label=fti.Label(outcomes["bought"]),
        features=[visits["x", "member"], crowds["people", "mood", "queue"], shops["size"], calendar],
        encoders={"mood": fti.OneHot(), "hour_of_day": fti.OneHot(), "member": fti.OneHot()},
    )
    return whole.model("buyer", view=view)


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> fti.Stores:
    return whole.stores_in(made_once(tmp_path_factory, "answered_week", whole.make_answered_week))


@pytest.fixture(scope="module")
def split(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Split]:
    stores = whole.stores_in(tmp_path_factory.mktemp("split"))
    with clock.at(NOW), dg.DagsterInstance.ephemeral() as instance:
        whole.run(whole.visits, whole.outcomes, whole.crowds, span=("01", "07"), stores=stores, instance=instance)
        whole.run(whole.shops, stores=stores, instance=instance)
        model = train(stores)
        whole.run(model.dataset, model, stores=stores, instance=instance, partition_key="2013-01-05")
        published = fti.published_model("buyer", stores=stores)
        predictions = fti.batch_predictions(name="scores", model=published, partitions_def=whole.DAYS)
        whole.run(predictions, stores=stores, instance=instance, partition_key="2013-01-07")
        yield Split(stores, model.dataset, model, predictions, instance)


def versions(stores: fti.Stores, table: TableName) -> dict[str, str]:
    with stores.offline_store().connect() as lake:
        return {key: record.data_version for key, record in lake.ledger(table).items()}


def test_datasets_are_same_rows(single: fti.Stores, split: Split) -> None:
    table = TableName(DATASETS, "buyer_dataset_v1")
    assert versions(split.stores, table) == versions(single, table) != {}


def test_builds_say_same_of_what_they_learned(single: fti.Stores, split: Split) -> None:
    here, present = (stores.model_store().champion("buyer") for stores in (split.stores, single))
    assert (here.view, here.metrics, here.encoders, here.sha256) == (
        present.view,
        present.metrics,
        present.encoders,
        present.sha256,
    )


def test_predictions_are_same(single: fti.Stores, split: Split) -> None:
    rows = [
        fti.read("scores_v1", stores=stores).drop(columns=["build", "predicted_at"])
        for stores in (split.stores, single)
    ]
    assert len(rows[0]) > 10
    keys = ["visit_id", "t"]
    assert rows[0].sort_values(keys).reset_index(drop=True).equals(rows[1].sort_values(keys).reset_index(drop=True))


def test_an_app_gets_same_answers(single: fti.Stores, split: Split) -> None:
    at, request = "2013-01-06T14:30", {"visit_id": 9, "x": 0.4, "member": True, "shop": "a"}
    here, present = (
        fti.Predictor.load("buyer", models=stores.models, online=stores.online).predict(request, at=at)
        for stores in (split.stores, single)
    )
    assert (here.value, here.features, here.missing) == (present.value, present.features, present.missing)


def test_a_published_model_is_what_its_owner_declares(split: Split) -> None:
    present, own = fti.published_model("buyer", stores=split.stores), split.model
    for field in ("name", "version", "key", "task", "promote", "catch_up", "latency_goal", "partitions_def", "levels"):
        assert getattr(present, field) == getattr(own, field), field
    assert present.evaluate == own.evaluate
    assert [one.name for one in present.view.groups] == [one.name for one in own.view.groups]
    assert present.view.feature_names == own.view.feature_names
    assert (present.dataset.table, present.dataset.query, present.dataset.window) == (own.dataset.table, (), None)
    [label] = present.view.labels.values()
    assert (label.name, label.group.name, label.age, label.horizon) == ("bought", "outcomes", own.view.maturity, None)
    assert not present.is_owned


@pytest.mark.soak
def test_monitors_of_a_published_model_measure_as_those_of_a_declared_one(split: Split) -> None:
    own = fti.batch_predictions(name="scores", model=split.model, partitions_def=whole.DAYS)
    rules: dict[str, Any] = {
        "quality": [fti.Quality("roc_auc", at_least=0.1, min_rows=5, slices=["member"])],
        "partitions_def": whole.DAYS,
    }
    figures = []
    for name, predictions in (("elsewhere", split.predictions), ("here", own)):
        monitor = fti.monitor(name=f"watch_{name}", predictions=predictions, **rules)
        with clock.at(NOW):
            done = whole.run(monitor, stores=split.stores, instance=split.instance, partition_key="2013-01-07")
        assert done.success
        rows = fti.read(monitor, stores=split.stores)
        figures.append(
            rows.sort_values(["subject", "column_name", "statistic", "slice", "reference", "build", "estimated"])
        )
    assert len(figures[0]) > 50
    assert figures[0].reset_index(drop=True).equals(figures[1].reset_index(drop=True))


def test_a_composite_and_a_log_take_published_models(split: Split) -> None:
    published = fti.published_model("buyer", stores=split.stores)
    both = fti.composite(name="both", models=[published], combine=half_stake)
    log = fti.prediction_log(name="calls", model=published)
    definitions = fti.build_definitions([both, log], resources={"fti": split.stores})
    graph = definitions.resolve_asset_graph()
    assert graph.get(both.key).parent_keys == {published.key} == graph.get(log.key).parent_keys
    with clock.at(NOW):
        assert whole.run(both, stores=split.stores, instance=split.instance, partition_key="2013-01-05").success
    rows = []
    for name, model in (("here", both), ("elsewhere", fti.published_model("both", stores=split.stores))):
        predictions = fti.batch_predictions(name=f"combined_{name}", model=model, partitions_def=whole.DAYS)
        with clock.at(NOW):
            assert whole.run(
                predictions, stores=split.stores, instance=split.instance, partition_key="2013-01-07"
            ).success
        rows.append(fti.read(predictions, stores=split.stores, as_="dicts"))
    assert len(rows[0]) > 10
    assert repr(rows[0]) == repr(rows[1])


def test_models_that_are_not_there_are_named(split: Split) -> None:
    with pytest.raises(
        NotMaterializedError,
        match="'nobody' is owned by another code location, but .* the store has the models 'both'|'buyer'",
    ):
        fti.published_model("nobody", stores=split.stores)
    with pytest.raises(
        NotMaterializedError,
        match=r"no accepted build of version 7 of it: it has builds 'v1/.* \(accepted\)'. Materialize it",
    ):
        fti.published_model("buyer", version=7, stores=split.stores)


@pytest.fixture
def copied(split: Split, tmp_path: Path) -> fti.Stores:
    """The stores, for a test to change."""
    close_stores()
    for name in ("lake", "models"):
        shutil.copytree(str(getattr(split.stores, name)), tmp_path / name)
    return whole.stores_in(tmp_path)


def rewrite(stores: fti.Stores, change: Any) -> None:
    """Have another release write the contract of the champion's build; None for one that wrote none."""
    store = stores.model_store()
    folder = store.folder(store.champion("buyer"))
    manifest = json.loads((folder / "manifest.json").read_text())
    if change is None:
        del manifest["files"]["contract.json"]
        (folder / "contract.json").unlink()
    else:
        content = json.dumps({**json.loads((folder / "contract.json").read_text()), **change}).encode()
        manifest["files"]["contract.json"] = hashlib.sha256(content).hexdigest()
        (folder / "contract.json").write_bytes(content)
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "kind", "said"),
    [
        (None, NotMaterializedError, "was made by an earlier release, which promised nothing to other code locations: upgrade fti-assets"),
        ({"quotas": 1}, StoreError, "says quotas, which this release of fti-assets does not know: a later release wrote it"),
        ({"format": 2}, StoreError, "was written in format 2"),
    ],
)  # fmt: skip
def test_contracts_of_other_releases_are_refused(
    change: Any, kind: type[Exception], said: str, copied: fti.Stores
) -> None:
    rewrite(copied, change)
    with pytest.raises(kind, match=said):
        fti.published_model("buyer", stores=copied)


def test_a_later_release_whose_manifest_says_more_is_named_as_that(copied: fti.Stores) -> None:
    store = copied.model_store()
    file = store.folder(store.champion("buyer")) / "manifest.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "watermark": "x"}))
    with pytest.raises(
        StoreError, match="says watermark, which this release of fti-assets does not know: a later release wrote it"
    ):
        fti.published_model("buyer", stores=copied)


def test_a_group_that_means_something_else_by_now_is_refused(copied: fti.Stores) -> None:
    table = TableName(FEATURES, "crowds_v1")
    with copied.offline_store().connect() as lake:
        contract = json.loads(lake.contract(table))
        del contract["available_at"]
        with lake.one_snapshot():
            put_contract(lake, table, json.dumps(contract))
    with pytest.raises(
        DeclarationError,
        match=r"crowds_v1 has changed its meaning under one version: available_at was 'known' and is None, but model 'buyer'",
    ):
        fti.published_model("buyer", stores=copied)


def planned(stores: fti.Stores) -> Plan:
    """What the training location's code would recompute."""
    return plan_change(fti.build_definitions([train(stores)], resources={"fti": stores}), stores)


def test_a_plan_runs_nothing_of_others_and_sees_what_their_contract_changes(copied: fti.Stores) -> None:
    assert not planned(copied).recomputes
    table = TableName(FEATURES, "crowds_v1")
    with copied.offline_store().connect() as lake:
        contract = {**json.loads(lake.contract(table)), "ttl_us": 3_600_000_000}
        with lake.one_snapshot():
            put_contract(lake, table, json.dumps(contract))
    text = as_text(planned(copied))
    assert "buyer_dataset_v1 (dataset): 2013-01-05" in text
    assert "crowds_v1 is joined otherwise (its ttl, times, keys or columns)" in text
    assert "--select crowds_v1" not in text


def test_a_function_that_is_not_shipped_is_named(split: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tests.on_demand", None)
    with pytest.raises(
        DeclarationError, match="needs the on-demand function 'calendar' of module 'tests.on_demand', which is not here"
    ):
        fti.published_model("buyer", stores=split.stores)


ELSEWHERE = """
import json, sys

for name in ("torch", "pytorch_lightning", "lightgbm", "xgboost", "sklearn", "onnx", "onnxscript", "skl2onnx"):
    sys.modules[name] = None  # an import of it fails, as where it is not installed

import dagster as dg

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.testing import stores_in

stores, days = stores_in(sys.argv[1]), dg.DailyPartitionsDefinition(start_date="2013-01-01", end_date="2013-01-20")
with clock.at(sys.argv[2]):
    model = fti.published_model("buyer", stores=stores)
    scores = fti.batch_predictions(name="scores", model=model, partitions_def=days)
    resources = {"fti": stores}
    dg.materialize([scores.assets_def], resources=resources, partition_key="2013-01-06", run_config=json.loads(sys.argv[3]))
"""
"""An inference location, in an environment that has nothing to train with."""


@pytest.mark.soak  # the base install, which has less, answers the same from stores of earlier code
def test_an_environment_without_training_packages_answers_the_same(copied: fti.Stores, split: Split) -> None:
    quiet = json.dumps({"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}})
    home = Path(str(copied.lake)).parent
    done = subprocess.run(
        [sys.executable, "-c", ELSEWHERE, str(home), NOW, quiet], cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-2000:]
    with clock.at(NOW):
        whole.run(split.predictions, stores=split.stores, instance=split.instance, partition_key="2013-01-06")
    table = TableName(PREDICTIONS, "scores_v1")
    rows = [
        fti.read("scores_v1", stores=stores, partitions=["2013-01-06"]).sort_values("visit_id").reset_index(drop=True)
        for stores in (copied, split.stores)
    ]
    assert len(rows[0]) > 10
    assert rows[0].equals(rows[1])
    assert versions(copied, table)["2013-01-06"] == versions(split.stores, table)["2013-01-06"]
