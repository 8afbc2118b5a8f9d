"""Make the stores anew, by the code of now: only for a release whose stores later ones have to read.

python tests/data/stores_of_0_1/make.py
"""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
import sys
import tarfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import old_answers  # noqa: E402
import old_system  # noqa: E402

import fti_assets as fti  # noqa: E402
from fti_assets.core import clock  # noqa: E402
from fti_assets.stores.online.about import checksum_of  # noqa: E402
from fti_assets.testing import stores_in  # noqa: E402

MADE_IN = Path("/tmp/stores_of_0_1")
"""DuckLake records it: a folder that is on no machine where the stores are read."""
DAYS = ("2025-03-01", "2025-03-11")
REDIS = "redis://127.0.0.1:6379/0?prefix=stores-of-0-1"


def main() -> None:
    MADE_IN.mkdir()
    try:
        fill(MADE_IN)
        set_times(MADE_IN)
        pack(MADE_IN, HERE / "stores.tar.xz")
        stores = stores_in(MADE_IN)
        with clock.at(old_answers.MADE_AT):
            expected = {name: ask(stores) for name, ask in old_answers.SECTIONS.items()}
            expected["online"] = online_rows(MADE_IN)
            expected["redis"] = redis_keys(MADE_IN)
            expected["reruns"] = old_answers.reruns(stores)
        expected["made_by"] = {
            name: version(name) for name in ("fti-assets", "dagster", "duckdb", "numpy", "onnxruntime")
        }
        (HERE / "expected.json").write_text(lines(expected) + "\n")
    finally:
        shutil.rmtree(MADE_IN)


def fill(folder: Path) -> None:
    """Run the system for eleven days, with a correction, a feed's changes, a rejected build and a new champion."""
    stores = stores_in(folder)

    def run(name: str, partition: Any = None, **options: Any) -> None:
        old_answers.run(stores, name, partition, **options)

    run("orders", DAYS)
    run("deliveries", DAYS)
    run("queues")
    run("customers")
    run("customers")
    run("habits", (DAYS[0], "2025-03-10"))
    run("habits", DAYS[1])
    run("lateness_dataset", "2025-03-10")
    run("lateness_model", "2025-03-10")
    weak = {"ops": {"lateness_model_v1": {"config": {"strength": 1e-9}}}}
    run("lateness_model", "2025-03-10", run_config=weak, raise_on_error=False)
    run("lateness_dataset", "2025-03-11")
    run("lateness_model", "2025-03-11")
    run("verdicts_dataset", "2025-03-11")
    run("verdict_model", "2025-03-11")
    run("lateness_predictions", ("2025-03-10", "2025-03-11"))
    run("verdict_predictions", "2025-03-11")


def set_times(folder: Path) -> None:
    """Set the instants at which DuckLake says that it committed, a minute apart, wherever they are noted."""
    set_to: dict[str, str] = {}
    with closing(sqlite3.connect(folder / "lake" / "catalog.sqlite")) as catalog:
        with catalog:
            made = catalog.execute("SELECT snapshot_id, snapshot_time FROM ducklake_snapshot").fetchall()
            for snapshot, time in made:
                at = old_answers.MADE_AT + timedelta(minutes=snapshot, microseconds=snapshot)
                set_to[time] = f"{at:%Y-%m-%d %H:%M:%S.%f}+00"
                catalog.execute(
                    "UPDATE ducklake_snapshot SET snapshot_time = ? WHERE snapshot_id = ?", (set_to[time], snapshot)
                )
        catalog.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    stores = stores_in(folder).online_store()
    for file in sorted((folder / "online").glob("*.sqlite")):
        about = stores.about(file.stem)
        assert about is not None
        origin = json.loads(about.origin)
        about = replace(about, origin=json.dumps(origin | {"snapshot_at": set_to[origin["snapshot_at"]]}))
        schema = about.schema.to_json(checksum=checksum_of(about))
        with closing(sqlite3.connect(file)) as namespace:
            with namespace:
                namespace.execute("UPDATE about SET origin = ?, schema = ?", (about.origin, schema))
            namespace.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        assert stores.about(file.stem) == about


def pack(folder: Path, archive: Path) -> None:
    """Pack the files, without the locks, without who made them and when."""
    with tarfile.open(archive, "w:xz", preset=9) as packed:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and not file.name.endswith((".lock", "-wal", "-shm")):
                entry = tarfile.TarInfo(str(file.relative_to(folder)))
                entry.size = file.stat().st_size
                packed.addfile(entry, io.BytesIO(file.read_bytes()))


def online_rows(folder: Path) -> dict[str, dict[str, str]]:
    """The bytes of each namespace, by the bytes of its keys."""
    found = {}
    for file in sorted((folder / "online").glob("*.sqlite")):
        with closing(sqlite3.connect(file)) as namespace:
            rows = namespace.execute("SELECT key, blob FROM rows ORDER BY key")
            found[file.stem] = {key.hex(): blob.hex() for key, blob in rows}
    return found


def redis_keys(folder: Path) -> dict[str, Any]:
    """What a Redis server holds when the same groups are loaded there, by key without the prefix."""
    import redis

    other = folder / "other"
    shutil.copytree(folder / "lake", other / "lake")
    stores = fti.Stores(lake=other / "lake", models=other / "models", online=REDIS)
    prefix = REDIS.rpartition("=")[2]
    found: dict[str, Any] = {}
    with redis.Redis.from_url(REDIS.partition("?")[0]) as client:
        try:
            for name, partition in {"queues": None, "habits": "2025-03-11"}.items():
                old_answers.run(stores, name, partition)
            stores.online_store().load(**customers_as_loaded(folder))
            for key in sorted(client.scan_iter(f"{prefix}:*")):
                read: Callable[[], Any] = {
                    b"hash": lambda key=key: {
                        field.hex(): value.hex() for field, value in sorted(client.hgetall(key).items())
                    },
                    b"string": lambda key=key: client.get(key).hex(),
                }[client.type(key)]
                found[key.decode().removeprefix(f"{prefix}:")] = read()
        finally:
            if keys := list(client.scan_iter(f"{prefix}:*")):
                client.unlink(*keys)
    shutil.rmtree(other)
    return found


def customers_as_loaded(folder: Path) -> dict[str, Any]:
    """The lookup as its run loads it; a run of its own would store the feed's next batch."""
    about = stores_in(folder).online_store().about("customers_v1")
    assert about is not None
    table = fti.read(old_system.customers, stores=stores_in(folder), as_="arrow")
    rows = [((row["customer"],), [(None, None, (row["age"], row["grade"]))]) for row in table.to_pylist()]
    return {
        "namespace": "customers_v1", "key_types": about.schema.key_types, "columns": about.schema.columns, "rows": rows,
        "answers_from": None, "snapshot": about.snapshot, "event_time": False,
    }  # fmt: skip


def lines(value: Any, indent: int = 0) -> str:
    """JSON with a line for each row."""
    nested = isinstance(value, dict | list) and any(
        isinstance(one, dict | list) for one in (value.values() if isinstance(value, dict) else value)
    )
    if indent >= 5 or not nested:
        return json.dumps(value, ensure_ascii=False)
    inner, outer = " " * (indent + 1), " " * indent
    if isinstance(value, dict):
        parts = [
            f"{inner}{json.dumps(name, ensure_ascii=False)}: {lines(one, indent + 1)}" for name, one in value.items()
        ]
        return "{\n" + ",\n".join(parts) + f"\n{outer}}}"
    return "[\n" + ",\n".join(inner + json.dumps(one, ensure_ascii=False) for one in value) + f"\n{outer}]"


if __name__ == "__main__":
    main()
