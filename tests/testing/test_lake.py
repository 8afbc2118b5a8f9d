"""Assets on ephemeral stores."""

from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.core import clock
from fti_assets.errors import DeclarationError
from tests.testing.shop import DAYS, FIRST, LAST, buyer, dataset, habits, outcomes, visits


@fti.feature_group(keys=["customer"])
def names() -> pd.DataFrame:
    return pd.DataFrame({"customer": [1], "name": ["a"]})


def test_system_is_materialized_in_order_on_stores_own(tmp_path: Path) -> None:
    stores = testing.stores_in(tmp_path)
    done = testing.materialize(names, visits, outcomes, habits, stores=stores, partition=(FIRST, LAST))
    assert done.success
    # At the end of the last day, rows that were available earlier on that day are late, which only warns; those of its last two
    # hours are not available yet, as they say.
    assert list(done.failed_checks) == [
        "outcomes_v1/rows_in_time",
        "habits_v1/rows_in_time",
    ]
    assert len(done.rows(visits)) == 7 * 48
    assert len(done.rows(visits, partitions=[LAST])) == 48
    trained = testing.materialize(dataset, buyer, stores=stores, partition="2025-01-07")
    assert list(trained.runs) == ["buying_dataset_v1", "buyer_v1"]
    assert stores.model_store().champion("buyer").cutoff == "2025-01-07T00:00:00"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lake", "models", "online"]


def test_the_clock_stands_at_the_last_partitions_end(tmp_path: Path) -> None:
    observed = []

    @fti.feature_group(keys=["customer"], event_time="t", partitions_def=DAYS)
    def watched() -> pd.DataFrame:
        observed.append(clock.now())
        return pd.DataFrame({"customer": [1], "t": [pd.Timestamp("2025-01-02 05:00")]})

    stores = testing.stores_in(tmp_path)
    testing.materialize(watched, stores=stores, partition=("2025-01-01", "2025-01-02"))
    testing.materialize(watched, stores=stores, partition="2025-01-02", now="2025-01-02T07:00:00Z")
    assert [f"{moment:%d %H}" for moment in observed] == ["03 00", "02 07"]


def test_a_refused_run_is_raised_or_told(tmp_path: Path) -> None:
    @fti.feature_group(keys=["customer"])
    def twice() -> pd.DataFrame:
        return pd.DataFrame({"customer": [1, 1]})

    stores = testing.stores_in(tmp_path)
    with pytest.raises(dg.Failure, match="twice_v1: nothing was stored, because 2 rows"):
        testing.materialize(twice, stores=stores)
    done = testing.materialize(twice, stores=stores, raise_on_error=False)
    assert not done.success
    assert done.failed_checks == {"twice_v1/rows_unique": "2 rows of twice_v1 with the same customer as another"}


def test_resources_and_run_config_are_the_users(tmp_path: Path) -> None:
    class Rows(dg.ConfigurableResource):  # type: ignore[type-arg]
        number: int

    class Offset(dg.Config):
        by: int = 0

    @fti.feature_group(keys=["customer"])
    def counted(rows: Rows, config: Offset) -> pd.DataFrame:
        return pd.DataFrame({"customer": [number + config.by for number in range(rows.number)]})

    done = testing.materialize(
        counted,
        stores=testing.stores_in(tmp_path),
        resources={"rows": Rows(number=2)},
        run_config={"ops": {"counted_v1": {"config": {"by": 5}}}},
    )
    assert done.rows(counted)["customer"].tolist() == [5, 6]


@pytest.mark.parametrize(
    ("declarations", "partition", "message"),
    [
        ([], None, "was given nothing"),
        ([visits], None, "visits_v1 is partitioned: name a partition"),
        ([names], FIRST, "names_v1 is not partitioned, so it has no partition '2025-01-01'"),
        (
            [visits],
            "2026-01-01",
            "visits_v1 has no partition '2026-01-01': its partitions are 2025-01-01 to 2025-01-11",
        ),
    ],
)
def test_what_is_missing_is_said(
    declarations: list[fti.FeatureGroup], partition: str | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(DeclarationError, match=message):
        testing.materialize(*declarations, stores=testing.stores_in(tmp_path), partition=partition)
    assert list(tmp_path.iterdir()) == []
