"""Whose fault a difference is, against every row searched one by one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fti_assets.core.manifest import (
    Column,
    JoinedColumn,
    JoinedGroup,
    JoinedKey,
    ModelManifest,
    OnDemandCall,
    ViewRecord,
)
from fti_assets.monitoring.logged import Recomputation, RowTimes
from fti_assets.monitoring.replays.findings import (
    BEHIND,
    COMPUTED,
    GRAPH,
    LATE,
    LOOKUP,
    SERVED,
    STORE,
    logged_findings,
    replay_findings,
)
from fti_assets.monitoring.replays.online_path import OnlineAnswer
from fti_assets.monitoring.replays.past_request import PastRequest

START = datetime(2025, 1, 1)
NOON = 12
JOIN = JoinedGroup(
    "rates", 1, (JoinedKey("shop", "shop", "text"),), (JoinedColumn("rate", "rate", "number"),), "t", "known"
)
LOOKUPS = JoinedGroup("shops", 1, (JoinedKey("shop", "shop", "text"),), (JoinedColumn("size", "size", "number"),))
CALL = OnDemandCall("doubled", 1, "m", "doubled", "", ("rate",), (Column("double_rate", "number"),))
FEATURES = tuple(Column(name, "number") for name in ("rate", "size", "double_rate"))
VIEW = ViewRecord(
    "view",
    1,
    "visits",
    1,
    ("id",),
    "t",
    (Column("id", "text"), Column("shop", "text")),
    (JOIN, LOOKUPS),
    (CALL,),
    FEATURES,
)
MANIFEST = ModelManifest.__new__(ModelManifest)  # only these are looked at
object.__setattr__(MANIFEST, "view", VIEW)
object.__setattr__(MANIFEST, "classes", ())


@dataclass(frozen=True)
class Row:
    """A row of the group: hours of its event time, its available-at and its commit, and its value."""

    event: int
    available: int
    committed: int
    rate: float


rows = st.builds(Row, st.integers(0, 12), st.integers(0, 12), st.integers(0, 24), st.sampled_from([0.0, 1.0, 2.0]))


def winner(history: list[Row], committed_by: int) -> Row | None:
    """The row that wins at noon among those that were committed by an hour."""
    visible = [one for one in history if one.committed <= committed_by and max(one.event, one.available) <= NOON]
    return max(visible, key=lambda one: (one.event, one.available), default=None)


def moment(hours: int) -> datetime:
    return START + timedelta(hours=hours)


def recomputed(row: Row | None, *, size: float = 3.0) -> Recomputation:
    rate = None if row is None else row.rate
    times = RowTimes(None, None) if row is None else RowTimes(moment(row.event), moment(row.available))
    return Recomputation(features(rate, size), 0.5, {"rates_v1": times})


def features(rate: float | None, size: float = 3.0) -> dict[str, Any]:
    return {"rate": rate, "size": size, "double_rate": None if rate is None else 2 * rate}


def past(**options: Any) -> PastRequest:
    return PastRequest("r", 0, moment(NOON), moment(NOON), "v1/b", {"id": "1", "shop": "a"}, 0.5, **options)


def unique(history: list[Row]) -> list[Row]:
    """One row an instant, as stored rows are."""
    return list({(one.event, one.available): one for one in history}.values())


@given(history=st.lists(rows, max_size=8), tampered=st.sampled_from([None, 7.0]))
def test_a_late_row_is_told_from_other_values(history: list[Row], tampered: float | None) -> None:
    history = unique(history)
    then, now = winner(history, NOON), winner(history, 24)
    online_rate = tampered if tampered is not None else (None if now is None else now.rate)
    age = None if now is None else (NOON - now.event) * 3600.0
    online = OnlineAnswer(features(online_rate), 0.5, {"rates_v1": age})
    findings = replay_findings(MANIFEST, past(), recomputed(then), online, recomputed(now), is_behind={})
    if (None if then is None else then.rate) == online_rate:
        assert not findings
        return
    [one] = findings
    assert (one.feature, one.online, one.offline) == ("rate", online_rate, None if then is None else then.rate)
    assert one.key == {"shop": "a"}
    assert one.online_time == (None if now is None else moment(now.event))
    assert one.offline_time == (None if then is None else moment(then.event))
    # Of rows that only ever come, what differs without a tampered store has come after the answer.
    assert (one.kind, one.reason) == (("break", STORE) if tampered is not None else ("delay_breach", LATE))


def test_a_store_that_was_not_loaded_is_behind() -> None:
    then, now = Row(11, 11, 0, 2.0), Row(10, 10, 0, 1.0)
    online = OnlineAnswer(features(1.0), 0.5, {"rates_v1": 7200.0})
    [one] = replay_findings(MANIFEST, past(), recomputed(then), online, recomputed(now), is_behind={"rates_v1": True})
    assert (one.kind, one.reason) == ("break", BEHIND)


def test_a_lookup_that_changed_is_a_delay_breach() -> None:
    row = Row(11, 11, 0, 2.0)
    online = OnlineAnswer(features(2.0, size=4.0), 0.5, {"rates_v1": 3600.0})
    [one] = replay_findings(MANIFEST, past(), recomputed(row), online, recomputed(row, size=4.0), is_behind={})
    assert (one.kind, one.feature, one.reason, one.online_time) == ("delay_breach", "size", LOOKUP, None)


def test_an_on_demand_feature_is_named_only_if_its_inputs_are_the_same() -> None:
    row = Row(11, 11, 0, 2.0)
    same = OnlineAnswer({**features(2.0), "double_rate": 5.0}, 0.5, {})
    other = OnlineAnswer(features(1.0), 0.5, {})
    for online, expected in ((same, ("double_rate", COMPUTED)), (other, ("rate", STORE))):
        [one] = replay_findings(MANIFEST, past(), recomputed(row), online, recomputed(row), is_behind={})
        assert (one.feature, one.reason) == expected


def test_an_answer_that_differs_on_the_same_features_is_named() -> None:
    row = Row(11, 11, 0, 2.0)
    online = OnlineAnswer(features(2.0), 0.75, {})
    [one] = replay_findings(MANIFEST, past(), recomputed(row), online, None, is_behind={})
    assert (one.feature, one.online, one.offline, one.reason) == ("value", 0.75, 0.5, GRAPH)


@given(seen=st.sampled_from([None, 1.0, 2.0]), redacted=st.booleans())
def test_what_the_model_saw_is_compared_unless_redacted(seen: float | None, redacted: bool) -> None:
    then = recomputed(Row(11, 11, 0, 2.0))
    one = past(features=features(seen), ages={"rates_v1": 3600.0})
    redactions = frozenset(["rate", "double_rate"]) if redacted else frozenset()
    findings = logged_findings(MANIFEST, one, then, redactions)
    assert [(result.feature, result.reason, result.path) for result in findings] == (
        [] if redacted or seen == 2.0 else [("rate", SERVED, "logged")]
    )


@pytest.mark.parametrize(
    ("kind", "online", "offline"),
    [
        ("number", 0.1, Decimal("0.10")),
        ("timestamp", "2025-01-01T11:00:00", START + timedelta(hours=11)),
        ("number", None, float("inf")),
        ("number", None, float("nan")),
        ("vector", [None, 1.0, None], [float("inf"), 1.0, float("nan")]),
        ("vector", [None, 0.5], [1e300, 0.5]),
        ("text", "", None),
    ],
)
def test_a_value_that_a_log_writes_otherwise_is_the_same(kind: Any, online: Any, offline: Any) -> None:
    view = replace(VIEW, features=(Column("rate", kind),), on_demand=())
    manifest = ModelManifest.__new__(ModelManifest)
    object.__setattr__(manifest, "view", view)
    object.__setattr__(manifest, "classes", ())
    then = Recomputation({"rate": offline}, 0.5, {})
    assert not logged_findings(manifest, past(features={"rate": online}), then, frozenset())
    other = (
        [3.0, *online[1:]]
        if isinstance(online, list)
        else {"text": "a", "timestamp": "2025-01-02T00:00:00"}.get(kind, 3.0)
    )
    assert [one.reason for one in logged_findings(manifest, past(features={"rate": other}), then, frozenset())] == [
        SERVED
    ]
