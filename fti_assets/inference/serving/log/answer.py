"""An answer as a prediction log has it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class LoggedAnswer:
    """An answer as the log has it; what was redacted is None or a hash in ``request`` and ``features``."""

    request_id: str
    row: int
    at: datetime
    answered_at: datetime
    build: str
    arm: str
    value: Any
    request: Mapping[str, Any]
    features: Mapping[str, Any]
