"""Axes, and the frame of a picture."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from fti_assets.core.addresses import scrub
from fti_assets.training.judging.pictures.curves import xml_text


@dataclass(frozen=True)
class Axis:
    """Values from ``low`` to ``high`` lie between two places of a picture.

    >>> Axis(0.0, 10.0, 100.0, 0.0).place(2.5)
    75.0
    """

    low: float
    high: float
    start: float
    end: float

    def place(self, value: float) -> float:
        """Where a value lies; in the middle of an axis of no length."""
        if self.high == self.low:
            return (self.start + self.end) / 2
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def svg(shapes: str, width: int, height: int, words: str) -> str:
    """A picture as part of a page, with what it shows in words."""
    label = escape(xml_text_of(words), quote=True)
    return f"<svg role='img' aria-label='{label}' viewBox='0 0 {width} {height}'>{shapes}</svg>"


def printable(text: str) -> str:
    """Text in one line without control characters."""
    return "".join(character if character.isprintable() else " " for character in text)


def xml_text_of(text: str, most: int = 600) -> str:
    """Text that may stand in a picture's label: without secrets and control characters, not escaped yet."""
    label = printable(scrub(text))
    return label if len(label) <= most else f"{label[: most - 1]}…"


def mark(text: str, most: int) -> str:
    """Text within a picture, escaped and cut to so many characters."""
    return xml_text(scrub(text), most)
