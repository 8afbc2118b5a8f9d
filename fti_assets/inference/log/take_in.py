"""Taking the files of a prediction log into the lake, each of their lines exactly once.

What a partition's record in the ledger names is what the partition holds: it changes in the same commit as the rows. A file is
deleted when all partitions of its lines name it, so a kill at any instant leaves what the next run goes on with.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fti_assets.core.names import PARTITION, Commit
from fti_assets.core.sql import quote, temporary_name
from fti_assets.errors import StoreError, list_some
from fti_assets.inference.log.entries import entry_of
from fti_assets.inference.log.log import LATENCY, PredictionLog, types_of
from fti_assets.inference.log.places import Places
from fti_assets.inference.log.rows import Rows
from fti_assets.inference.log.waiting import (
    DROPS,
    FILES,
    SERVICE,
    dropped_answers,
    left_names,
    settle,
    state_of,
    taken_files,
    usage_in,
    waiting_files,
)
from fti_assets.inference.serving.log.files import LogFile
from fti_assets.inference.serving.log.lines import instant_of
from fti_assets.inference.serving.log.service import Usage
from fti_assets.stores.duckdb.relations import relation_name
from fti_assets.stores.lake.lake import Lake

_ATTEMPTS = 5


class _ChangedMeanwhile(Exception):
    """Another process took lines in, or changed a file, between the reading of the files and the commit."""


@dataclass
class Intake:
    """What was taken in.

    Args:
        commit: the partitions as they are now.
        table: the temporary table of their rows.
        answers: how many rows are new.
        files: the names of the files with lines that are new.
        in_clear: how many of the new rows held a value in clear that their writer should have redacted, by its name.
        clear_files: the files of those rows.
        drops: how many answers of the partitions their writers left out, by reason.
        usage: by partition what those who answered used, and how their servers answered, all that was said so far.
        outside: how many lines were put outside the table.
    """

    commit: Commit
    table: str
    answers: int = 0
    files: list[str] = field(default_factory=list)
    in_clear: Counter[str] = field(default_factory=Counter)
    clear_files: list[str] = field(default_factory=list)
    drops: Counter[str] = field(default_factory=Counter)
    usage: dict[str, Usage] = field(default_factory=dict)
    outside: int = 0


def take_in(
    log: PredictionLog, lake: Lake, folder: Path, partitions: Sequence[str], *, asset: str, run_id: str = ""
) -> Intake:
    """Add the lines that wait to some partitions, in one commit, and delete the files that are then taken in whole.

    Args:
        log: the log.
        lake: the open lake.
        folder: where the files of the log's model are.
        partitions: those that are run; lines of others wait on.
        asset: the Dagster asset, for the commit's message.
        run_id: the Dagster run.

    Raises:
        StoreError: the commit failed, or others wrote the partitions again and again meanwhile; nothing is lost or doubled.
    """
    for _ in range(_ATTEMPTS):
        try:
            intake = _commit(log, lake, folder, partitions, asset, run_id)
        except _ChangedMeanwhile:
            continue
        intake.outside = settle(log, lake, folder)
        return intake
    raise StoreError(
        f"{log.table_name} {list_some(partitions)} was written by others {_ATTEMPTS} times meanwhile; nothing of this run was stored, and "
        "its lines wait in their files: run it again"
    )


def _commit(log: PredictionLog, lake: Lake, folder: Path, partitions: Sequence[str], asset: str, run_id: str) -> Intake:
    # Before the files: one that is taken in and deleted after this changes what is compared below.
    before = lake.ledger(log.table, partitions=partitions)
    waiting = {key: files for key, files in waiting_files(log, folder, before).items() if key in partitions}
    keys_by_file: dict[LogFile, set[str]] = {}
    for key, files in waiting.items():
        for file in files:
            keys_by_file.setdefault(file, set()).add(key)
    states = {file: state_of(file) for file in keys_by_file}
    staging = temporary_name("logged")
    intake = Intake(Commit(0, (), (), {}), staging)
    drops = _read(log, lake, keys_by_file, staging, intake)
    if lake.has(log.table):
        old = lake.rows(log.table, partitions=partitions, with_partition=True)
        lake.connection.execute(f"INSERT INTO {quote(staging)} BY NAME FROM {relation_name(old)}")
    records = {}
    for key in partitions:
        names = left_names(folder, taken_files(before.get(key))) | {file.name for file in waiting.get(key, ())}
        counts = Counter(dropped_answers(before.get(key))) + drops.get(key, Counter())
        intake.drops += counts
        record: dict[str, Any] = {FILES: sorted(names), DROPS: dict(sorted(counts.items()))}
        intake.usage[key] = usage_in(before.get(key)) + intake.usage.get(key, Usage())
        if intake.usage[key] != Usage():  # which records of an earlier release lack
            record[SERVICE] = asdict(intake.usage[key])
        records[key] = json.dumps(record)

    def check() -> None:
        if lake.ledger(log.table, partitions=partitions) != before or any(
            state_of(file) != state for file, state in states.items()
        ):
            raise _ChangedMeanwhile

    intake.commit = lake.replace(
        log.table,
        staging,
        partitions,
        addable=[LATENCY],  # which tables of an earlier release lack
        asset=asset,
        run_id=run_id,
        records=records,
        check=check,
    )
    return intake


def _read(
    log: PredictionLog, lake: Lake, keys_by_file: dict[LogFile, set[str]], staging: str, intake: Intake
) -> dict[str, Counter[str]]:
    """Put the answers of files into a temporary table, of the partitions that want them; the drops that they count.

    What processes used is added up in ``intake``.
    """
    rows, places = Rows(lake.connection, staging, log, _types(log, lake)), Places(log.partitions_def)
    drops: dict[str, Counter[str]] = {}
    for file, keys in keys_by_file.items():
        answers = intake.answers
        for line in file.lines():
            place = places.of(instant_of(line), file)
            if place not in keys or place is None:
                continue
            entry = entry_of(line, log.redact)
            if entry is None:
                continue
            if (usage := entry.usage) is not None:
                intake.usage[place] = intake.usage.get(place, Usage()) + usage
                continue
            if not entry.is_answer:
                drops.setdefault(place, Counter())[entry.content["reason"]] += entry.content["dropped"]
                continue
            if entry.in_clear:
                intake.in_clear.update(entry.in_clear)
                intake.clear_files += [file.name] if file.name not in intake.clear_files else []
            rows.add(place, entry.content)
            intake.answers += 1
        intake.files += [file.name] if intake.answers > answers else []
    rows.finish()
    return drops


def _types(log: PredictionLog, lake: Lake) -> dict[str, str]:
    """The types of the log's columns: as they are stored, or else those of the spine's keys in the lake."""
    types = lake.types(log.table)
    keys = log.model.view.spine.keys
    of_spine = {name: kind for name, kind in lake.types(log.model.view.spine.table).items() if name in keys}
    return {**types_of(log, of_spine), **{name: kind for name, kind in types.items() if name != PARTITION}}
