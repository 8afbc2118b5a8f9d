"""A small system for several machines: what each process of the tests of a team's lake does to it.

python -m tests.integration.team_system write <location> <writer> <rounds>
python -m tests.integration.team_system write_at <location> <writer> <rounds> <hours>
python -m tests.integration.team_system read <location> <until>
python -m tests.integration.team_system upkeep <location> <models> <online> <until>
"""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from pathlib import Path

from fti_assets.core.names import TableName
from fti_assets.errors import StoreError
from fti_assets.stores.lake.location import offline_store
from fti_assets.stores.lake.postgres import lock
from fti_assets.stores.lake.upkeep.expiry import upkeep
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.online.store import online_store

OWN, SHARED = TableName("features", "own_v1"), TableName("features", "shared_v1")
ROWS = 50


def write(location: str, writer: int, rounds: int) -> None:
    """Replace a partition of this writer's own and one that all write at once, each for the first time in its round."""
    with offline_store(location).connect() as lake:
        for number in range(rounds):
            for table, key in ((OWN, f"{writer}_{number}"), (SHARED, f"{number}"), (SHARED, f"{number}")):
                lake.connection.execute(
                    f"CREATE OR REPLACE TEMP TABLE staging AS SELECT range AS id, {writer}::DOUBLE AS v, 'person' || range AS person, "
                    f"'{key}' AS _partition FROM range({ROWS})"
                )
                lake.replace(table, "staging", [key], asset=table.name, run_id=f"{writer}")


def write_at(location: str, writer: int, rounds: int, hours: int) -> None:
    """Write on a machine whose clock is some hours ahead, again and again."""
    now = time.time
    lock.time.time = lambda: now() + hours * 3600  # type: ignore[attr-defined]
    refusals = 0
    for _ in range(rounds):
        try:
            write(location, writer, 1)
        except StoreError as error:
            refusals += "clock is 3" in str(error)
    print(refusals)


def read(location: str, until: Path) -> None:
    """Read until a file appears: each partition is whole, of one writer, and as the ledger says, at one snapshot."""
    reads = 0
    with offline_store(location).connect() as lake:
        while not until.exists():
            with lake.one_snapshot():
                for table in lake.tables():
                    snapshot = lake.snapshot()
                    ledger = lake.ledger(table, snapshot=snapshot)
                    rows = lake.rows(table, snapshot=snapshot, with_partition=True)
                    counts = rows.aggregate("_partition, count(*), count(DISTINCT v), count(DISTINCT id)", "_partition")
                    for key, count, writers, ids in counts.fetchall():
                        assert (count, writers, ids) == (ledger[key].rows, 1, count), (table, key, count, writers, ids)
            reads += 1
    print(reads)


def keep_small(location: str, models: str, online: str, until: Path) -> None:
    """Expire, merge and delete until a file appears."""
    rounds = 0
    while not until.exists():
        upkeep(
            offline_store(location),
            ModelStore(models),
            online_store(online),
            keep=timedelta(seconds=20),
            grace=timedelta(seconds=20),
        )
        rounds += 1
        time.sleep(0.5)
    print(rounds)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["write", location, writer, rounds]:
            write(location, int(writer), int(rounds))
        case ["write_at", location, writer, rounds, hours]:
            write_at(location, int(writer), int(rounds), int(hours))
        case ["read", location, until]:
            read(location, Path(until))
        case ["upkeep", location, models, online, until]:
            keep_small(location, models, online, Path(until))
