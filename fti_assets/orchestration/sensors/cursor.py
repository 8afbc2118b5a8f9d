"""What sensors remember: versions by target and partition, and the requests that may yet fail to begin."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any, Protocol

import dagster as dg

from fti_assets.core import clock
from fti_assets.orchestration.conditions.never_began import MOST_AGAIN, launch_of, next_launch
from fti_assets.orchestration.partitions import RANGE_TAGS

WHOLE = ""
"""The first and the last partition of a request for an asset that has none."""

Versions = dict[str, dict[str, str]]


@dataclass
class Request:
    """A run that was requested: its key, first and last partition and assets, when, how often again, and its own tags."""

    run_key: str
    first: str
    last: str
    assets: list[str]
    at: str
    again: int = 0
    tags: dict[str, str] = field(default_factory=dict)

    def covers(self, other: Request) -> bool:
        """Whether this request makes another one needless: the same partitions of the same assets, or more."""
        return (self.first, self.last) == (other.first, other.last) and set(other.assets) <= set(self.assets)

    @property
    def run_request(self) -> dg.RunRequest:
        """It as Dagster takes it: a run of one partition, over a range, or of assets as a whole."""
        keys = [dg.AssetKey.from_user_string(name) for name in self.assets]
        which: dict[str, Any] = {"tags": self.tags}
        if self.first != self.last:
            which["tags"] = {**self.tags, **dict(zip(RANGE_TAGS, (self.first, self.last), strict=True))}
        elif self.first != WHOLE:
            which["partition_key"] = self.first
        return dg.RunRequest(run_key=self.run_key, asset_selection=keys, **which)


class Open(Protocol):
    """What remembers the requests that have not ended."""

    open_requests: list[Request]


@dataclass
class Cursor:
    """The text between two ticks is a head that is always read, and the versions, which are read when something changed.

    Two daemons on one cursor make the same request keys.
    """

    requests: int = 0
    digest: str = ""
    waiting: list[str] = field(default_factory=list)
    open_requests: list[Request] = field(default_factory=list)
    packed: str = ""

    @staticmethod
    def of(context: dg.SensorEvaluationContext) -> Cursor:
        text = context.cursor or ""
        try:
            head, _, packed = text.rpartition("\n")
            if not head:  # as it was written before it had a head
                message = _unpack(packed)
                return Cursor(int(message["requests"]), packed=_pack(dict(message["seen"])))
            message = json.loads(head)
            open_requests = [Request(**one) for one in message.pop("open_requests")]
            return Cursor(**message, open_requests=open_requests, packed=packed)
        except (ValueError, TypeError, KeyError, RecursionError, zlib.error):
            return Cursor(_next_number(context))  # there is none yet, or somebody cleared it

    def versions(self) -> Versions:
        return dict(_unpack(self.packed)) if self.packed else {}

    def remember(self, versions: Versions) -> None:
        self.packed = _pack(versions)

    def text(self) -> str:
        head = asdict(self)
        return f"{json.dumps({name: head[name] for name in head if name != 'packed'})}\n{head['packed']}"


def _pack(versions: Mapping[str, Any]) -> str:
    # A cursor is text in Dagster's storage, written again at each tick that changes it: years of partitions are long.
    return base64.b64encode(zlib.compress(json.dumps(versions).encode(), level=1)).decode()


def _unpack(text: str) -> Any:
    return json.loads(zlib.decompress(base64.b64decode(text, validate=True)))


def _next_number(context: dg.SensorEvaluationContext) -> int:
    """Where the numbers of run keys go on without a cursor, since Dagster never runs the same key again.

    A request that still runs is that of another daemon, which is writing its cursor at this moment: the same keys are right.
    """
    last = context.last_run_key or ""
    number = last.partition(":")[0]
    if not number.isdigit():
        return 0
    runs = context.instance.get_runs(dg.RunsFilter(tags={"dagster/run_key": last}), limit=1)
    return int(number) + (not runs or runs[0].is_finished)


def requests_again(context: dg.SensorEvaluationContext, cursor: Open) -> list[Request]:
    """The requests that never began and are due again; those that ended, or were given up, are forgotten.

    A run that is there but was never launched is requested by its own key, which launches it; else by a new one.
    """
    requests, due, now = list[Request](), list[Request](), clock.now()
    for request in cursor.open_requests:
        runs = context.instance.get_runs(dg.RunsFilter(tags={"dagster/run_key": request.run_key}))
        runs = [run for run in runs if run.tags.get("dagster/sensor_name", context.sensor_name) == context.sensor_name]
        is_waiting = bool(runs) and runs[0].status == dg.DagsterRunStatus.NOT_STARTED
        launch = launch_of(context.instance, runs[0]) if runs and not is_waiting else "never began"
        what = f"{request.first}..{request.last} of {', '.join(request.assets)}"
        if launch == "ended":
            continue
        if launch == "under way" or now < next_launch(datetime.fromisoformat(request.at), request.again):
            requests.append(request)
        elif request.again == MOST_AGAIN:
            context.log.error(
                f"the run of {what} never began, {MOST_AGAIN + 1} times; it is not requested again: see to the code location and "
                "the run's log, then re-execute it or land the data again"
            )
        else:
            context.log.warning(
                f"the run of {what} never began: it is requested again, {request.again + 1} of {MOST_AGAIN}"
            )
            # Dagster never runs a key twice; one whose run was made and not launched it takes up again under the same
            # key.
            base = request.run_key.partition(" again ")[0]
            key = request.run_key if is_waiting else f"{base} again {request.again + 1}"
            due.append(replace(request, run_key=key, at=now.isoformat(), again=request.again + 1))
    cursor.open_requests = requests
    return due
