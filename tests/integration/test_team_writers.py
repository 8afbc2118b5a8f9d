"""Several processes write to one lake on Postgres and a bucket, others read it and keep it small: no error, no duplicate, no lost row.

Machines whose clocks are an hour off are refused beside them, each time.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fti_assets.core.names import TableName
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.location import offline_store
from fti_assets.stores.lake.upkeep.forgetting import take_out
from tests.integration.team_system import OWN, ROWS, SHARED
from tests.support.buckets import bucket_server
from tests.support.team_lakes import team_lake

ROOT = Path(__file__).parents[2]


@pytest.mark.soak  # six processes start; the lock that writers wait for is tested with the team lake
@pytest.mark.parametrize("rounds", [2, 20])
def test_four_writers_with_readers_upkeep_and_forgetting(
    rounds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with bucket_server("team") as server, team_lake(server) as location:
        for variable, value in server.environment.items():
            monkeypatch.setenv(variable, value)
        until = tmp_path / "until"

        def started(*arguments: str) -> subprocess.Popen[str]:
            return subprocess.Popen(
                [sys.executable, "-m", "tests.integration.team_system", *arguments],
                cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
            )  # fmt: skip

        with offline_store(location).connect():
            pass  # made once, so that readers find it
        writers = [started("write", location, str(number), str(rounds)) for number in range(4)]
        others = [
            started("read", location, str(until)),
            started("upkeep", location, f"s3://team/{tmp_path.name}", str(tmp_path / "online"), str(until)),
        ]
        hours = (-1, 1) if rounds > 2 else ()
        strays = [started("write_at", location, str(7 + one), str(rounds), str(one)) for one in hours]
        written = [process.communicate() for process in writers]
        refusals = [process.communicate() for process in strays]
        assert [out.strip() for out, _ in refusals] == [str(rounds)] * len(hours), refusals
        with offline_store(location).connect() as lake:
            take_out(lake, SHARED, "person = 'person7'", message="forget", extra={})
        until.touch()
        observed = [process.communicate() for process in others]
        assert [process.returncode for process in writers + others] == [0] * 6, [err for _, err in written + observed]
        assert all(int(out) > 0 for out, _ in observed)
        with offline_store(location).connect() as lake:
            assert _counts(lake, OWN) == {f"{writer}_{number}": ROWS for writer in range(4) for number in range(rounds)}
            assert _counts(lake, SHARED) == {str(number): ROWS - 1 for number in range(rounds)}
            for table in (OWN, SHARED):
                assert {key: one.rows for key, one in lake.ledger(table).items()} == _counts(lake, table)


def _counts(lake: Lake, table: TableName) -> dict[str, int]:
    """The rows of each partition, of which none is there twice."""
    rows = lake.rows(table, with_partition=True).aggregate("_partition, count(*), count(DISTINCT id)", "_partition")
    counts = {key: (count, distinct) for key, count, distinct in rows.fetchall()}
    assert all(count == distinct for count, distinct in counts.values())
    return {key: count for key, (count, _) in counts.items()}
