"""Four writers, five readers and upkeep on one lake: no error, no half partition, nothing stale after a commit.

It takes a second, longer where 12 commits do; ``FTI_SOAK_SECONDS`` says another length, as ``make soak`` does.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from fti_assets.core.names import TableName
from fti_assets.stores.lake.store import OfflineStore

ROOT = Path(__file__).parents[2]
SECONDS = float(os.environ.get("FTI_SOAK_SECONDS", "1"))

CROWD = '''
"""Forks the writers, the readers and upkeep; each writes what it did, a line of JSON a commit or a read."""

import json, multiprocessing, os, random, sys, time, traceback
from datetime import timedelta
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.online.store import SqliteOnlineStore
from fti_assets.core.names import TableName
from fti_assets.stores.lake.upkeep.expiry import upkeep

root, seconds = sys.argv[1], float(sys.argv[2])
TABLE = TableName("features", "rows_v1")
SHARED = [f"shared{n}" for n in range(3)]
PAST = [f"2024-01-{day:02}" for day in range(1, 11)]
TODAY = ["2025-06-01"]
ALL = [*SHARED, *PAST, *TODAY]
fork = multiprocessing.get_context("fork")
announced, deadline = fork.Array("q", len(ALL)), fork.Value("d", 0.0)


def write(name, choose):
    """Replace partitions by a content that says whose it is and how much belongs to it."""
    chance, serial = random.Random(name), 0
    with OfflineStore(f"{root}/lake").connect() as lake:
        while time.monotonic() < deadline.value:
            serial, partitions, rows = serial + 1, choose(chance), chance.randint(1, 400)
            lake.connection.execute(
                "CREATE OR REPLACE TEMP TABLE staged AS SELECT ? AS writer, ?::BIGINT AS serial, ?::BIGINT AS n, "
                "r * ?::BIGINT AS value, p AS _partition FROM range(?) rows(r), (SELECT unnest(?) AS p)",
                [name, serial, rows, serial, rows, partitions])
            commit = lake.replace(TABLE, "staged", partitions, asset="rows_v1", run_id=f"{name}-{serial}")
            with announced.get_lock():
                for partition in partitions:
                    place = ALL.index(partition)
                    announced[place] = max(announced[place], commit.snapshot)
            yield {"writer": name, "serial": serial, "snapshot": commit.snapshot, "partitions": partitions}


def read(name, keep_connection):
    """Read whole partitions, rows and ledger at one instant, and say what was announced before."""
    while time.monotonic() < deadline.value:
        with OfflineStore(f"{root}/lake").connect() as lake:
            while time.monotonic() < deadline.value:
                before = list(announced)
                lake.connection.execute("BEGIN")
                rows = lake.rows(TABLE, with_partition=True).aggregate(
                    "_partition, writer, serial, n, count(*) AS rows, sum(value)::BIGINT AS total").fetchall()
                ledger = lake.ledger(TABLE)
                lake.connection.execute("COMMIT")
                runs = {partition: (record.run_id, record.rows) for partition, record in ledger.items()}
                yield {"reader": name, "rows": rows, "ledger": runs, "announced": dict(zip(ALL, before))}
                if not keep_connection:
                    break


def keep_up():
    stores = OfflineStore(f"{root}/lake"), ModelStore(f"{root}/models"), SqliteOnlineStore(f"{root}/online")
    margin = timedelta(seconds=min(20, seconds / 4))
    last = False
    while not last:
        last = time.monotonic() >= deadline.value
        done = upkeep(*stores, keep=margin, grace=margin)
        yield {"expired": len(done.expired), "deleted": done.deleted, "snapshots": done.after.snapshots}
        time.sleep(2)


def work(name, doing):
    try:
        with open(f"{root}/{name}.jsonl", "w") as log:
            for said in doing:
                print(json.dumps(said), file=log, flush=True)
    except BaseException:
        traceback.print_exc()
        os._exit(1)


with OfflineStore(f"{root}/lake").connect() as lake:
    lake.connection.execute("CREATE TEMP TABLE staged AS SELECT 'first' AS writer, 0::BIGINT AS serial, 1::BIGINT AS n, "
                            "0::BIGINT AS value, p AS _partition FROM (SELECT unnest(?) AS p)", [ALL])
    first = lake.replace(TABLE, "staged", ALL, asset="rows_v1", run_id="first-0")
announced[:] = [first.snapshot] * len(ALL)
crowd = {
    "writer-a": write("a", lambda chance: [chance.choice(SHARED)]),
    "writer-b": write("b", lambda chance: [chance.choice(SHARED)]),
    "writer-backfill": write("backfill", lambda chance: PAST),
    "writer-today": write("today", lambda chance: TODAY),
    **{f"reader-{n}": read(f"reader-{n}", n % 2 == 0) for n in range(5)},
    "upkeep": keep_up(),
}
deadline.value = float("inf")
children = [fork.Process(target=work, args=one) for one in crowd.items()]
for child in children:
    child.start()
time.sleep(seconds)
enough, patience = first.snapshot + 12, time.monotonic() + 120  # commits, on a slow machine too
while max(announced) < enough and time.monotonic() < patience and all(child.is_alive() for child in children):
    time.sleep(0.1)
deadline.value = time.monotonic()
for child in children:
    child.join()
print(json.dumps({"snapshot": first.snapshot, "partitions": ALL}))
sys.exit(max(child.exitcode for child in children))
'''


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    root = tmp_path_factory.mktemp("crowd")
    script = root / "crowd.py"
    script.write_text(CROWD)
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    done = subprocess.run(
        [sys.executable, str(script), str(root), str(SECONDS)],
        cwd=ROOT, env=environment, capture_output=True, text=True, timeout=SECONDS + 600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return root, json.loads(done.stdout)


def said(root: Path, pattern: str) -> list[dict[str, Any]]:
    return [json.loads(line) for log in sorted(root.glob(pattern)) for line in log.read_text().splitlines()]


def test_everybody_came_to_work_and_nobody_met_an_error(crowd: tuple[Path, dict[str, Any]]) -> None:
    root, _ = crowd
    counts = {log.stem: len(log.read_text().splitlines()) for log in root.glob("*.jsonl")}
    assert len(counts) == 10
    assert min(counts.values()) >= 1, counts
    kept = said(root, "upkeep.jsonl")
    assert sum(one["expired"] for one in kept) > 0
    assert sum(one["deleted"] for one in kept) > 0
    print(counts, kept[-1])


def test_every_partition_read_is_one_writers_whole_content(crowd: tuple[Path, dict[str, Any]]) -> None:
    root, first = crowd
    for one in said(root, "reader-*.jsonl"):
        partitions = Counter(partition for partition, *_ in one["rows"])
        assert partitions == Counter(first["partitions"])  # each once: all of its rows say the same of themselves
        for partition, writer, serial, n, rows, total in one["rows"]:
            assert (rows, total) == (n, serial * n * (n - 1) // 2)
            assert one["ledger"][partition] == [f"{writer}-{serial}", rows]
        ranges = {(writer, serial) for partition, writer, serial, *_ in one["rows"] if partition.startswith("2024")}
        assert len(ranges) == 1  # a range is one commit


def test_nothing_read_is_older_than_what_was_announced_before(crowd: tuple[Path, dict[str, Any]]) -> None:
    root, first = crowd
    committed = {(one["writer"], one["serial"]): one["snapshot"] for one in said(root, "writer-*.jsonl")}
    committed["first", 0] = first["snapshot"]
    snapshots = sorted(committed.values())
    assert snapshots == sorted(set(snapshots))
    observed = set()
    for one in said(root, "reader-*.jsonl"):
        for partition, writer, serial, *_ in one["rows"]:
            # a commit that a reader saw before its writer could say so is newer than all that was announced
            assert committed.get((writer, serial), 2**62) >= one["announced"][partition]
            observed.add((writer, serial))
    assert len(observed) > 5


def test_the_last_commits_are_what_is_stored(crowd: tuple[Path, dict[str, Any]]) -> None:
    root, first = crowd
    last = dict.fromkeys(first["partitions"], (first["snapshot"], "first-0"))
    for one in said(root, "writer-*.jsonl"):
        for partition in one["partitions"]:
            last[partition] = max(last[partition], (one["snapshot"], f"{one['writer']}-{one['serial']}"))
    with OfflineStore(root / "lake").connect() as lake:
        table = TableName("features", "rows_v1")
        assert {partition: record.run_id for partition, record in lake.ledger(table).items()} == {
            partition: run_id for partition, (_, run_id) in last.items()
        }
        results = lake.rows(table, with_partition=True).project("_partition").distinct().fetchall()
        assert len(results) == len(last)
