"""A dataset made again from its manifest: equal, or what differs, with nothing stored."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

import fti_assets as fti
from fti_assets import cli
from fti_assets.errors import NotMaterializedError
from fti_assets.training.datasets.dataset import TrainingDataset
from fti_assets.training.datasets.rebuilding import Rebuilt, rebuild
from tests.training.test_dataset_run import World, loaded, world

__all__ = ["loaded", "world"]

CUTOFF = "2013-01-06"


def rebuilt(world: World, dataset: TrainingDataset) -> Rebuilt:
    with world.stores.offline_store().connect() as lake:
        before = lake.snapshot()
        result = rebuild(lake, dataset, CUTOFF)
        assert lake.snapshot() == before
    return result


def test_rows_are_equal_though_the_lake_went_on(world: World) -> None:
    dataset = world.dataset(sample=fti.Sample(negatives=0.5), where="spend < 2")
    world.run(dataset, partition_key=CUTOFF)
    world.visits_source["spend"] *= 2
    world.load("2013-01-02", "2013-01-03")
    result = rebuilt(world, dataset)
    assert (result.is_equal, result.differences, result.notes) == (True, (), ())
    assert str(result).startswith(f"buying_dataset_v1 {CUTOFF} is equal: {result.rows[0]} rows, content ")


def test_other_code_is_named_with_what_it_changes(world: World) -> None:
    world.run(world.dataset(), partition_key=CUTOFF)
    other = rebuilt(world, world.dataset(where="spend > 0"))
    assert not other.is_equal
    assert any(one.startswith("the rows, stored and made again: train ") for one in other.differences)
    assert any(one.startswith("'spend': ") for one in other.differences)
    assert other.notes[0].startswith("the code version is ")
    split = rebuilt(world, world.dataset(split=fti.HashSplit()))
    assert not split.is_equal
    assert any(one.startswith("'split': ") for one in split.differences)
    with_shop = fti.FeatureView(
        name="buying", spine=world.visits, label=world.view.label, features=[world.visits["shop", "spend"]]
    )
    dataset = fti.training_dataset(
        name="buying_dataset",
        view=with_shop,
        partitions_def=world.dataset().partitions_def,
        split=world.dataset().split,
    )
    columns = rebuilt(world, dataset)
    assert columns.differences[:2] == ("only the stored rows have 'size'", "only those made again have 'shop'")
    assert "the view 'buying' differs in" in columns.notes[1]


def test_stored_rows_that_were_altered_are_not_equal(world: World) -> None:
    dataset = world.dataset()
    world.run(dataset, partition_key=CUTOFF)
    with world.stores.offline_store().connect() as lake:
        lake.connection.execute(f"UPDATE {dataset.table.sql} SET spend = spend + 1")
    result = rebuilt(world, dataset)
    assert not result.is_equal
    assert result.differences[0].startswith("the stored rows have been altered since")
    assert any(one.startswith("'spend': ") for one in result.differences)


def test_a_version_that_came_later_is_named(world: World) -> None:
    world.run(world.dataset(), partition_key=CUTOFF)

    @fti.feature_group(name="weights", version=2, keys=["visit_id"])
    def later() -> Any: ...

    view = fti.FeatureView(name="buying", spine=world.visits, label=world.view.label, features=[later["weight"]])
    dataset = fti.training_dataset(
        name="buying_dataset",
        view=view,
        partitions_def=world.dataset().partitions_def,
        split=world.dataset().split,
    )
    problem = "was made of 'visits_v1', 'shops_v1' and 'outcomes_v1'.*rests on 'weights_v2' besides, which cannot be read at snapshot"
    with pytest.raises(NotMaterializedError, match=problem):
        rebuilt(world, dataset)


def test_absent_cutoff_is_named(world: World) -> None:
    world.run(dataset := world.dataset(), partition_key="2013-01-07")
    with pytest.raises(NotMaterializedError, match="has no partition '2013-01-06' in .*: it has '2013-01-07'"):
        rebuilt(world, dataset)


@pytest.mark.soak
def test_command_says_it_and_fails_where_they_differ(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world.run(world.dataset(), partition_key=CUTOFF)
    where: dict[str, Any] = {"terms": {}}

    def defs(*_: Any) -> dg.Definitions:
        return fti.build_definitions([world.dataset(**where["terms"])], resources={"fti": world.stores})

    monkeypatch.setattr("fti_assets.cli.training.dataset.load_definitions", defs)
    assert cli.main(["dataset", "rebuild", "buying_dataset", CUTOFF]) == 0
    assert "is equal" in capsys.readouterr().out
    where["terms"] = {"where": "spend > 0"}
    assert cli.main(["dataset", "rebuild", "buying_dataset_v1", CUTOFF]) == 1
    assert "differs: stored" in capsys.readouterr().err
    assert cli.main(["dataset", "rebuild", "selling", CUTOFF]) == 1
    assert "the definitions have no dataset 'selling': they have 'buying_dataset'" in capsys.readouterr().err
