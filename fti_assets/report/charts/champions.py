"""The builds of a model as dots over time, and below them which build was champion when."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from fti_assets.core.times import instant
from fti_assets.report.charts.axes import Axis, mark, svg
from fti_assets.report.reading.models import ModelHistory

_WIDTH, _HEIGHT = 720, 118
_LEFT, _RIGHT = 84, 710
_BUILDS, _SPANS, _LABELS = 26, 58, 108


def champions_chart(history: ModelHistory, since: datetime | None, now: datetime) -> str:
    """The picture: a full dot is an accepted build, a ring a rejected one; a bar a champion, which ends where the next one begins."""
    changes = history.changes(since)
    instants = [instant(one.created_at) for one in history.builds]
    moments = [*instants, *(instant(one.at) for one in changes)]
    first = since if since is not None else min(moments, default=now)
    last = max([now, *moments]) if moments and now - max(moments) <= (now - first) * 2 else max(moments, default=now)
    last = last if last > first else first + timedelta(days=1)
    across = Axis(first.timestamp(), last.timestamp(), _LEFT, _RIGHT)
    shapes = [
        f"<text x='0' y='{_BUILDS + 4}'>builds</text><text x='0' y='{_SPANS + 17}'>champion</text>",
        f"<path class='axis' d='M{_LEFT} {_BUILDS}H{_RIGHT}'/>",
    ]
    shapes += _bars(history, [(instant(one.at), one.champion) for one in changes], across, first, last)
    for one, moment in zip(history.builds, instants, strict=True):
        if moment < first:
            continue
        kind = "accepted" if one.status == "accepted" else "rejected"
        shapes.append(f"<circle class='{kind}' cx='{across.place(moment.timestamp()):.1f}' cy='{_BUILDS}' r='5'/>")
    shapes.append(f"<text x='{_LEFT}' y='{_LABELS}'>{first:%Y-%m-%d}</text>")
    shapes.append(f"<text x='{_RIGHT}' y='{_LABELS}' text-anchor='end'>{last:%Y-%m-%d}</text>")
    return svg("".join(shapes), _WIDTH, _HEIGHT, _words(history, len(changes)))


def _bars(
    history: ModelHistory, changes: Sequence[tuple[datetime, str]], across: Axis, first: datetime, last: datetime
) -> list[str]:
    shapes = []
    ends = [*(moment for moment, _ in changes[1:]), max([last, *(moment for moment, _ in changes[-1:])])]
    for at, ((moment, champion), end) in enumerate(zip(changes, ends, strict=True)):
        left = across.place(max(moment, first).timestamp())
        width = max(across.place(end.timestamp()) - left, 2.0)
        kind = "span rolled" if champion in history.aliases.rolled_back else f"span {'odd' if at % 2 else 'even'}"
        shapes.append(f"<rect class='{kind}' x='{left:.1f}' y='{_SPANS}' width='{width:.1f}' height='26' rx='3'/>")
        name = champion.partition("/")[0] + " " + champion.partition("/")[2][:8]
        if width > 7 * len(name):
            shapes.append(f"<text class='on-span' x='{left + 6:.1f}' y='{_SPANS + 17}'>{mark(name, 20)}</text>")
    return shapes


def _words(history: ModelHistory, changes: int) -> str:
    accepted = sum(one.status == "accepted" for one in history.builds)
    rejected = len(history.builds) - accepted
    champion = history.aliases.champion or "nobody"
    return (
        f"Builds and champions of {history.model}: {accepted} accepted and {rejected} rejected builds, {changes} changes of the champion, "
        f"who is {champion}. The tables below say the same"
    )
