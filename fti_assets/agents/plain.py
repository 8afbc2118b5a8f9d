"""Answers as JSON has them, of bounded size and without secrets."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import asdict, is_dataclass
from datetime import date, datetime, timedelta
from typing import Any

from fti_assets.core.addresses import scrub

LONGEST_TEXT = 2_000
MOST_ITEMS = 200
_DEEPEST = 12


def plain(value: Any, deep: int = 0) -> Any:
    """A value as JSON has it: long texts and lists are cut, which is said at their end, and passwords of addresses are left out.

    >>> plain({"at": datetime(2025, 1, 1), "share": float("nan"), "from": "redis://ann:pw@host/0"})
    {'at': '2025-01-01T00:00:00', 'share': None, 'from': 'redis://ann:***@host/0'}
    >>> plain(range(300))[-1]
    '100 more'
    """
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes | bytearray | memoryview):
        return f"{len(value):,} bytes"
    if deep >= _DEEPEST:
        return "..."
    if is_dataclass(value) and not isinstance(value, type):
        value = asdict(value)
    if isinstance(value, Mapping):
        pairs = list(value.items())
        result = {_text(str(name)): plain(one, deep + 1) for name, one in pairs[:MOST_ITEMS]}
        return result | ({"...": f"{len(pairs) - MOST_ITEMS} more"} if len(pairs) > MOST_ITEMS else {})
    if isinstance(value, Sequence | Set) and not isinstance(value, str):
        items = list(value)
        result_list = [plain(one, deep + 1) for one in items[:MOST_ITEMS]]
        return result_list + ([f"{len(items) - MOST_ITEMS} more"] if len(items) > MOST_ITEMS else [])
    return _text(str(value))


def _text(text: str) -> str:
    safe_text = scrub(text[: 2 * LONGEST_TEXT])
    return safe_text if len(safe_text) <= LONGEST_TEXT else f"{safe_text[: LONGEST_TEXT - 3]}..."
