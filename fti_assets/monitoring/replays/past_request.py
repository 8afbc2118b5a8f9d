"""A request that was answered once, and what was not compared of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

Path = Literal["logged", "replayed"]
"""Where an online value is from: what a log says that the model saw, or what the online path gives now as of then."""

REASONS = {
    "before_answers_from": "the online store no longer answers for their time",
    "no_online_values": "a namespace that they need is not in the online store",
    "build_is_gone": "the build that answered cannot be loaded",
    "snapshot_is_expired": "the lake's snapshot of then cannot be read",
    "redacted": "what they brought was redacted when it was logged",
    "spine_row_is_gone": "the spine had no such row at the snapshot of then",
    "refused": "the request is refused now",
}
"""Why requests were not compared, in words."""


@dataclass(frozen=True, eq=False)
class PastRequest:
    """A request that was answered once.

    Args:
        request_id: names it; with ``row`` among those that came together.
        row: its place in its request, from 0.
        at: the prediction time, naive UTC.
        answered_at: when it was answered, naive UTC: the snapshot of then is the newest one at that instant.
        build: what answered.
        request: its fields.
        value: the answer, in the form of ``Prediction.value``.
        features: what the model saw, None where nobody wrote it down.
        ages: how many seconds old each group's row was, by label.
    """

    request_id: str
    row: int
    at: datetime
    answered_at: datetime
    build: str
    request: Mapping[str, Any]
    value: Any
    features: Mapping[str, Any] | None = None
    ages: Mapping[str, float | None] = field(default_factory=dict)


@dataclass(frozen=True)
class Uncompared:
    """Why a request was not compared on a path: one of ``REASONS``, and a sentence."""

    path: Path
    reason: str
    detail: str = ""
