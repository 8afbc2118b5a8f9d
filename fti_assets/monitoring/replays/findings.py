"""What differs between the online path and the offline join for one past request, and whether anybody is to blame for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from fti_assets.core.manifest import JoinedGroup, ModelManifest, ViewRecord
from fti_assets.inference.serving.rows.online_features import join_label
from fti_assets.monitoring.logged import Recomputation, RowTimes, is_hashed, same_answer
from fti_assets.monitoring.parity import feature_differences
from fti_assets.monitoring.replays.online_path import OnlineAnswer
from fti_assets.monitoring.replays.past_request import PastRequest, Path

Kind = Literal["break", "delay_breach"]
VALUE = "value"
"""What a finding calls the answer itself."""

SERVED = "the model saw another value than the lake had then"
STORE = "the online store gives another value than the lake has"
BEHIND = "the online store was loaded before the lake's snapshot of then"
REWRITTEN = "the lake has changed a row that it had then, without a later available-at"
GONE = "the lake has lost the row that won then"
LATE = "the row that wins came to the lake after the answer"
LOOKUP = "the lookup has changed after the answer, and says of none of its rows when it was there"
COMPUTED = "the on-demand function computes another value from the same inputs"
GRAPH = "the graph answers otherwise on the same features"


@dataclass(frozen=True)
class Finding:
    """A feature, or the answer, that is not the same online and offline.

    ``kind`` is ``break``, or ``delay_breach`` where a row came later than it says. ``label`` is the joined group, by ``key``, empty for
    what no group brought. ``online_time`` and ``offline_time`` are the event times of the two rows, None without a row.
    """

    kind: Kind
    path: Path
    feature: str
    online: Any
    offline: Any
    reason: str
    label: str = ""
    key: Mapping[str, Any] | None = None
    online_time: datetime | None = None
    offline_time: datetime | None = None


def logged_findings(
    manifest: ModelManifest, past: PastRequest, then: Recomputation, redactions: frozenset[str]
) -> list[Finding]:
    """Where what the model saw and answered differs from the offline join at the snapshot of then.

    Args:
        manifest: that of the build that answered.
        past: the request, and what its log or its table says of it.
        then: the offline join and the graph at the snapshot of then.
        redactions: the features that the log does not have.
    """
    view = manifest.view
    findings = []
    if past.features is not None:
        for one in feature_differences(view, then.features, {**then.features, **past.features}):
            is_same = one["online"] == _without_infinite(one["offline"])
            if one["feature"] not in redactions and not is_hashed(one["online"]) and not is_same:
                findings.append(_finding("break", "logged", SERVED, view, past, one, past.ages, then))
    findings = _own(view, findings)
    if not findings and not same_answer(manifest, past.value, then.value):
        findings.append(Finding("break", "logged", VALUE, past.value, then.value, GRAPH))
    return findings


def _without_infinite(value: Any) -> Any:
    """A value as a log has it: JSON has no infinite number, so it says null."""
    if isinstance(value, list):
        return [_without_infinite(one) for one in value]
    return None if isinstance(value, float) and math.isinf(value) else value


def replay_findings(
    manifest: ModelManifest,
    past: PastRequest,
    then: Recomputation,
    online: OnlineAnswer,
    now: Recomputation | None,
    *,
    is_behind: Mapping[str, bool],
) -> list[Finding]:
    """Where the online path, as of the prediction time, differs from the offline join at the snapshot of then.

    Args:
        manifest: that of the build that answered.
        past: the request.
        then: the offline join at the snapshot of then.
        online: what the online path says.
        now: the offline join at the snapshots that the online store was loaded from, None where nothing differs from ``then``.
        is_behind: of each group's table, whether that snapshot is older than that of then.

    A difference is a delay breach if the online store says what the lake says, and the row that wins came after the answer: it claims
    to have been available before. Everything else is a break.
    """
    view = manifest.view
    findings = []
    same_now = set() if now is None else {one.name for one in view.features} - _differing(view, now, online)
    for one in feature_differences(view, then.features, online.features):
        feature = one["feature"]
        join = _join_of(view, feature)
        kind: Kind = "break"
        if join is None:
            reason = COMPUTED
        elif feature not in same_now or now is None:
            reason = STORE
        else:
            kind, reason = _blame(view, join, then, now, is_behind.get(join.table_name, False))
        findings.append(_finding(kind, "replayed", reason, view, past, one, online.ages, then))
    findings = _own(view, findings)
    if not findings and not same_answer(manifest, online.value, then.value):
        findings.append(Finding("break", "replayed", VALUE, online.value, then.value, GRAPH))
    return findings


def _blame(
    view: ViewRecord, join: JoinedGroup, then: Recomputation, now: Recomputation, is_behind: bool
) -> tuple[Kind, str]:
    if is_behind:
        return "break", BEHIND
    if join.event_time is None:
        return "delay_breach", LOOKUP
    label = join_label(join, view.joins)
    before, after = (_rank(one.times.get(label)) for one in (then, now))
    if after > before:
        return "delay_breach", LATE
    return "break", REWRITTEN if after == before else GONE


def _rank(times: RowTimes | None) -> tuple[int, datetime, datetime]:
    """By which of two rows won later; no row comes before any, and of windows the one of more rows is the later."""
    if times is None or times.event is None:
        return 0, datetime.min, datetime.min
    return times.rows, times.event, times.available or times.event


def _differing(view: ViewRecord, now: Recomputation, online: OnlineAnswer) -> set[str]:
    return {one["feature"] for one in feature_differences(view, now.features, online.features)}


def _own(view: ViewRecord, findings: list[Finding]) -> list[Finding]:
    """The findings without on-demand features that differ because what they are computed from does."""
    differing = {one.feature for one in findings}
    consequences = set()
    for call in view.on_demand:
        outputs = {output.name for output in call.outputs}
        if differing & set(call.inputs):
            consequences |= outputs & differing
            differing |= outputs  # what rests on these, too
    return [one for one in findings if one.feature not in consequences]


def _finding(
    kind: Kind,
    path: Path,
    reason: str,
    view: ViewRecord,
    past: PastRequest,
    one: Mapping[str, Any],
    ages: Mapping[str, float | None],
    then: Recomputation,
) -> Finding:
    join = _join_of(view, one["feature"])
    if join is None:
        return Finding(kind, path, one["feature"], one["online"], one["offline"], reason)
    label = join_label(join, view.joins)
    age, times = ages.get(label), then.times.get(label)
    return Finding(
        kind,
        path,
        one["feature"],
        one["online"],
        one["offline"],
        reason,
        label=label,
        key={key.group: past.request.get(key.spine) for key in join.keys},
        online_time=None if age is None else past.at - timedelta(seconds=age),
        offline_time=None if times is None else times.event,
    )


def _join_of(view: ViewRecord, feature: str) -> JoinedGroup | None:
    return next(_joins_of(view, feature), None)


def _joins_of(view: ViewRecord, feature: str) -> Iterator[JoinedGroup]:
    return (join for join in view.joins if any(column.feature == feature for column in join.columns))
