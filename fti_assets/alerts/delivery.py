"""Taking messages to their targets, through Apprise."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable
from typing import Any

from fti_assets.alerts.alerts import LOG, Alerts
from fti_assets.alerts.cursor import AlertsCursor, Kind, Message
from fti_assets.core.addresses import scrub, secrets_of
from fti_assets.core.extras import named_extras

_log = logging.getLogger("fti_assets.alerts")
_REASON = re.compile("(?i)exception|fail|error|refused")
_MOST_AT_ONCE = 10
"""So many messages go to a target one by one; of more, the rest goes together in one."""


def deliver(cursor: AlertsCursor, alerts: Alerts, log: Any) -> list[str]:
    """Take what waits to its targets, in order; what a target does not take goes on waiting.

    Args:
        cursor: what waits; it is changed.
        alerts: the targets.
        log: the tick's log.

    Returns:
        A line about each target that does not take its messages.
    """
    problems = []
    for target, messages in list(cursor.waiting.items()):
        send = _to_log(log) if target == LOG else _to_address(alerts.address(target), alerts.seconds)
        queue = _together(messages, cursor.left_out.get(target, 0))
        number_sent, problem = 0, ""
        for message, count in queue:
            problem = send(message)
            if problem:
                break
            number_sent += count
        unsent = messages[number_sent:]
        if number_sent:
            cursor.left_out.pop(target, None)
        if unsent:
            cursor.waiting[target] = unsent
            problems.append(f"{target} has not taken {len(unsent)} messages, which are tried again: {problem}")
        else:
            del cursor.waiting[target]
    return problems


def _together(messages: list[Message], left_out: int) -> list[tuple[Message, int]]:
    """Messages as they are sent, each with how many of the queue it stands for."""
    queue = [(message, 1) for message in messages[:_MOST_AT_ONCE]]
    waiting = messages[_MOST_AT_ONCE:]
    if waiting:
        lines = "\n".join(f"- {message.title}" for message in waiting)
        kind: Kind = "begun" if any(message.kind == "begun" for message in waiting) else "over"
        queue.append((Message(f"{len(waiting)} more messages", lines, kind), len(waiting)))
    if left_out:
        first, count = queue[0]
        note = f"{left_out} older messages were left out, since nobody took them."
        queue[0] = (Message(first.title, f"{first.text}\n{note}", first.kind), count)
    return queue


def _to_log(log: Any) -> Callable[[Message], str]:
    def send(message: Message) -> str:
        line = f"{message.title}\n{message.text}".strip()
        for one in (log, _log):
            (one.warning if message.kind == "begun" else one.info)(line)
        return ""

    return send


def _to_address(address: str, seconds: float) -> Callable[[Message], str]:
    # A target waits for its answer for a time that is stated in its address, whatever the scheme.
    sign = "&" if "?" in address else "?"
    with named_extras("an alert"), warnings.catch_warnings():
        # Apprise reads all its plugins with the first address, and what some of them import is deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        import apprise

        target = apprise.Apprise()
        is_readable = target.add(f"{address}{sign}cto={seconds}&rto={seconds}")
    if not is_readable:
        return lambda message: "Apprise cannot read this address"
    kinds = {"begun": apprise.NotifyType.WARNING, "over": apprise.NotifyType.SUCCESS}

    def send(message: Message) -> str:
        with apprise.LogCapture(level=logging.DEBUG, fmt="%(message)s") as lines:  # type: ignore[no-untyped-call]
            try:
                # Without the format, a title or a reason with markup in it would be shown as markup.
                done = target.notify(
                    title=message.title,
                    body=message.text or message.title,
                    notify_type=kinds[message.kind],
                    body_format=apprise.NotifyFormat.TEXT,
                )
            except Exception as error:  # a target's own: none may stop the others
                return scrub(f"{type(error).__name__}: {error}", secrets_of(address))
            # The warning says what failed, and a line before it, which Apprise takes for one of debugging, says why.
            reasons = [line for line in lines.getvalue().splitlines() if _REASON.search(line)]
        return "" if done else scrub("; ".join(reasons[-2:]) or "it refused", secrets_of(address))

    return send
