"""A new nullable column under the same version: what was stored, pinned, trained on and loaded goes on as it was."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pandera.pandas as pa
import pyarrow
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.errors import SchemaChangedError
from fti_assets.orchestration.resources import Stores
from tests.testing.shop import CUTOFFS, DAYS, FIRST, LAST, VisitSchema, on_days, outcomes, relation_name, visits

CUTOFF = "2025-01-08"


class ChannelSchema(VisitSchema):
    channel: str = pa.Field(nullable=True, isin=["web", "shop"])


def with_channel(schema: Any = ChannelSchema, **columns: Any) -> Any:
    @fti.feature_group(keys=["visit_id"], event_time="t", schema=schema, partitions_def=DAYS, name="visits")
    def wider(context) -> pd.DataFrame:  # type: ignore[no-untyped-def]
        return on_days(context, "visit_id", "customer", "t", "spend").assign(**{"channel": "web", **columns})

    return wider


@pytest.fixture
def stores(tmp_path: Path) -> Stores:
    return testing.stores_in(tmp_path)


def versions(stores: Stores) -> dict[str, str]:
    with stores.offline_store().connect() as lake:
        return {day: record.data_version for day, record in lake.ledger(visits.table).items()}


def test_datasets_and_snapshots_go_on_when_column_is_added(stores: Stores) -> None:
    split = fti.TimeSplit(validation="1d", test="1d")
    dataset = fti.training_dataset(name="buying_dataset", view=relation_name(), split=split, partitions_def=CUTOFFS)
    testing.materialize(visits, outcomes, stores=stores, partition=(FIRST, LAST))
    learned = testing.materialize(dataset, stores=stores, partition=CUTOFF).rows(dataset)
    before, rows = versions(stores), fti.read(visits, stores=stores)
    with stores.offline_store().connect() as lake:
        pinned = lake.snapshot()

    evolved = with_channel()
    testing.materialize(evolved, stores=stores, partition=LAST)

    now = fti.read(evolved, stores=stores)
    assert now["channel"].notna().sum() == 48
    pd.testing.assert_frame_equal(
        now.drop(columns="channel").sort_values("t", ignore_index=True), rows.sort_values("t", ignore_index=True)
    )
    assert {day for day, version in versions(stores).items() if version != before[day]} == {LAST}
    assert "channel" not in fti.read(evolved, stores=stores, snapshot=pinned)
    pd.testing.assert_frame_equal(fti.read(dataset, stores=stores), learned)
    pd.testing.assert_frame_equal(
        testing.materialize(dataset, stores=stores, partition=CUTOFF).rows(dataset), learned
    )  # the view takes none of it

    view = fti.FeatureView(
        name="by_channel", spine=evolved, label=fti.Label(outcomes["bought"], maturity="3h"),
        features=[evolved["spend", "channel"]], encoders={"channel": fti.OneHot()},
    )  # fmt: skip
    wider = fti.training_dataset(name="by_channel_dataset", view=view, split=split, partitions_def=CUTOFFS)
    observed = testing.materialize(wider, stores=stores, partition=CUTOFF).rows(wider)
    assert len(observed) == len(learned)
    assert set(observed.loc[observed["t"] < LAST, "channel"].fillna("")) == {""}
    assert set(observed.loc[observed["t"] >= LAST, "channel"]) == {"web"}


NEVER_NULL = ChannelSchema.to_schema().update_column("channel", nullable=False)
OPEN = VisitSchema.to_schema().remove_columns(["spend"])


@pytest.mark.soak
@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (lambda: with_channel(NEVER_NULL), "channel VARCHAR is new. Nothing was stored"),
        (lambda: with_channel(OPEN, spend="much"), "channel VARCHAR is new; spend was DOUBLE and is now VARCHAR"),
    ],
)
def test_column_never_null_or_comes_with_another_change_is_refused(
    stores: Stores, changed: Callable[[], Any], problem: str
) -> None:
    testing.materialize(visits, stores=stores, partition=FIRST)
    with pytest.raises(SchemaChangedError, match=problem):
        testing.materialize(changed(), stores=stores, partition=LAST)
    assert "channel" not in fti.read(visits, stores=stores)


def test_run_without_newer_column_is_refused_even_if_it_is_optional(stores: Stores) -> None:
    optional = ChannelSchema.to_schema().update_column("channel", required=False)
    testing.materialize(with_channel(optional), stores=stores, partition=FIRST)

    @fti.feature_group(keys=["visit_id"], event_time="t", schema=optional, partitions_def=DAYS, name="visits")
    def without(context) -> pd.DataFrame:  # type: ignore[no-untyped-def]
        return on_days(context, "visit_id", "customer", "t", "spend")

    with pytest.raises(SchemaChangedError, match="channel VARCHAR is gone"):
        testing.materialize(without, stores=stores, partition=LAST)


def test_namespace_gets_column_and_answers_for_others_as_before(stores: Stores) -> None:
    def ages(*, wider: bool) -> Any:
        @fti.feature_group(keys=["customer"], online=True, name="ages", version=1)
        def ages() -> pd.DataFrame:
            rows = pd.DataFrame({"customer": [1, 2], "age": [30.0, None]})
            return rows.assign(city=["Rome", None]) if wider else rows

        return ages

    def read(*columns: str) -> Any:
        reader = stores.online_store().reader("ages_v1", columns=columns)
        return reader.get_many([(1,), (2,)], 0)

    testing.materialize(ages(wider=False), stores=stores)
    before = read("age")
    testing.materialize(ages(wider=True), stores=stores)
    assert read("age") == before
    assert "Rome" in repr(read("city")[0])


def test_log_says_which_columns_were_cast_and_held_whole(stores: Stores) -> None:
    schema = pa.DataFrameSchema(
        {"item": pa.Column(int), "vector": pa.Column(None, pa.Check(lambda values: values.notna(), name="there"))}
    )

    @fti.feature_group(keys=["item"], schema=schema)
    def vectors() -> Any:
        vector = pyarrow.array([[0.5, 1.5]], pyarrow.list_(pyarrow.float32(), 2))
        return pyarrow.table({"item": [1], "vector": vector})

    with dg.DagsterInstance.ephemeral() as instance:
        made = testing.materialize(vectors, stores=stores, instance=instance)
        messages = [entry.user_message for entry in instance.all_logs(made.runs["vectors_v1"].run_id)]
    assert "vectors_v1: vector came as FLOAT[2] and is stored as FLOAT[]" in messages
    assert any(line.startswith("vectors_v1: 'vector' fetched whole") for line in messages)
