"""What a group of 5,000 partitions costs beside one of 500: the lake, a commit, the code location, the sensors, the UI's page.

``python -m benchmarks.many_partitions [--team] [partitions ...]`` makes two groups of hours, a dataset, a model and predictions on them.
All rows of one are in a lake, in files of a partition each. CPU seconds of one process, medians: to open the lake and read one partition;
to replace one; to load the code location, imports aside; of the worst tick of its sensors; to answer the query with which the UI fills the
page of a group's partitions. The first such query reads all events, those after it only new ones. The catalog and Dagster's events are
on SQLite; with ``--team`` in Postgres, and the files in a bucket on the loopback, whose own seconds are not counted. ``FTI_POSTGRES`` is
the server's address, ``postgresql://postgres@127.0.0.1:5432/postgres`` by default. The ratio is that of the last number of partitions over
the first.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.test_utils import InProcessTestWorkspaceLoadTarget
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster_graphql.schema import create_schema
from psycopg.conninfo import conninfo_to_dict

from benchmarks import sensor_tick
from benchmarks.catalogs import postgres_database
from benchmarks.lake import stage
from fti_assets.stores.lake.location import offline_store
from fti_assets.stores.lake.store import OfflineStore

PARTITIONS = (500, 5_000)
ROWS, ROWS_AT_FIRST, AT_ONCE, RUNS = 10_000, 20, 1_000, 7
PAGE = """
query PartitionHealthQuery($assetKey: AssetKeyInput!) {
  assetNodeOrError(assetKey: $assetKey) {
    ... on AssetNode {
      id
      partitionKeysByDimension { name type partitionKeys }
      assetPartitionStatuses {
        ... on TimePartitionStatuses { ranges { status startTime endTime startKey endKey } }
        ... on DefaultPartitionStatuses { materializedPartitions materializingPartitions failedPartitions }
      }
    }
  }
}
"""
SCHEMA = create_schema()

warnings.simplefilter("ignore")


def cpu_s(call: Callable[[], object]) -> float:
    before = time.process_time()
    call()
    return time.process_time() - before


def of_lake(store: OfflineStore, group: Any, keys: Sequence[str]) -> dict[str, float]:
    """What opening the lake and replacing one partition take."""
    with store.connect() as lake:
        for first in range(0, len(keys), AT_ONCE):
            some = keys[first : first + AT_ONCE]
            stage(lake.connection, some, ROWS_AT_FIRST, 0)
            lake.replace(group.table, "staged", some, asset=group.table_name)
        middle = keys[len(keys) // 2]

        def commit() -> None:
            assert lake.replace(group.table, "staged", [middle], asset=group.table_name).changed == (middle,)

        commits = []
        for run in range(RUNS):
            stage(lake.connection, [middle], ROWS, run + 1)
            commits.append(cpu_s(commit))

    def open_and_read() -> None:
        with store.connect() as lake:
            count = f"SELECT count(*) FROM {group.table.sql} WHERE _partition = ?"
            assert lake.connection.execute(count, [middle]).fetchall() == [(ROWS,)]

    opened = statistics.median(cpu_s(open_and_read) for _ in range(RUNS))
    return {"open the lake, read a partition": opened, "commit a partition": statistics.median(commits)}


def of_dagster(
    folder: Path, count: int, defs: dg.Definitions, groups: list[Any], landed: dict[str, str]
) -> dict[str, float]:
    """What loading the code location, a tick and the page of a group's partitions take."""
    origins = []
    for run in range(RUNS):  # a module of its own for each, since Python keeps one that it has loaded
        module = folder / f"system_{count}_{run}.py"
        module.write_text(f"from benchmarks.sensor_tick import system\n\ndefs, _, _ = system({count})\n")
        root = str(Path(__file__).parents[1])
        origins.append(LoadableTargetOrigin(python_file=str(module), working_directory=root))
    with dg.DagsterInstance.from_config(str(folder)) as instance:
        for group in groups:
            sensor_tick.record(instance, group.key, list(landed))
        loads, pages = [], list[float]()
        for origin in origins:
            before = time.process_time()
            with WorkspaceProcessContext(
                instance, InProcessTestWorkspaceLoadTarget(InProcessCodeLocationOrigin(origin))
            ) as process:
                loads.append(time.process_time() - before)
                if origin is origins[-1]:
                    pages = [cpu_s(partial(page, process, groups[0])) for _ in range(RUNS)]
        ticks = sensor_tick.measure(defs.get_repository_def(), instance, groups[0], dict(landed), "ours")
    worst = max(seconds for case, seconds in ticks.items() if not case.endswith("first"))
    return {
        "load the code location": statistics.median(loads),
        "a tick, at worst": worst,
        "the first page of partitions": pages[0],
        "the page of partitions": statistics.median(pages[1:]),
    }


def page(process: WorkspaceProcessContext, group: Any) -> dict[str, Any]:
    """The answer to the query of the UI's page of a group's partitions."""
    variables = {"assetKey": {"path": list(group.key.path)}}
    request = process.create_request_context()
    answer = asyncio.run(SCHEMA.execute_async(PAGE, context_value=request, variable_values=variables))
    assert not answer.errors, answer.errors
    assert len(answer.data["assetNodeOrError"]["assetPartitionStatuses"]["ranges"]) == 1
    data: dict[str, Any] = answer.data
    return data


@contextmanager
def embedded_stores(folder: Path) -> Iterator[OfflineStore]:
    """A lake in a folder, and a ``dagster.yaml`` with SQLite."""
    (folder / "home" / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    yield OfflineStore(folder / "lake")


@contextmanager
def team_stores(folder: Path) -> Iterator[OfflineStore]:
    """A lake in Postgres and a bucket, and a ``dagster.yaml`` with another database."""
    with postgres_database() as (lake, _), postgres_database() as (events, _), bucket() as name:
        of_events = conninfo_to_dict(events)
        address = "{user}@{host}:{port}/{dbname}".format_map(of_events)
        (folder / "home" / "dagster.yaml").write_text(
            f"telemetry: {{enabled: false}}\nstorage: {{postgres: {{postgres_url: 'postgresql+psycopg2://{address}'}}}}\n"
        )
        yield offline_store(
            "postgresql://{user}@{host}:{port}/{dbname}".format_map(conninfo_to_dict(lake)) + f"?data=s3://{name}/lake"
        )


@contextmanager
def bucket() -> Iterator[str]:
    """An empty bucket of a server of its own process, which the ``AWS_`` variables name."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        for _ in range(600):
            with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        access = {"ENDPOINT_URL": f"http://127.0.0.1:{port}", "ACCESS_KEY_ID": "key", "SECRET_ACCESS_KEY": "secret"}
        os.environ |= {f"AWS_{name}": value for name, value in access.items()}
        request = urllib.request.Request(f"{access['ENDPOINT_URL']}/many", method="PUT")
        urllib.request.urlopen(request).close()
        yield "many"
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    logging.disable(logging.INFO)
    arguments = sys.argv[1:]
    stores = team_stores if "--team" in arguments else embedded_stores
    counts = [int(argument) for argument in arguments if argument != "--team"] or list(PARTITIONS)
    measured = {}
    for count in counts:
        defs, groups, landed = sensor_tick.system(count)
        with tempfile.TemporaryDirectory() as name:
            (Path(name) / "home").mkdir()
            with stores(Path(name)) as store:
                measured[count] = of_lake(store, groups[0], list(landed))
                measured[count] |= of_dagster(Path(name) / "home", count, defs, groups, landed)
        print(f"{count} partitions measured", flush=True)
    print(f"{'CPU s':34}" + "".join(f"{count:>10,}" for count in counts) + "     ratio")
    ratios = {}
    for what in measured[counts[0]]:
        seconds = [measured[count][what] for count in counts]
        ratios[what] = round(seconds[-1] / seconds[0], 2)
        print(f"{what:34}" + "".join(f"{one:10.3f}" for one in seconds) + f"{ratios[what]:10.2f}")
    print(json.dumps({"benchmark": "many_partitions", "partitions": counts, "ratio": max(ratios.values()), **ratios}))


if __name__ == "__main__":
    main()
