"""Logged answers without what is redacted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fti_assets.agents.redaction import MASK, Redaction
from fti_assets.why.why import Replay, Why


def without_redacted(answer: Why, redaction: Redaction) -> Why:
    """What an answer rests on, without redacted fields, features, columns and keys.

    The log itself does not have them, but the groups do, of whose rows the answer is computed again.
    """
    if not redaction.names:
        return answer
    logged = replace(
        answer.logged,
        request=_values(answer.logged.request, redaction),
        features=_values(answer.logged.features, redaction),
    )
    replays = [_replay(one, redaction) for one in answer.others]
    return replace(answer, logged=logged, replay=_replay(answer.replay, redaction), others=replays)


def _values(values: Mapping[str, Any], redaction: Redaction) -> dict[str, Any]:
    return {name: MASK if name in redaction.names and value is not None else value for name, value in values.items()}


def _replay(replay: Replay, redaction: Redaction) -> Replay:
    rows = [
        replace(
            one,
            keys=redaction.masked(one.table, one.keys),
            row=None if one.row is None else redaction.masked(one.table, one.row),
        )
        for one in replay.rows
    ]
    differing = [
        {**one, "online": MASK, "offline": MASK} if one["feature"] in redaction.names else one
        for one in replay.differences
    ]
    return replace(replay, rows=rows, differences=differing)
