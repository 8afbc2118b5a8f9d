"""Feast's DuckDB store as an oracle: where rows are available at their event time, both must agree on every row.

It needs an environment of its own, which ``make feast`` makes.
"""

import json
import random
import subprocess
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from benchmarks.beside_feast import FEAST, PEER, differences, ours
from tests.features.oracles import connection, relation

pytestmark = pytest.mark.skipif(not FEAST.exists(), reason=f"there is no Feast at {FEAST}: make feast")

CASES = 25
START = datetime(2024, 1, 1)


def write_case(folder: Path, seed: int) -> None:
    """Random groups and a random spine: ties in time with it, keys that are in one of them only, ttls at their edges, nulls.

    Feast drops every column whose name ends with ``_y``, so there is none.
    """
    chance = random.Random(seed)
    folder.mkdir()
    keys = [f"k{number}" for number in range(chance.randint(1, 3))]
    groups: dict[str, Any] = {}
    with connection() as con:
        for key in keys:
            times = {(chance.randrange(6), chance.randrange(40)) for _ in range(chance.randint(1, 60))}
            rows = [
                {
                    "key": number,
                    "e": START + timedelta(minutes=minute),
                    "x": None if chance.random() < 0.1 else chance.randrange(100) / 4,
                    "z": float(chance.randrange(100)),
                }
                for number, minute in sorted(times)
            ]
            chance.shuffle(rows)
            columns = {"key": "BIGINT", "e": "TIMESTAMP", "x": "DOUBLE", "z": "DOUBLE"}
            relation(con, columns, rows).write_parquet(str(folder / f"{key}.parquet"))
            groups[key] = {"key": key, "features": ["x", "z"], "ttl_s": chance.choice([None, 60, 300, 600])}
        spine = [
            {
                "id": number,
                **{key: chance.randrange(8) for key in keys},
                "t": START + timedelta(minutes=chance.randrange(-5, 45)),
            }
            for number in range(chance.randint(1, 80))
        ]
        unique = {
            (*(row[key] for key in keys), row["t"]): row for row in spine
        }  # Feast tells rows apart by keys and time
        columns = {"id": "BIGINT", **dict.fromkeys(keys, "BIGINT"), "t": "TIMESTAMP"}
        relation(con, columns, list(unique.values())).write_parquet(str(folder / "spine.parquet"))
    (folder / "groups.json").write_text(json.dumps(groups))


def test_both_agree_on_every_row_of_random_tables(tmp_path: Path) -> None:
    folders = [tmp_path / str(seed) for seed in range(CASES)]
    for seed, folder in enumerate(folders):
        write_case(folder, seed)
    subprocess.run([str(FEAST), str(PEER), *map(str, folders)], check=True, capture_output=True)
    values = 0
    for folder in folders:
        ours(folder)
        assert differences(folder) == 0, f"{folder.name}: {(folder / 'groups.json').read_text()}"
        with connection() as con:
            values += con.sql(f"SELECT count(*) FROM '{folder}/ours.parquet' WHERE k0__z IS NOT NULL").fetchall()[0][0]
    assert values > 100
