"""What Dagster is told of a service: materializations of the partitions that it has flushed to, and how far behind it is."""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import dagster as dg

from fti_assets.core import clock
from fti_assets.core.names import PartitionRecord
from fti_assets.core.rules import Rule
from fti_assets.features.events.checks import DEAD_LETTERS, LAG
from fti_assets.features.groups.freshness import FRESH
from fti_assets.features.groups.group import FeatureGroup
from fti_assets.orchestration.materialization import runless_materialized
from fti_assets.orchestration.partitions import partitions_of
from fti_assets.streaming.flush import Flush
from fti_assets.streaming.service import Say

BEHIND = timedelta(minutes=1)
"""A service that still has to read events is behind once its newest row is older than this."""

_MEMORY = timedelta(days=1)
_LAST_WORDS_SECONDS = 10.0
"""So long a service waits at its end for an instance that does not answer."""


@dataclass
class _Group:
    """What is known of a group, and what of it was not reported yet."""

    group: FeatureGroup
    records: dict[str, PartitionRecord] = field(default_factory=dict)
    rows: dict[str, int] = field(default_factory=dict)
    last: Flush | None = None
    newest: datetime | None = None
    newest_event: datetime | None = None
    is_new: bool = False
    passed: dict[str, bool] = field(default_factory=dict)
    dead: deque[tuple[datetime, int]] = field(default_factory=deque)
    at: dict[str, float] = field(default_factory=dict)
    judged_at: float = float("-inf")


class Reports:
    """Reports to Dagster in a thread of its own, so that neither events nor flushes wait for it.

    Args:
        connect: opens the instance; asked again after a report that failed.
        groups: the groups that are taken.
        every: between two events of one partition at least, in seconds.
        say: is told of reports that fail.
    """

    def __init__(
        self, connect: Callable[[], dg.DagsterInstance], groups: Sequence[FeatureGroup], every: float, say: Say
    ) -> None:
        self._connect, self._every, self._say = connect, every, say
        self._instance: dg.DagsterInstance | None = None
        self._groups = {group.table: _Group(group) for group in groups}
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._is_broken = False
        run = copy_context().run  # the thread has the clock of whoever makes it
        self._thread = threading.Thread(target=run, args=(self._work,), name="reports to dagster", daemon=True)
        self._thread.start()

    def flushed(self, flush: Flush) -> None:
        """Take in a commit to the lake; it returns at once."""
        with self._lock:
            its = self._groups[flush.table]
            for record in flush.commit.partitions:
                its.records[record.partition] = record
                its.rows[record.partition] = its.rows.get(record.partition, 0) + flush.additions[record.partition]
            its.last, its.is_new = flush, True
            its.newest = max(filter(None, [its.newest, flush.newest]), default=None)
            its.newest_event = max(filter(None, [its.newest_event, flush.newest_event]), default=None)
            its.dead.append((clock.now(), sum(flush.dead_letters.values())))

    def close(self) -> None:
        """Report what was not reported yet, and end."""
        self._stop.set()
        self._thread.join(_LAST_WORDS_SECONDS)
        if self._thread.is_alive():
            self._say(
                "report_failed", error=f"Dagster's instance did not answer within {_LAST_WORDS_SECONDS:.0f} seconds"
            )

    def _work(self) -> None:
        is_last = False
        while not is_last:
            is_last = self._stop.wait(min(1.0, self._every))
            for its in self._groups.values():
                try:
                    self._report(its, is_last=is_last)
                    self._is_broken = False
                except Exception as error:  # of whatever storage the instance has
                    self._instance = None
                    if not self._is_broken or is_last:
                        self._say("report_failed", group=its.group.table_name, error=f"{type(error).__name__}: {error}")
                    self._is_broken = True
                    if not is_last:
                        self._stop.wait(self._every)

    def _report(self, its: _Group, *, is_last: bool) -> None:
        now = time.monotonic()
        with self._lock:
            flush = its.last
            keys = [key for key in its.records if is_last or now - its.at.get(key, float("-inf")) >= self._every]
            records = [(its.records[key], its.rows[key]) for key in keys]
            if flush is None:
                return
            today = clock.now()
            while its.dead and its.dead[0][0] < today - _MEMORY:
                its.dead.popleft()
            facts = _facts(flush, its, today)
            verdicts = list(_verdicts(its.group, facts))
            # Time makes another verdict too: of a stream that is silent, or of a lake that cannot be written.
            is_other = {rule.name: passed for rule, passed, _ in verdicts} != its.passed
            judges = (its.is_new or is_other) and (is_last or bool(keys) or now - its.judged_at >= self._every)
            if not (keys or judges):
                return
        instance = self._instance = self._instance or self._connect()
        for record, rows in records:
            instance.report_runless_asset_event(_materialization(its.group, record, {"rows_added": rows, **facts}))
            with self._lock:
                its.at[record.partition] = now
                its.rows[record.partition] -= rows
                if its.records[record.partition] == record:  # else more has come meanwhile
                    del its.records[record.partition], its.rows[record.partition]
        if judges:
            for rule, passed, text in verdicts:
                instance.report_runless_asset_event(
                    dg.AssetCheckEvaluation(
                        asset_key=its.group.key,
                        check_name=rule.name,
                        passed=passed,
                        metadata=facts,
                        severity=dg.AssetCheckSeverity.WARN,
                        description=text,
                    )
                )
            with self._lock:
                its.judged_at, its.is_new = now, its.last is not flush
                its.passed = {rule.name: passed for rule, passed, _ in verdicts}


def _facts(flush: Flush, its: _Group, now: datetime) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "snapshot": flush.commit.snapshot,
        "lag": sum(flush.lag.values()),
        "dead_letters": sum(number for _, number in its.dead),
        "position": {str(shard): sequence for shard, sequence in sorted(flush.positions.items())},
    }
    if its.newest is not None:
        facts["freshness_s"] = (now - its.newest).total_seconds()
    if its.group.ttl is not None and its.newest_event is not None:
        facts |= {"age_s": (now - its.newest_event).total_seconds(), "ttl_s": its.group.ttl.total_seconds()}
    return facts


def _materialization(group: FeatureGroup, record: PartitionRecord, facts: dict[str, Any]) -> dg.AssetMaterialization:
    [partition] = partitions_of(group.partitions_def, [record.partition])
    assert partition.end is not None
    metadata = {**facts, "dagster/row_count": record.rows, "dagster/partition_row_count": record.rows}
    # A run after its end is still to come.
    is_provisional = record.run_at < partition.end + (group.serving_delay or timedelta(0))
    return runless_materialized(
        group.assets_def, record.partition, record.data_version, metadata, is_provisional=is_provisional
    )


def _verdicts(group: FeatureGroup, facts: dict[str, Any]) -> Iterator[tuple[Rule, bool, str | None]]:
    lag, dead, age = facts["lag"], facts["dead_letters"], facts.get("freshness_s", 0.0)
    is_behind = lag > 0 and age > BEHIND.total_seconds()
    behind = f"{group.table_name} is behind its stream: {lag} events are to be read, and its newest row is of {age:.0f} s ago"
    yield LAG, not is_behind, behind if is_behind else None
    letters = (
        f"{dead} events of the last day are no rows of {group.table_name}: see {group.table.dead_letters.full_name}"
    )
    yield DEAD_LETTERS, not dead, letters if dead else None
    if "age_s" in facts:
        stale = f"the newest row of {group.table_name} is of {facts['age_s']:.0f} s ago: older than its ttl, so it answers nothing"
        is_fresh = facts["age_s"] <= facts["ttl_s"]
        yield FRESH, is_fresh, None if is_fresh else stale


@contextmanager
def reporting(groups: Sequence[FeatureGroup], every: float, say: Say) -> Iterator[Callable[[Flush], None]]:
    """Report to the instance of ``DAGSTER_HOME``; without one it is said once, and nothing is reported.

    Args:
        groups: the groups that are taken.
        every: between two events of one partition at least, in seconds.
        say: is told what is not reported.
    """
    if not os.environ.get("DAGSTER_HOME"):
        say(
            "not_reported", reason="DAGSTER_HOME names no instance of Dagster, so its pages do not show what is flushed"
        )
        yield lambda flush: None
        return
    reports = Reports(dg.DagsterInstance.get, groups, every, say)
    try:
        yield reports.flushed
    finally:
        reports.close()
