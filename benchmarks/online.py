"""CPU time of loading and reading the online stores over that of the same store used by hand.

``python benchmarks/online.py`` loads a group of a million keys x 20 numbers from a DuckLake, and reads 1 and 100 keys of
three such groups (of 200,000 keys), in SQLite and, where a server answers, in Redis. The floor is what a careful user
would write for that layout alone: rows in key order from DuckDB, a checksummed blob of numpy bytes a key, in the same
table with the same settings; reads are prepared statements (or one pipeline) and ``np.frombuffer``. With an argument,
such as ``benchmarks/online.py 100000``, fewer keys are loaded.

After ``make feast`` the same is asked of Feast's SQLite store beside, in its own environment: three groups of 5,000 keys in both,
since Feast writes a row a feature, which takes long for more.
"""

import json
import os
import secrets
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

import fti_assets as fti
from fti_assets.core import clock
from fti_assets.core.manifest import JoinedColumn, JoinedGroup, JoinedKey
from fti_assets.core.sql import quote
from fti_assets.features.online.load import load_online
from fti_assets.inference.serving.rows.columns import Columns
from fti_assets.inference.serving.rows.online_features import OnlineFeatures
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.online.store import OnlineStore, online_store

GOAL = 2
KEYS, READ_KEYS = 1_000_000, 200_000
READ, PEERS = ("read0", "read1", "read2"), ("peer0", "peer1", "peer2")
COLUMNS = [f"f{i}" for i in range(20)]
AT = "2013-06-02T00:00:00"
AT_US = 1_370_131_200_000_000
REDIS = "redis://127.0.0.1:6379/0"
LOADS, BLOCKS = 3, 60
SETTINGS = "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864;"
TABLE = "CREATE TABLE rows (key BLOB PRIMARY KEY, blob BLOB NOT NULL) WITHOUT ROWID"
FEAST = Path(os.environ.get("FTI_FEAST_PYTHON", ".venv-feast/bin/python"))
PEER = Path(__file__).parent / "peers" / "feast_online.py"
FEAST_GOAL, FEAST_KEYS, FEAST_READS = 25, 5_000, {1: 200, 100: 50}


def declared(name: str) -> Any:
    def features() -> None: ...

    return fti.feature_group(name=name, keys=["user"], event_time="seen_at", serving_delay="1h", ttl="2d", online=True)(
        features
    )


def fill(lake: Lake, group: Any, keys: int) -> None:
    columns = ", ".join(f"random() AS {name}" for name in COLUMNS)
    lake.connection.execute(
        f"CREATE OR REPLACE TEMP TABLE staged AS SELECT 'user_' || hash(i) AS \"user\", "
        f"TIMESTAMP '2013-06-01' + to_seconds((hash(i, 1) % 80000)::BIGINT) AS seen_at, {columns}, 'all' AS _partition "
        f"FROM range({keys}) r(i)"
    )
    lake.replace(group.table, "staged", ["all"], asset=group.table_name)


def by_hand(lake: Lake, table: str) -> Iterator[tuple[bytes, bytes]]:
    """Keys and blobs of a million rows as one would write them for this table alone."""
    dtype = np.dtype([("visible", "<i8"), ("event", "<i8"), *((name, "<f8") for name in COLUMNS)])
    query = f'SELECT "user", epoch_us(seen_at) AS event, {", ".join(COLUMNS)} FROM {table} ORDER BY "user"'
    for batch in lake.connection.sql(query).to_arrow_reader(100_000):
        rows = np.empty(batch.num_rows, dtype)
        for name in ("event", *COLUMNS):
            rows[name] = batch[name].to_numpy()
        rows["visible"] = rows["event"] + 3_600_000_000
        content, width = rows.tobytes(), dtype.itemsize
        for i, user in enumerate(batch["user"].to_pylist()):
            key, body = user.encode(), content[i * width : (i + 1) * width]
            yield key, body + crc32(body, crc32(key)).to_bytes(4, "little")


def sqlite_by_hand(path: Path, rows: Iterator[tuple[bytes, bytes]]) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.executescript(SETTINGS)
        connection.execute(TABLE)
        connection.execute("BEGIN")
        connection.executemany("INSERT INTO rows VALUES (?, ?)", rows)
        connection.execute("COMMIT")


def redis_by_hand(client: Any, name: str, rows: Iterator[tuple[bytes, bytes]]) -> None:
    pipe, chunk, chunks = client.pipeline(transaction=False), {}, 0
    for key, blob in rows:
        chunk[key] = blob
        if len(chunk) == 500:
            pipe.hset(name, mapping=chunk)
            chunk, chunks = {}, chunks + 1
            if chunks % 10 == 0:
                pipe.execute()
    if chunk:
        pipe.hset(name, mapping=chunk)
    pipe.execute()


def cpu_s(call: Callable[[], object]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


class Reads:
    """The same reads of three groups, ours and by hand, of one store."""

    def __init__(
        self, names: Sequence[str], kind: str, store: OnlineStore, lake: Lake, folder: Path, client: Any, prefix: str
    ) -> None:
        groups = [declared(name) for name in names]
        self.tables = [group.table_name for group in groups]
        for group in groups:
            with clock.at(AT):
                load_online(lake, store, group)
            rows = by_hand(lake, group.table.sql)
            if kind == "redis":
                redis_by_hand(client, f"{prefix}:hand:{group.table_name}", rows)
            else:
                sqlite_by_hand(folder / f"{group.table_name}.sqlite", rows)
        joins = [
            JoinedGroup(group.name, 1, (JoinedKey("user", "user", "text"),),
                        tuple(JoinedColumn(f"{group.name}_{name}", name, "number") for name in COLUMNS),
                        event_time="seen_at", serving_delay_us=3_600_000_000, ttl_us=2 * 86_400_000_000)
            for group in groups
        ]  # fmt: skip
        self._features = OnlineFeatures(joins, store, [[0], [0], [0]])
        query = f'SELECT "user" FROM {groups[0].table.sql} ORDER BY hash("user") LIMIT 20000'
        self.users = [user for (user,) in lake.connection.execute(query).fetchall()]
        self._client, self._prefix = client, prefix
        if kind == "sqlite":
            self._cursors = [
                sqlite3.connect(folder / f"{table}.sqlite", isolation_level=None).cursor() for table in self.tables
            ]
        self.hand = self.redis_hand if kind == "redis" else self.sqlite_hand

    def ours(self, users: list[str]) -> list[Any] | Columns:
        """What a prediction reads: the values of one key behind it, those of several in columns."""
        if len(users) == 1:
            row: list[Any] = [*users]
            self._features.extend(row, AT_US)
            return row
        columns = Columns(len(users), [users])
        self._features.extend_all(columns, [users], AT_US)
        return columns

    def values(self, users: list[str]) -> list[list[list[Any]]]:
        """The same by group and key."""
        read, width = self.ours(users), len(COLUMNS)
        by_slot = [read.plain(slot) for slot in range(read.width)] if isinstance(read, Columns) else [[v] for v in read]
        slots = [by_slot[1 + n * width : 1 + (n + 1) * width] for n in range(len(self.tables))]
        return [[list(key) for key in zip(*group, strict=True)] for group in slots]

    def sqlite_hand(self, users: list[str]) -> list[Any]:
        if len(users) == 1:
            key = users[0].encode()
            blobs = [
                cursor.execute("SELECT blob FROM rows WHERE key = ?", (key,)).fetchone()[0] for cursor in self._cursors
            ]
            return [[np.frombuffer(blob, "<f8", 20, 16).tolist()] for blob in blobs]
        keys = [user.encode() for user in users]
        sql = f"SELECT key, blob FROM rows WHERE key IN ({', '.join('?' * len(keys))})"
        answers = []
        for cursor in self._cursors:
            blob_of = dict(cursor.execute(sql, keys).fetchall())
            answers.append([np.frombuffer(blob_of[key], "<f8", 20, 16).tolist() for key in keys])
        return answers

    def redis_hand(self, users: list[str]) -> list[Any]:
        keys = [user.encode() for user in users]
        with self._client.pipeline(transaction=False) as pipe:
            for table in self.tables:
                pipe.hmget(f"{self._prefix}:hand:{table}", keys)
            return [[np.frombuffer(blob, "<f8", 20, 16).tolist() for blob in blobs] for blobs in pipe.execute()]

    def p50_us(self, count: int) -> tuple[float, float]:
        """CPU microseconds of a read of ``count`` keys of the three groups: ours and by hand, alternating."""
        calls = 20 if count == 1 else 4
        for users in (self.users[:count], self.users[-count:]):
            assert self.values(users) == self.hand(users), "ours and by hand differ"
        times: tuple[list[float], list[float]] = ([], [])
        for block in range(BLOCKS):
            first = block * calls * count % (len(self.users) - calls * count)
            key_lists = [self.users[first + i * count : first + (i + 1) * count] for i in range(calls)]
            for read, taken in zip((self.ours, self.hand), times, strict=True):
                start = time.process_time_ns()
                for users in key_lists:
                    read(users)
                taken.append((time.process_time_ns() - start) / calls / 1000)
        ours_us, hand_us = (statistics.median(taken) for taken in times)
        return ours_us, hand_us


def measure(kind: str, lake: Lake, root: Path, client: Any, prefix: str) -> dict[str, float]:
    """Measure one store, print it, and give the ratios and the reads."""
    location = f"{REDIS}?prefix={prefix}" if kind == "redis" else str(root / "online")
    store, group = online_store(location), declared("million")
    keys = lake.ledger(group.table)["all"].rows
    floors, loads = [], []
    for run in range(LOADS):
        rows = by_hand(lake, group.table.sql)
        if kind == "redis":
            floors.append(cpu_s(partial(redis_by_hand, client, f"{prefix}:hand", rows)))
            client.unlink(f"{prefix}:hand")
        else:
            floors.append(cpu_s(partial(sqlite_by_hand, root / f"hand{run}.sqlite", rows)))
            (root / f"hand{run}.sqlite").unlink()
        with clock.at(AT):
            loads.append(cpu_s(lambda: load_online(lake, store, group)))
        if run < LOADS - 1:
            store.drop(group.table_name)
    load_s, floor_s = statistics.median(loads), statistics.median(floors)
    store.drop(group.table_name)
    print(f"{kind}: load {keys / load_s:,.0f} keys/s of CPU, by hand {keys / floor_s:,.0f}", flush=True)
    reads = Reads(READ, kind, store, lake, root, client, prefix)
    figures = {f"{kind}_load": load_s / floor_s}
    for count in (1, 100):
        ours_us, hand_us = reads.p50_us(count)
        print(f"{kind}: {count} keys x 3 groups {ours_us:,.0f} us, by hand {hand_us:,.0f} us", flush=True)
        figures |= {f"{kind}_read_{count}": ours_us / hand_us, f"{kind}_read_{count}_us": ours_us}
    return figures


def beside_feast(lake: Lake, root: Path) -> dict[str, float]:
    """CPU microseconds of Feast's reads and ours, by their number of keys, of the same rows; both answer the same."""
    folder = root / "feast"
    folder.mkdir()
    reads = Reads(PEERS, "sqlite", online_store(str(root / "online")), lake, root, None, "")
    users = reads.users
    for table in reads.tables:
        rows = lake.connection.sql(f"FROM lake.features.{quote(table)}")
        rows.select(f'"user", seen_at, {", ".join(COLUMNS)}').write_parquet(str(folder / f"{table}.parquet"))
    keys_of = {
        count: [users[(i * count) % (len(users) - count) :][:count] for i in range(times)]
        for count, times in FEAST_READS.items()
    }
    (folder / "asked.json").write_text(json.dumps(keys_of))
    done = subprocess.run([str(FEAST), str(PEER), str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"Feast failed: {done.stderr[-2000:]}")
    for count, answered in json.loads((folder / "answers.json").read_text()).items():
        ours = reads.values(keys_of[int(count)][0])
        assert [list(chain(*row)) for row in zip(*ours, strict=True)] == answered, "ours and Feast's differ"
    figures: dict[str, float] = {}
    for count, feast_us in json.loads(done.stdout.splitlines()[-1]).items():
        ours_us, _ = reads.p50_us(int(count))
        print(f"{count} keys x 3 groups of {len(users)}: Feast {feast_us:,.0f} us, ours {ours_us:,.0f} us", flush=True)
        figures |= {f"feast_{count}_us": feast_us, f"beside_feast_{count}_us": ours_us}
    return figures


def server() -> Any:
    """A client of the Redis server, or None."""
    try:
        import redis

        client = redis.Redis.from_url(REDIS, socket_connect_timeout=1)
        client.ping()
    except Exception as error:
        print(f"no Redis: {error}")
        return None
    return client


def main() -> None:
    keys = int(sys.argv[1]) if len(sys.argv) > 1 else KEYS
    figures: dict[str, float] = {}
    client, prefix = server(), f"fti-benchmark-{secrets.token_hex(4)}"
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        lake = stack.enter_context(OfflineStore(root / "lake").connect())
        lake.connection.execute("SET threads = 2")
        fill(lake, declared("million"), keys)
        for n in range(3):
            fill(lake, declared(READ[n]), min(keys, READ_KEYS))
            fill(lake, declared(PEERS[n]), FEAST_KEYS)
        lake.connection.execute(f"DROP TABLE {quote('temp', 'staged')}")
        figures |= measure("sqlite", lake, root, None, prefix)
        figures |= beside_feast(lake, root) if FEAST.exists() else {}
        if client is not None:
            try:
                figures |= measure("redis", lake, root, client, prefix)
            finally:
                for name in list(client.scan_iter(f"{prefix}:*", count=1000)):
                    client.unlink(name)
                client.close()
    ratios = {name: value for name, value in figures.items() if not name.endswith("_us")}
    result = {"benchmark": "online", "ratio": round(max(ratios.values()), 2), "goal": GOAL}
    if "feast_100_us" in figures:
        result |= {
            "feast_ratio": round(figures["feast_100_us"] / figures["beside_feast_100_us"], 1),
            "feast_goal": FEAST_GOAL,
        }
    else:
        print("no Feast beside: make feast")
    print(json.dumps(result | {name: round(value, 2) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
