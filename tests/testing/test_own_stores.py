"""Stores and clocks of a test leave the developer's own system alone."""

from __future__ import annotations

from pathlib import Path

import dagster as dg
import pandas as pd
import pytest

import fti_assets as fti
from fti_assets.errors import DeclarationError
from fti_assets.testing import materialize, stores_in

DAYS = dg.DailyPartitionsDefinition(start_date="2024-01-01")


@fti.feature_group(keys=["id"], event_time="at", partitions_def=DAYS)
def visits(context: dg.AssetExecutionContext) -> pd.DataFrame:
    return pd.DataFrame({"id": [1], "at": [pd.Timestamp(context.partition_key)]})


def test_stores_of_a_test_name_every_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A place that is left out is that of the developer's system, whose log a test would take in and delete."""
    monkeypatch.setenv("FTI_HOME", str(tmp_path / "own"))
    stores = stores_in(tmp_path / "test")
    places = [stores.offline_store().root, stores.model_store().root, stores.log_folder()]
    assert all((tmp_path / "test") in Path(str(place)).parents for place in places)
    assert all(getattr(stores, name) is not None for name in ("lake", "models", "online", "log"))


def test_a_partition_is_there_by_the_clock_that_was_set(tmp_path: Path) -> None:
    done = materialize(visits, stores=stores_in(tmp_path), partition="2090-12-31", now="2091-01-01")
    assert len(done.rows(visits)) == 1
    with pytest.raises(DeclarationError, match="has no partition '2091-01-01'"):
        materialize(visits, stores=stores_in(tmp_path), partition="2091-01-01", now="2091-01-01T12:00")
