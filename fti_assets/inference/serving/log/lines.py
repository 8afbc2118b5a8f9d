"""Lines of a prediction log: an answer as JSON, without what is redacted."""

import hashlib
import hmac
import json
import math
import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from typing import Any

from fti_assets.core.times import naive_utc
from fti_assets.inference.serving.answers.prediction import Prediction
from fti_assets.inference.serving.log.service import Usage

KEY = "FTI_LOG_KEY"
"""The variable that holds the secret with which redacted values are hashed; without it they are left out."""
HASH_PREFIX = "hmac-sha256:"
"""How a hashed value begins."""
FORMAT = 1
_AT = slice(7, 33)  # a line begins with {"at":" and an instant of 26 characters


@dataclass(frozen=True)
class Redaction:
    """Which request fields and features are never written in clear.

    Args:
        names: theirs; a name means the field of a request and the feature that is called so.
        key: the secret for a keyed hash, by which equal values stay equal; without one, null is written.
    """

    names: frozenset[str] = frozenset()
    key: bytes = field(default=b"", repr=False)

    @classmethod
    def of(cls, names: Collection[str]) -> "Redaction":
        """The redaction of some names, with the key of the environment."""
        return cls(frozenset(names), os.environ.get(KEY, "").encode())

    def redact(self, values: Mapping[str, Any]) -> Mapping[str, Any]:
        """The values, without those that are redacted."""
        if self.names.isdisjoint(values):
            return values
        return {name: self._hide(name, value) if name in self.names else value for name, value in values.items()}

    def _hide(self, name: str, value: Any) -> str | None:
        if value is None or not self.key:
            return None
        text = json.dumps([name, value], default=_plain)
        return HASH_PREFIX + hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()[:32]


def header(model: str, redaction: Redaction) -> bytes:
    """The first line of a file: what it holds, and what was redacted before it was written."""
    head = {"log": FORMAT, "model": model, "redacted": sorted(redaction.names), "hashed": bool(redaction.key)}
    return encode_line(head)


def answer_line(
    prediction: Prediction,
    request: Mapping[str, Any],
    request_id: str,
    row: int,
    now: datetime,
    latency: float | None,
    redaction: Redaction,
) -> bytes:
    """One answer as a line."""
    return encode_line(
        {
            "at": prediction.at.isoformat(timespec="microseconds"),
            "answered_at": now.isoformat(timespec="microseconds"),
            "request_id": request_id,
            "row": row,
            "model": prediction.model,
            "build": prediction.build,
            "arm": prediction.arm,
            "value": prediction.value,
            "request": redaction.redact(request),
            "features": redaction.redact(prediction.features),
            "ages": prediction.ages,
            "missing": prediction.missing,
            "unknown": prediction.unknown,
            "out_of_schema": prediction.out_of_schema,
            "latency": latency,
        }
    )


def drops_line(at: datetime, reason: str, count: int) -> bytes:
    """A line that says how many answers were not logged, the last of them at an instant."""
    return encode_line({"at": at.isoformat(timespec="microseconds"), "dropped": count, "reason": reason})


def usage_line(at: datetime, usage: Usage) -> bytes:
    """A line that says what the process used up to an instant, and how its server answered."""
    return encode_line({"at": at.isoformat(timespec="microseconds"), "service": asdict(usage)})


def footer(rows: int, hours: Collection[str] | None) -> bytes:
    """The last line of a file that was closed: how many answers it has, and in which hours, None for too many to name."""
    return encode_line({"end": {"rows": rows, "hours": None if hours is None else sorted(hours)}})


def instant_of(line: bytes) -> str | None:
    """The prediction time of a line as ISO text, None of a first or last line; the line is not parsed."""
    return line[_AT].decode(errors="replace") if line.startswith(b'{"at":"') else None


def encode_line(value: Any) -> bytes:
    """JSON with a line's end; what is no finite number is null.

    Raises:
        ValueError, TypeError, RecursionError: it cannot be JSON.
    """
    if _fast is not None:
        try:
            return _fast(value) + b"\n"
        except Exception:  # numbers beyond 64 bits and text that is no UTF-8, which the slower way writes
            pass
    try:
        text = json.dumps(value, separators=(",", ":"), allow_nan=False, default=_plain)
    except ValueError:
        text = json.dumps(_finite(value), separators=(",", ":"), allow_nan=False, default=_plain)
    return text.encode() + b"\n"


def _plain(value: Any) -> Any:
    """What JSON has no form for: instants as naive UTC, numbers of numpy as numbers, all else as text."""
    if isinstance(value, datetime):
        return naive_utc(value).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    if hasattr(value, "tolist"):
        return _finite(value.tolist())
    return str(value)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(one) for one in value]
    return value


def _fast_encoder() -> Callable[[Any], bytes] | None:
    try:
        import msgspec  # of the extra `server`: a fifth of the time
    except ImportError:
        return None
    return msgspec.json.Encoder(enc_hook=_plain).encode


_fast = _fast_encoder()
