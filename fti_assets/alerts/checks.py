"""Which checks are broken, partition by partition: one that passes on another day says nothing of the day on which it failed.

What a monitor's rule says of a day is the exception. Nobody can mend a past day's drift: it is over once a later day is well.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import dagster as dg

from fti_assets.alerts.causes import Cause, Findings, OpenCause, event_time, shortened
from fti_assets.errors import list_some
from fti_assets.orchestration.partitions import RANGE_TAGS, is_timed, partitions_of

_PARTITION = "dagster/partition"
_RANGE = " to "
"""Between the ends of a range of partitions."""
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
        began_in: the run in which the check began to fail, and has since, whatever the partition; ``earlier`` if that lies further back.
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
    began_in: str = ""


@dataclass(frozen=True)
class BrokenChecks:
    """The evaluations that failed and that no later one of their partitions has passed, the subjects of which nothing is known, and
    by subject the partitions of which it was told and that nobody has evaluated for so long that they are not looked for."""

    broken: tuple[Evaluation, ...]
    unseen: frozenset[str]
    unseen_places: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def findings(self, *, gates: Collection[dg.AssetCheckKey], warnings: bool) -> Findings:
        """The causes of them, one a check, without those of gates, and of those that only warn if these count."""
        by_subject: dict[str, list[Evaluation]] = {}
        for one in self.broken:
            if one.key not in gates and (one.is_error or warnings):
                by_subject.setdefault(_subject_of(one.key), []).append(one)
        causes = [_cause_of(subject, some, self.unseen_places.get(subject, ())) for subject, some in by_subject.items()]
        return Findings(tuple(causes), self.unseen)


def broken_checks(
    instance: dg.DagsterInstance, assets: Sequence[dg.AssetsDefinition], open_causes: Mapping[str, OpenCause]
) -> BrokenChecks:
    """Look at the checks of some assets.

    Args:
        instance: Dagster's.
        assets: those that are watched.
        open_causes: what was told and was not over, by subject: the history of a check that passes is looked through only if it is one.
    """
    broken, unseen, unseen_places = list[Evaluation](), set[str](), dict[str, tuple[str, ...]]()
    for asset in assets:
        for key in asset.check_keys:
            subject = _subject_of(key)
            newest = instance.get_latest_asset_check_evaluation_record(key)
            if newest is None or (newest.status.value == "SUCCEEDED" and subject not in open_causes):
                continue
            history = list(_history(instance, asset, key))
            own = list(_broken_in(asset, history))
            broken += own
            old_places = open_causes[subject].places if subject in open_causes else ()
            unseen_places[subject] = tuple(_unseen_in(asset, history, old_places))
            # Under way, or its run was ended before it: a check that was told stays as it was.
            is_unknown = newest.status.value == "PLANNED" and subject in open_causes
            if not own and (is_unknown or unseen_places[subject]):
                unseen.add(subject)
    return BrokenChecks(tuple(broken), frozenset(unseen), unseen_places)


def _broken_in(asset: dg.AssetsDefinition, history: Sequence[Evaluation]) -> Iterator[Evaluation]:
    """Of the evaluations of a check, the newest first, those that failed and that no later one of their partitions has passed."""
    later_partitions = set[str | None]()
    for place, evaluation in enumerate(history):
        if not evaluation.passed and (still_broken := evaluation.partitions - later_partitions):
            first = _first_failure(still_broken, history[place:])
            at = next(at for at, one in enumerate(history) if one is first)
            if not _is_past(asset, still_broken, history[:at], evaluation):
                yield replace(evaluation, since=first.at, began_in=_beginning(history, at))
        later_partitions |= evaluation.partitions


def _beginning(history: Sequence[Evaluation], at: int) -> str:
    """The run in which the check began to fail that failed in an evaluation, with none between that passed."""
    while at + 1 < len(history) and not history[at + 1].passed:
        at += 1
    return "earlier" if at + 1 == len(history) == _HISTORY else history[at].run_id


def _unseen_in(asset: dg.AssetsDefinition, history: Sequence[Evaluation], places: Sequence[str]) -> Iterator[str]:
    """Of the places that were told those that lie before the history, and that no later partition has ended."""
    evaluated_partitions = {partition for one in history for partition in one.partitions}
    for place in places:
        partitions = _partitions_in(asset, place)
        if not partitions & evaluated_partitions and not _is_past(asset, partitions, history):
            yield place


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
        evaluation_data = None if event is None else event.event_specific_data
        tags = runs[record.run_id].tags if record.run_id in runs else {}
        first, last = (tags.get(tag) for tag in RANGE_TAGS)
        place = record.partition or tags.get(_PARTITION) or (f"{first}{_RANGE}{last}" if first else "")
        yield Evaluation(
            key=key,
            run_id=record.run_id,
            passed=record.status.value == "SUCCEEDED",
            is_error=getattr(evaluation_data, "severity", None) is not dg.AssetCheckSeverity.WARN,
            reason=str(getattr(evaluation_data, "description", None) or ""),
            partitions=_partitions_in(asset, place),
            place=place,
            at=None if record.event is None else event_time(record.event.timestamp),
            judged=_judged(getattr(evaluation_data, "metadata", None) or {}),
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
    first, is_range, last = place.partition(_RANGE)
    if not is_range or asset.partitions_def is None:
        return frozenset([place])
    try:
        return frozenset(asset.partitions_def.get_partition_keys_in_range(dg.PartitionKeyRange(first, last)))
    except Exception:  # of partitions that are no longer declared, whatever Dagster raises
        return frozenset([first, last])


def _subject_of(key: dg.AssetCheckKey) -> str:
    return f"check {key.name} of {key.asset_key.to_user_string()}"


def _cause_of(subject: str, evaluations: Sequence[Evaluation], unseen_places: Sequence[str]) -> Cause:
    """What is wrong with a check, of whichever partitions: a person is told once when it begins to fail, and once when it is over.

    Args:
        subject: the check's.
        evaluations: those that failed, the newest first.
        unseen_places: where else it had failed, longer ago.
    """
    newest, name = evaluations[0], subject.removeprefix("check ")
    places = tuple(dict.fromkeys([*(one.place for one in evaluations), *unseen_places]))
    blocks = any(one.is_error for one in evaluations)
    began = {one.began_in for one in evaluations} | ({"blocks"} if blocks else set())
    start_times = [one.since for one in evaluations if one.since is not None]
    return Cause(
        subject=subject,
        occurrence="\n".join(sorted(began)),
        title=f"Check {name} {'failed' if blocks else 'warns'}{_where(places)}",
        text=f"{shortened(newest.reason) or 'It gave no reason.'}\nRun {newest.run_id}",
        end=f"Check {name} passes again",
        since=min(start_times) if len(start_times) == len(evaluations) else None,
        places=places,
    )


def _where(places: Sequence[str]) -> str:
    """In which partitions a check failed, and in which ranges of them, which may overlap; nothing for an asset without partitions.

    >>> _where(["2013-12-09 to 2013-12-15", "2013-12-01 to 2013-12-14"])
    " in partitions '2013-12-09 to 2013-12-15' and '2013-12-01 to 2013-12-14'"
    """
    has_range = any(_RANGE in place for place in places)
    if len(places) == 1:
        return f" in partition{'s' if has_range else ''} {places[0]}" if places[0] else ""
    return f" in {'partitions' if has_range else f'{len(places)} partitions,'} {list_some(places, 3)}"
