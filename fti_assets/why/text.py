"""Why a request was answered as it was, in plain words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

from fti_assets.core.names import WHOLE
from fti_assets.why.why import Replay, Why


def as_text(answers: Sequence[Why]) -> str:
    """Write a report for people."""
    return "\n\n".join("\n".join(_lines(one)) for one in answers)


def _lines(one: Why) -> Iterator[str]:
    answer = one.logged
    arm = "" if answer.arm == "champion" else f", arm {answer.arm}"
    yield (
        f"request {answer.request_id}, row {answer.row}: {one.model} answered {_text(answer.value)} as of {answer.at}{arm} "
        f"(answered at {answer.answered_at})"
    )
    yield f"  request: {_pairs(answer.request)}"
    yield f"  build {answer.build}{_about(one)}"
    replay = one.replay
    if replay.problem:
        yield f"  it cannot be recomputed: {replay.problem}"
    else:
        yield f"  rows, {_snapshot(replay)}:"
        yield from _rows(replay)
        yield from _result(replay, "recomputed")
    for other in one.others:
        if other.at != answer.at:
            yield f"  at {other.at}, {_snapshot(other)}:"
        else:
            yield f"  under build {other.build}, {_snapshot(other)}:"
        if other.problem:
            yield f"    it cannot be asked: {other.problem}"
        else:
            yield from (f"  {line}" for line in _result(other, "the answer would be"))


def _about(one: Why) -> str:
    if one.manifest is None:
        return ", which is not in the model store any more"
    graph = one.manifest.files.get("model.onnx", "")
    cutoff = f", cutoff {one.manifest.cutoff}" if one.manifest.cutoff else ""
    sha = f", graph sha256 {graph[:12]}" if graph else ""
    return f": {one.manifest.status}{cutoff}, learned from snapshot {one.manifest.snapshot}{sha}"


def _snapshot(replay: Replay) -> str:
    if replay.was_newest:
        return f"as of snapshot {replay.snapshot}"
    return f"as of snapshot {replay.snapshot}, the newest, since the one of that instant cannot be read any more"


def _rows(replay: Replay) -> Iterator[str]:
    for row in replay.rows:
        keys = _pairs(row.keys)
        if row.row is None:
            yield f"    {row.table} ({keys}): no row"
            continue
        age = "" if row.age is None else f", {_age(row.age)} old{', which is stale' if row.stale else ''}"
        part = "" if row.partition in (None, WHOLE) else f", partition {row.partition}"
        values = {name: value for name, value in row.row.items() if name not in row.keys}
        yield f"    {row.table} ({keys}{part}{age}): {_pairs(values)}"


def _result(replay: Replay, what: str) -> Iterator[str]:
    assert replay.again is not None
    differing = {str(one["feature"]): one for one in replay.differences}
    answer = (
        "the same" if "value" not in differing else f"not the {_text(differing.pop('value')['online'])} that was logged"
    )
    same = len(replay.again.features) - len(differing)
    yield f"  {what}: {_text(replay.again.value)}, {answer}; {same} of {len(replay.again.features)} features are the same"
    for name, one in differing.items():
        yield f"    {name}: {_text(one['online'])} was seen, {_text(one['offline'])} is in the lake"


def _pairs(values: Any) -> str:
    return ", ".join(f"{name}={_text(value)}" for name, value in values.items())


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_text(one)}" for name, one in value.items()) + "}"
    return str(value) if isinstance(value, datetime) or value is None else repr(value)


def _age(age: timedelta) -> str:
    return str(timedelta(seconds=round(age.total_seconds())))
