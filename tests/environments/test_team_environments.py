"""An environment of a team's lake: a database beside main's, the same bucket, the same promises."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

import fti_assets as fti
from fti_assets import environments
from fti_assets.core.names import TableName
from fti_assets.errors import NotMaterializedError, StoreError
from fti_assets.stores.lake.connection import ask_catalog
from fti_assets.stores.lake.tables.staged_contents import contents_of
from fti_assets.stores.lake.upkeep.expiry import upkeep
from tests.environments import till
from tests.support.buckets import BucketServer
from tests.support.team_lakes import ADMIN, database, lake_location, team_bucket

OLD, NEW = till.system(), till.system(factor=2.0)


@pytest.fixture(scope="module")
def server() -> Iterator[BucketServer]:
    with team_bucket() as server:
        yield server


@pytest.fixture
def name(server: BucketServer) -> Iterator[str]:
    with database() as name:
        yield name


@pytest.fixture
def stores(name: str, tmp_path: Path) -> fti.Stores:
    """Stores of which the lake has one lookup."""
    stores = fti.Stores(
        lake=lake_location(name, f"s3://team/{name}"),
        models=f"s3://team/{name}/models",
        online=tmp_path / "online",
        log=tmp_path / "log",
    )
    till.run(OLD.shops, stores, None)
    return stores


def contents(stores: fti.Stores) -> dict[str, Any]:
    results = {}
    with stores.offline_store().connect() as lake:
        for table in lake.tables():
            lake.rows(table, with_partition=True).create("hashed_anew")
            ledger = lake.ledger(table)
            assert contents_of(lake, "hashed_anew", list(ledger)) == {
                key: (one.data_version, one.rows) for key, one in ledger.items()
            }
            lake.connection.execute("DROP TABLE hashed_anew")
            results[table.full_name] = {key: one.data_version for key, one in ledger.items()}
    return results


def catalog_of(stores: fti.Stores) -> list[Any]:
    with stores.offline_store().connect() as lake:
        query = "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = current_schema() ORDER BY 1"
        names = [name for (name,) in ask_catalog(lake, query)]
        return [(name, sorted(map(str, ask_catalog(lake, f'SELECT * FROM "{name}"')))) for name in names]


def databases() -> set[str]:
    with psycopg.connect(ADMIN) as admin:
        return {name for (name,) in admin.execute("SELECT datname FROM pg_database").fetchall()}


@pytest.mark.soak  # a minute; the merge itself is tested on files
def test_a_change_runs_in_a_database_beside_and_is_merged(
    stores: fti.Stores, server: BucketServer, name: str, tmp_path: Path
) -> None:
    till.run_all(OLD, stores)
    before, catalog, keys = contents(stores), catalog_of(stores), server.keys("team")
    environments.create(stores, "pr-12")
    branch = stores.in_environment("pr-12")
    assert contents(branch) == before
    assert f"{name}_env_pr-12" in databases()
    with pytest.raises(StoreError, match="has an environment 'pr-12' already"):
        environments.create(stores, "pr-12")
    till.run(NEW.busy, branch, ("2025-01-03", till.LAST))
    till.run(NEW.dataset, branch, till.CUTOFF)
    till.run(NEW.model, branch, till.CUTOFF)
    assert (contents(stores), catalog_of(stores)) == (before, catalog)
    assert [key for key in server.keys("team") if "/environments/" not in key] == keys

    # Upkeep of main keeps what the environment reads.
    till.run(till.system(raised=1.0).refunds, stores)
    made = contents(branch)
    upkeep(stores.offline_store(), stores.model_store(), stores.online_store(), keep=timedelta(0), grace=timedelta(0))
    assert contents(branch) == made
    [facts] = environments.environments(stores)
    assert (facts.name, facts.changed_partitions, facts.problem) == ("pr-12", 11, "")

    environments.merge(NEW.defs, stores, "pr-12")
    assert contents(stores) == made
    champion = stores.model_store().champion("refund_model")
    assert champion.reference == branch.model_store().champion("refund_model").reference
    with stores.offline_store().connect() as lake:
        busy = TableName("features", "busy_v1")
        assert lake.ledger(busy, snapshot=champion.snapshot) == lake.ledger(busy)
    assert environments.merge(NEW.defs, stores, "pr-12").partitions == []
    environments.drop(stores, "pr-12")
    assert f"{name}_env_pr-12" not in databases()
    assert [key for key in server.keys("team") if "/environments/" in key] == []
    assert contents(stores) == made
    with pytest.raises(NotMaterializedError, match="has no environment 'pr-12'"):
        environments.drop(stores, "pr-12")


def test_one_that_was_killed_half_made_is_made_again_and_merged(
    stores: fti.Stores, name: str, server: BucketServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("fti_assets.environments.making.share_models", lambda *_: 1 / 0)
        patch.setattr("fti_assets.environments.making.remove_branch", lambda *_: None)
        with pytest.raises(ZeroDivisionError):
            environments.create(stores, "pr-13")
    assert f"{name}_env_pr-13" in databases()
    assert environments.environments(stores) == []
    environments.create(stores, "pr-13")
    branch = stores.in_environment("pr-13")
    assert contents(branch) == (before := contents(stores))

    # What is run there is in main after the merge, and not before.
    changed = till.system(with_seats=True)
    till.run(changed.shops, branch, None)
    assert contents(stores) == before != contents(branch)
    environments.merge(changed.defs, stores, "pr-13")
    assert contents(stores) == contents(branch)

    # What both have changed is refused.
    till.run(till.system(largest=8, with_seats=True).shops, branch, None)
    till.run(till.system(largest=9, with_seats=True).shops, stores, None)
    before = contents(stores)
    with pytest.raises(StoreError, match=r"features\.shops_v1.* has 2 rows in main"):
        environments.merge(changed.defs, stores, "pr-13")
    assert contents(stores) == before
    environments.discard(stores, "pr-13")
    assert f"{name}_env_pr-13" not in databases()
