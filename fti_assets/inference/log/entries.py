"""Lines of a prediction log as they are taken in: answers without what should be redacted, counts of dropped ones, and usage."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from fti_assets.inference.serving.log.lines import HASH_PREFIX, encode_line
from fti_assets.inference.serving.log.service import Usage


def _is_instant(value: Any) -> bool:
    try:
        return datetime.fromisoformat(value).tzinfo is None
    except (TypeError, ValueError):
        return False


def _is_latency(value: Any) -> bool:
    return value is None or (type(value) in (int, float) and 0 <= value < math.inf)


_ANSWER: Mapping[str, Callable[[Any], bool]] = {
    "at": _is_instant,
    "answered_at": _is_instant,
    "request_id": lambda value: isinstance(value, str),
    "row": lambda value: type(value) is int and 0 <= value < 2**63,
    "build": lambda value: isinstance(value, str),
    "arm": lambda value: isinstance(value, str),
    "value": lambda value: value is None or type(value) in (int, float, dict),
    "request": lambda value: isinstance(value, dict),
    "features": lambda value: isinstance(value, dict),
    "ages": lambda value: isinstance(value, dict),
    "missing": lambda value: isinstance(value, list),
    "unknown": lambda value: isinstance(value, list),
    "out_of_schema": lambda value: isinstance(value, list),
}
_LATENCY = "latency"
"""What lines of an earlier release do not say."""
_DROPS: Mapping[str, Callable[[Any], bool]] = {
    "at": _is_instant,
    "dropped": lambda value: type(value) is int and value >= 0,
    "reason": lambda value: isinstance(value, str),
}


def _is_amount(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value < math.inf


def _is_usage(value: Any) -> bool:
    if not isinstance(value, dict) or not _has(value, dict.fromkeys(_USAGE, _is_amount)):
        return False
    requests = value.get("requests")
    return isinstance(requests, dict) and all(
        len(status) == 3 and status.isdigit() and type(number) is int and number >= 0
        for status, number in requests.items()
    )


_USAGE = ("seconds", "cpu_seconds", "peak_memory_bytes")
_SERVICE: Mapping[str, Callable[[Any], bool]] = {"at": _is_instant, "service": _is_usage}


@dataclass(slots=True)
class Entry:
    """A line that was understood.

    Args:
        content: what it says; what is redacted is taken out.
        in_clear: the names that should have been redacted by its writer and were not.
    """

    content: dict[str, Any]
    in_clear: tuple[str, ...] = ()

    @property
    def is_answer(self) -> bool:
        """Whether it is an answer; else it counts answers that were dropped, or says what a process used."""
        return "request_id" in self.content

    @property
    def usage(self) -> Usage | None:
        """What a process used, if that is what it says."""
        service = self.content.get("service")
        if self.is_answer or service is None:
            return None
        amounts = (service["seconds"], service["cpu_seconds"], int(service["peak_memory_bytes"]))
        return Usage(*amounts, service["requests"])


def is_frame(line: bytes) -> bool:
    """Whether it is the first or the last line of a file."""
    return line.startswith((b'{"log":', b'{"end":'))


def entry_of(line: bytes, redact: frozenset[str]) -> Entry | None:
    """A line as it is taken in; None if it cannot be understood."""
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):  # a damaged disk, or somebody else's file
        return None
    if not isinstance(content, dict):
        return None
    if _has(content, _DROPS):
        return Entry({name: content[name] for name in _DROPS})
    if _has(content, _SERVICE):
        return Entry({name: content[name] for name in _SERVICE})
    if not _has(content, _ANSWER) or not _is_latency(content.setdefault(_LATENCY, None)):
        return None
    in_clear = {
        name
        for values in (content["request"], content["features"])
        for name in redact.intersection(values)
        if not _is_hidden(values[name])
    }
    for values in (content["request"], content["features"]):
        values.update(dict.fromkeys(in_clear.intersection(values)))
    return Entry(content, tuple(sorted(in_clear)))


def outside_line(line: bytes, redact: frozenset[str], redactions: frozenset[str]) -> bytes:
    """A line that is kept outside the table, without what should be redacted.

    Args:
        line: the line.
        redact: what must not be there in clear.
        redactions: what its writer says that it redacted.
    """
    entry = entry_of(line, redact)
    if entry is not None:
        return encode_line(entry.content) if entry.in_clear else line
    if redact <= redactions:
        return line
    # Nobody can say which of its bytes should not be there.
    return encode_line({"unreadable_bytes": len(line)})


def _has(content: Mapping[str, Any], fields: Mapping[str, Callable[[Any], bool]]) -> bool:
    return all(name in content and fits(content[name]) for name, fits in fields.items())


def _is_hidden(value: Any) -> bool:
    return value is None or (isinstance(value, str) and value.startswith(HASH_PREFIX))
