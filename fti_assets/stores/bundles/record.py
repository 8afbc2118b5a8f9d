"""What a bundle says of itself: ``bundle.json``, its first member."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fti_assets.core.times import instant
from fti_assets.stores.online.about import About


@dataclass(frozen=True)
class BundleRecord:
    """Which build lies in a bundle, what of the online store, and until when it answers.

    Attributes:
        model: its name.
        build: the build, such as ``v1/20130501T000000Z-1f9ac3d2``.
        as_of: when the online store was read, naive UTC in ISO text.
        answers_for_us: how long after ``as_of`` it answers, in microseconds.
        namespaces: of the online store, what each says of itself.
        members: the sha256 of every other member, by its name.
        key_columns: the fields of a request by which keys were chosen, none if all keys are there.
    """

    model: str
    build: str
    as_of: str
    answers_for_us: int
    namespaces: dict[str, About]
    members: dict[str, str]
    key_columns: tuple[str, ...] = ()
    format: int = 1

    @property
    def answers_until(self) -> datetime:
        """The last instant (naive UTC) that it answers."""
        return instant(self.as_of) + timedelta(microseconds=self.answers_for_us)
