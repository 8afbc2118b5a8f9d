"""How long a window is, and how long before an instant it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.times import LIFETIME, LIFETIME_LENGTH, duration, microseconds
from fti_assets.errors import DeclarationError

_UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "min": timedelta(minutes=1), "s": timedelta(seconds=1)}


@checked_arguments()
@dataclass(frozen=True)
class Window:
    """A window that ends some time before its instant.

    At ``h`` it holds the rows that became visible in ``(h - delay - length, h - delay]``; with ``rows_by="event_time"`` those
    whose event time is in it and that were visible at ``h``.

    Args:
        length: how long it is, or ``"lifetime"``.
        delay: how long before the instant it ends.

    Raises:
        DeclarationError: one of them is not a duration.

    >>> Window("7d", delay="1d").text
    '7d_delay_1d'
    """

    length: str | timedelta
    delay: str | timedelta = timedelta(0)

    def __post_init__(self) -> None:
        duration(self.delay, what="delay")
        if self.length != LIFETIME and not duration(self.length, what="window"):
            raise DeclarationError(
                f"window {self.length!r} has no length: write how far it goes back, such as '7d', or {LIFETIME!r}"
            )

    @property
    def text(self) -> str:
        """The suffix of its columns, after their aggregate: ``7d``, ``7d_delay_1d``, ``lifetime``."""
        delay = f"_delay_{_text(self.delay, what='delay')}" if self.delay_us else ""
        return f"{_text(self.length, what='window')}{delay}"

    @property
    def us(self) -> int:
        """Its length in microseconds."""
        return microseconds(LIFETIME_LENGTH if self.length == LIFETIME else duration(self.length, what="window"))

    @property
    def delay_us(self) -> int:
        """Its delay in microseconds."""
        return microseconds(duration(self.delay, what="delay"))


def refuse_doubled(windows: Sequence[Window], *, what: str) -> None:
    """Raise a DeclarationError if two windows would have the same columns."""
    texts = [window.text for window in windows]
    for text in texts:
        if texts.count(text) > 1:
            raise DeclarationError(f"{what} has the window {text!r} more than once: name each once")


def _text(length: str | timedelta, *, what: str) -> str:
    """A length as written; a timedelta in the largest unit that divides it: ``3h``, ``90min``, ``7d``."""
    if isinstance(length, str):
        return "".join(length.split())
    for unit, size in _UNITS.items():
        if not length % size:
            return f"{length // size}{unit}"
    raise DeclarationError(
        f"{what} {length!r} is not a whole number of seconds: its columns could not be named after it"
    )
