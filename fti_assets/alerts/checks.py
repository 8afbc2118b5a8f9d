"""Which checks are broken, partition by partition: one that passes on another day says nothing of the day on which it failed.

What a monitor's rule says of a day is the exception. Nobody can mend a past day's drift: it is over once a later day is well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import dagster as dg

from fti_assets.alerts.causes import Cause, Findings, event_time, shortened
from fti_assets.orchestration.partitions import RANGE_TAGS, is_timed, partitions_of

_PARTITION = "dagster/partition"
_NOTHING, _ESTIMATES, _FIGURES = 0, 1, 2
"""What a monitor's rule judged in a run; a warning of figures does not end with an estimate, which says less."""

_HISTORY = 200
"""So many evaluations of a check are looked through; of what lies before, nothing new is known."""


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a check that has come to an end.

    Args:
        key: the check's.
        run_id: the run of it.
        passed: whether it passed.
        is_error: whether a failure blocks.
        reason: what it said.
        partitions: those of the run; None alone where there are none.
        place: these in words.
        at: when, naive UTC; None if nobody knows.
        since: when the first of those in a row failed of which the last is this one.
        judged: how much a monitor's rule had to judge; None of every other check.
    """

    key: dg.AssetCheckKey
    run_id: str
    passed: bool
    is_error: bool
    reason: str
    partitions: frozenset[str | None]
    place: str
    at: datetime | None = None
    since: datetime | None = None
    judged: int | None = None


@dataclass(frozen=True)
class BrokenChecks:
    """The evaluations that failed and that no later one of their partitions has passed, and the subjects of which nothing is known."""

    broken: tuple[Evaluation, ...]
    unseen: frozenset[str]

    def findings(self, *, gates: Collection[dg.AssetCheckKey], warnings: bool) -> Findings:
        """The causes of them, without those of gates, and of those that only warn if these count."""
        told = [one for one in self.broken if one.key not in gates and (one.is_error or warnings)]
        return Findings(tuple(map(_cause_of, told)), self.unseen)


def broken_checks(
    instance: dg.DagsterInstance, assets: Sequence[dg.AssetsDefinition], open_subjects: Collection[str]
) -> BrokenChecks:
    """Look at the checks of some assets.

    Args:
        instance: Dagster's.
        assets: those that are watched.
        open_subjects: what was told and was not over: the history of a check that passes is looked through only if it is one of these.
    """
    broken, unseen = list[Evaluation](), set[str]()
    for asset in assets:
        for key in asset.check_keys:
            start = f"{_subject_of(key)} "
            own_subjects = [one for one in open_subjects if one == start.strip() or one.startswith(start)]
            newest = instance.get_latest_asset_check_evaluation_record(key)
            if newest is None or (newest.status.value == "SUCCEEDED" and not own_subjects):
                continue
            known, history = set[str | None](), list(_history(instance, asset, key))
            for place, evaluation in enumerate(history):
                if not evaluation.passed and (still_broken := evaluation.partitions - known):
                    first = _first_failure(still_broken, history[place:])
                    since_then = history[: next(at for at, one in enumerate(history) if one is first)]
                    if not _is_past(asset, still_broken, since_then, evaluation):
                        broken.append(replace(evaluation, since=first.at))
                known |= evaluation.partitions
            for subject in own_subjects:
                own = _partitions_in(asset, subject.removeprefix(start.strip()).strip())
                if not own & known and not _is_past(asset, own, history):
                    unseen.add(subject)
            if newest.status.value == "PLANNED":  # under way, or its run was ended before it
                unseen |= {one for one in own_subjects if one not in {_subject(evaluation) for evaluation in broken}}
    return BrokenChecks(tuple(broken), frozenset(unseen))


def _first_failure(partitions: Collection[str | None], history: Sequence[Evaluation]) -> Evaluation:
    """The oldest evaluation of partitions since the last that passed for one of them; the newest of ``history`` failed."""
    first = history[0]
    for earlier in history[1:]:
        if earlier.partitions & {*partitions}:
            if earlier.passed:
                break
            first = earlier
    return first


def _is_past(
    asset: dg.AssetsDefinition,
    partitions: Collection[str | None],
    newer: Sequence[Evaluation],
    warning: Evaluation | None = None,
) -> bool:
    """Whether a monitor's rule has passed since for a partition after some, with as much to judge as when it warned.

    Args:
        asset: the monitor.
        partitions: those of which it warned.
        newer: the evaluations since it first did.
        warning: the newest that warned; None where it is older than what is looked through.
    """
    least = _FIGURES if warning is None else max(warning.judged or _NOTHING, _ESTIMATES)
    if warning is not None and (warning.is_error or warning.judged is None):
        return False
    end = _end_of(asset, partitions)
    passed = [
        one for one in newer if one.passed and not one.is_error and one.judged is not None and one.judged >= least
    ]
    ends = [_end_of(asset, one.partitions) for one in passed]
    return end is not None and any(one is not None and one > end for one in ends)


def _end_of(asset: dg.AssetsDefinition, keys: Collection[str | None]) -> datetime | None:
    """When the last of some partitions ends; None if that cannot be told."""
    partitions_def = asset.partitions_def
    names = [key for key in keys if key is not None]
    if not is_timed(partitions_def) or not names:
        return None
    try:
        return partitions_of(partitions_def, names)[-1].end
    except Exception:  # of partitions that are no longer declared, whatever Dagster raises
        return None


def _history(instance: dg.DagsterInstance, asset: dg.AssetsDefinition, key: dg.AssetCheckKey) -> Iterator[Evaluation]:
    """The newest evaluations, the newest first."""
    records = instance.event_log_storage.get_asset_check_execution_history(key, limit=_HISTORY)
    ended = [one for one in records if one.status.value != "PLANNED"]
    run_ids = sorted({one.run_id for one in ended})
    runs = {run.run_id: run for run in instance.get_runs(dg.RunsFilter(run_ids=run_ids))} if run_ids else {}
    for record in ended:
        event = None if record.event is None else record.event.dagster_event
        said = None if event is None else event.event_specific_data
        tags = runs[record.run_id].tags if record.run_id in runs else {}
        first, last = (tags.get(tag) for tag in RANGE_TAGS)
        place = record.partition or tags.get(_PARTITION) or (f"{first} to {last}" if first else "")
        yield Evaluation(
            key=key,
            run_id=record.run_id,
            passed=record.status.value == "SUCCEEDED",
            is_error=getattr(said, "severity", None) is not dg.AssetCheckSeverity.WARN,
            reason=str(getattr(said, "description", None) or ""),
            partitions=_partitions_in(asset, place),
            place=place,
            at=None if record.event is None else event_time(record.event.timestamp),
            judged=_judged(getattr(said, "metadata", None) or {}),
        )


def _judged(metadata: Mapping[str, dg.MetadataValue]) -> int | None:
    judged, estimated = (getattr(metadata.get(name), "value", None) for name in ("judged", "estimated"))
    if not isinstance(judged, int):
        return None
    by_estimates = estimated if isinstance(estimated, int) else 0
    return _FIGURES if judged > by_estimates else _ESTIMATES if judged else _NOTHING


def _partitions_in(asset: dg.AssetsDefinition, place: str) -> frozenset[str | None]:
    if not place:
        return frozenset([None])
    first, is_range, last = place.partition(" to ")
    if not is_range or asset.partitions_def is None:
        return frozenset([place])
    try:
        return frozenset(asset.partitions_def.get_partition_keys_in_range(dg.PartitionKeyRange(first, last)))
    except Exception:  # of partitions that are no longer declared, whatever Dagster raises
        return frozenset([first, last])


def _subject_of(key: dg.AssetCheckKey) -> str:
    return f"check {key.name} of {key.asset_key.to_user_string()}"


def _subject(evaluation: Evaluation) -> str:
    return f"{_subject_of(evaluation.key)} {evaluation.place}".strip()


def _cause_of(evaluation: Evaluation) -> Cause:
    name = _subject_of(evaluation.key).removeprefix("check ")
    place = f" in partition {evaluation.place}" if evaluation.place else ""
    return Cause(
        subject=_subject(evaluation),
        title=f"Check {name} {'failed' if evaluation.is_error else 'warns'}{place}",
        text=f"{shortened(evaluation.reason) or 'It gave no reason.'}\nRun {evaluation.run_id}",
        end=f"Check {name} passes again{place}",
        since=evaluation.since,
    )
