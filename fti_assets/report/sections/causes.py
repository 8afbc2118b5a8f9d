"""What is wrong now, and who is told."""

from __future__ import annotations

from datetime import datetime

from fti_assets.alerts.causes import Cause, age_text
from fti_assets.report.reading.causes import OpenCauses
from fti_assets.report.sections.elements import Html, badge, cleaned, nothing, part, text


def causes_part(causes: OpenCauses, now: datetime) -> Html:
    """Each cause with what a person needs to begin with, and for how long it is there, if that is known."""
    contents: list[Html] = []
    if causes.causes:
        items = "".join(
            f"<li><strong>{text(one.title)}</strong><div class='lines'>{text_lines(_with_age(one, now))}</div></li>"
            for one in causes.causes
        )
        contents.append(Html(f"<ul class='causes'>{items}</ul>"))
    else:
        contents.append(Html(f"<p>{badge('nothing is known to be wrong', 'good')}</p>"))
    if causes.unseen:
        contents.append(nothing(causes.unseen))
    if causes.targets:
        contents.append(Html(f"<p>Told: {cleaned(', '.join(causes.targets))}</p>"))
    else:
        contents.append(
            nothing(
                'Nobody is notified. fti.build_definitions(..., resources={"alerts": fti.Alerts(to=["log"])}) sends what is wrong.'
            )
        )
    return part("causes", "Open causes", *contents)


def _with_age(cause: Cause, now: datetime) -> str:
    return cause.text if cause.since is None else f"{cause.text}\n{age_text(min(cause.since, now), now)}"


def text_lines(value: str) -> Html:
    """Text of several lines."""
    return Html("<br>".join(text(line) for line in value.splitlines()[:12]))
