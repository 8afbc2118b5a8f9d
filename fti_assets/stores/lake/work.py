"""What the ledger notes of the work behind a partition: by which code it was made, and how long that took."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass, replace

from fti_assets.core.names import PartitionRecord

CODE_VERSION, SECONDS = "code_version", "seconds"
"""The fields of a record's JSON."""


@dataclass(frozen=True)
class Work:
    """A step that writes: the code version of its asset, and when it began, in seconds of the monotonic clock."""

    code_version: str
    began: float


_WORK: ContextVar[Work | None] = ContextVar("work", default=None)


def begin_work(code_version: str) -> None:
    """From here on, what this thread writes is noted as the work of a step."""
    _WORK.set(Work(code_version, time.monotonic()))


def end_work() -> None:
    """The step is over."""
    _WORK.set(None)


def with_work(records: Sequence[PartitionRecord]) -> list[PartitionRecord]:
    """The records that a step writes, with its code version and an equal share of the time since it began; others as they are."""
    work = _WORK.get()
    if work is None:
        return list(records)
    share = round((time.monotonic() - work.began) / max(1, len(records)), 6)
    noted = {CODE_VERSION: work.code_version, SECONDS: share}
    return [replace(one, record=json.dumps({**json.loads(one.record), **noted})) for one in records]


def code_version_in(record: PartitionRecord) -> str | None:
    """The code version of what made a partition; None where nobody noted it."""
    version = json.loads(record.record).get(CODE_VERSION)
    return None if version is None else str(version)


def seconds_in(record: PartitionRecord) -> float | None:
    """How long a partition took to make; None where nobody noted it."""
    seconds = json.loads(record.record).get(SECONDS)
    return None if seconds is None else float(seconds)
