"""A system split over code locations that meet only in the stores gives what it gives in one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import dagster as dg
import pytest

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.core.names import DATASETS, TableName
from tests.on_demand import calendar
from tests.support import visits as whole
from tests.support.worlds import made_once

NOW = "2013-01-09T00:00:00"


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
    here, there = (stores.model_store().champion("buyer") for stores in (split.stores, single))
    assert (here.view, here.metrics, here.encoders, here.sha256) == (
        there.view,
        there.metrics,
        there.encoders,
        there.sha256,
    )


def test_predictions_are_same(single: fti.Stores, split: Split) -> None:
    rows = [
        fti.read("scores_v1", stores=stores).drop(columns=["build", "predicted_at"])
        for stores in (split.stores, single)
    ]
    assert len(rows[0]) > 10
    keys = ["visit_id", "t"]
    assert rows[0].sort_values(keys).reset_index(drop=True).equals(rows[1].sort_values(keys).reset_index(drop=True))
