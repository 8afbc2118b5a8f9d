"""The files of a prediction log that wait: which partitions miss lines of them, and which need to wait no more."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping
from pathlib import Path

from fti_assets.core.names import PartitionRecord
from fti_assets.inference.log.entries import entry_of, is_frame, outside_line
from fti_assets.inference.log.log import PredictionLog
from fti_assets.inference.log.places import Places
from fti_assets.inference.serving.log.files import CLOSED, LogFile, closed_files
from fti_assets.inference.serving.log.lines import instant_of
from fti_assets.inference.serving.log.service import Usage
from fti_assets.stores.files import guard_writes, is_folder, paths_in, readable, sync_folder, write_atomically
from fti_assets.stores.lake.lake import Lake
from fti_assets.stores.lake.store import OfflineStore

FILES, DROPS, SERVICE = "files", "dropped", "service"
OUTSIDE = "outside"
"""The folder of lines that belong to no partition, beside the files that they were in."""

Ledger = Mapping[str, PartitionRecord]


def taken_files(record: PartitionRecord | None) -> frozenset[str]:
    """The files whose lines a partition holds; those that are deleted by now may be left out."""
    return frozenset() if record is None else frozenset(json.loads(record.record).get(FILES, ()))


def dropped_answers(record: PartitionRecord | None) -> dict[str, int]:
    """How many answers of a partition were left out of the log by who answered, by reason."""
    return {} if record is None else dict(json.loads(record.record).get(DROPS, {}))


def usage_in(record: PartitionRecord | None) -> Usage:
    """What those who answered in a partition used, and how their servers answered, as they said it."""
    usage = {} if record is None else json.loads(record.record).get(SERVICE, {})
    return Usage(**{name: usage[name] for name in Usage.__dataclass_fields__ if name in usage})


def waiting_files(log: PredictionLog, folder: Path, ledger: Ledger) -> dict[str, list[LogFile]]:
    """For each partition the closed files that have lines of it which its table has not."""
    waiting: dict[str, list[LogFile]] = {}
    for file, partitions in _partitions_by_file(log, folder).items():
        for partition in partitions:
            if file.name not in taken_files(ledger.get(partition)):
                waiting.setdefault(partition, []).append(file)
    return dict(sorted(waiting.items()))


def stored_ledger(log: PredictionLog, store: OfflineStore) -> Ledger:
    """What is stored of each partition of a log; nothing is made by looking."""
    if not store.exists():
        return {}
    with store.connect() as lake:
        return lake.ledger(log.table)


def settle(log: PredictionLog, lake: Lake, folder: Path) -> int:
    """Delete the files whose lines are all in the table; their lines outside the partitions are first kept in a file of their own.

    A kill between any two of its steps leaves files that are settled the next time.

    Returns:
        How many lines were put outside.
    """
    count = 0
    # Under the lock of those who write the lake: whoever looks at files and ledger under it sees both as they are.
    with lake.store.lock():
        ledger = lake.ledger(log.table)
        files = [
            file
            for file, partitions in _partitions_by_file(log, folder).items()
            if all(file.name in taken_files(ledger.get(partition)) for partition in partitions)
        ]
        for file in files:
            count += _keep_outside(log, file, Places(log.partitions_def))
            with guard_writes(file.path):
                file.path.unlink(missing_ok=True)
        if files:
            sync_folder(folder)
    return count


def outside_lines(folder: Path) -> int:
    """How many lines are kept outside the table."""
    outside = [LogFile(path) for path in paths_in(folder / OUTSIDE, f"*{CLOSED}")]
    return sum(not is_frame(line) for file in outside for line in file.lines())


def state_of(file: LogFile) -> tuple[int, ...]:
    """What tells a file from another of its name; empty if it is gone."""
    with readable(file.path):
        try:
            about = os.stat(file.path)
        except FileNotFoundError:
            return ()
    return (about.st_ino, about.st_size, about.st_mtime_ns)


def left_names(folder: Path, names: Collection[str]) -> set[str]:
    """Of the names of files that were taken in, those that have to be remembered: whose files may still be there."""
    if not is_folder(folder):  # a folder that is not mounted has its files still
        return set(names)
    # What is forgotten here must not come back by a power cut.
    with readable(folder):
        sync_folder(folder)
    present = {path.name for path in paths_in(folder)}
    return {name for name in names if f"{name}{CLOSED}" in present}


def _partitions_by_file(log: PredictionLog, folder: Path) -> dict[LogFile, set[str]]:
    places = Places(log.partitions_def)
    return {file: places.of_file(file) for file in closed_files(folder)}


def _keep_outside(log: PredictionLog, file: LogFile, places: Places) -> int:
    """Put the lines of a file that are in no partition into one of their own, which is whole or not there."""
    redactions, lines = file.redactions(), list[bytes]()
    for line in file.lines():
        if is_frame(line):
            continue
        entry = entry_of(line, log.redact)
        if entry is None or (entry.usage is None and places.of(instant_of(line), file) is None):
            lines.append(outside_line(line, log.redact, redactions))
    if lines:
        first = next(file.lines())
        outside = file.path.parent / OUTSIDE
        with guard_writes(outside):
            outside.mkdir(exist_ok=True)
            content = b"".join([first if is_frame(first) else b"", *lines])
            # Another name: moved back, once there are partitions for them, its lines are of a new file.
            write_atomically(outside / f"{file.name}.{OUTSIDE}{CLOSED}", content)
            sync_folder(outside.parent)
    return len(lines)
