"""A rollout: builds of a model that answer some of its requests beside the champion, and which of them a key gets."""

import json
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import Any, Literal

from fti_assets.core.manifest import Column
from fti_assets.core.records import record
from fti_assets.core.rollouts.segments import Segment, shift_shares, side_by_side
from fti_assets.core.sql import is_name
from fti_assets.errors import StoreError, excerpt, one_of

CHAMPION = "champion"
"""The arm that answers whatever no other arm does."""

MARK = "~"
"""What stands between the id of a request and the arm, in the id under which a shadow's answer is logged."""

RolloutKind = Literal["canary", "ab", "bandit", "shadow"]
KINDS: tuple[RolloutKind, ...] = ("canary", "ab", "bandit", "shadow")

_RANGE = 2**64


@record(frozen=True)
class Arm:
    """A build, and the share of keys that it answers, between 0 and 1."""

    name: str
    build: str
    share: float


@record(frozen=True)
class Rollout:
    """The arms beside the champion, which has the rest.

    A "canary" is one new build whose share is raised in steps; "ab" and "bandit" compare builds, whose shares stay or follow what
    they gain; a "shadow" answers nobody: it predicts a share of the requests after the champion has answered them.

    The arm of a request depends on its ``key`` alone, the request's fields by name, and on the ``salt``: the first eight bytes of the
    MD5 sum of both as JSON, as a fraction, lie in the arm's part of the unit interval. It is the same in each process. When shares
    change, an arm that loses gives up an end of its part, so that only as many keys change their arm as there must.

    ``segments`` are those parts, after shares have changed so that the arms no longer lie side by side in their order.
    """

    kind: RolloutKind
    arms: tuple[Arm, ...]
    key: tuple[str, ...]
    salt: str
    started_at: str
    reason: str
    segments: tuple[Segment, ...] = ()

    def check(self) -> None:
        """Refuse what is no rollout.

        Raises:
            StoreError: there is no arm or key, a name is none or stands twice, or the shares are none.
        """
        if self.kind not in KINDS:
            raise StoreError(f"a rollout cannot be {excerpt(self.kind)}: it is {one_of(KINDS)}")
        if not self.arms or not self.key:
            raise StoreError("a rollout needs an arm beside the champion, and the fields of a request that are its key")
        names = [arm.name for arm in self.arms]
        if unusable := [name for name in names if not is_name(name) or name == CHAMPION or names.count(name) > 1]:
            raise StoreError(
                f"{excerpt(unusable[0])} cannot name an arm: each has another name of [a-z_][a-z0-9_]*, and the rest is {CHAMPION!r}"
            )
        if self.kind in ("canary", "shadow") and len(self.arms) > 1:
            raise StoreError(
                f"a {self.kind} has one arm beside the champion, here are {len(self.arms)}: start it as 'ab'"
            )
        for arm in self.arms:
            if not 0.0 <= arm.share <= 1.0:
                raise StoreError(f"the share of arm {arm.name!r} is {arm.share!r}: between 0 and 1 is expected")
        if sum(arm.share for arm in self.arms) > 1.0 + 1e-9:
            raise StoreError(f"the shares of the arms are {[arm.share for arm in self.arms]}: their sum is above 1")

    def arm_of(self, values: Sequence[Any]) -> Arm | None:
        """The arm of a key, by its values in the order of ``key``: plain Python ones, times as naive UTC; None for the champion."""
        ends, arms = self._parts
        place = bisect_right(ends, _number(self.salt, values))
        return arms[place] if place < len(arms) else None

    def with_shares(self, shares: Mapping[str, float]) -> "Rollout":
        """The rollout with other shares of some of its arms.

        Raises:
            StoreError: there is no such arm, or the shares are none.
        """
        names = [arm.name for arm in self.arms]
        if unknown := [name for name in shares if name not in names]:
            raise StoreError(f"the rollout has no arm {excerpt(unknown[0])}: there are {one_of(names)}")
        arms = tuple(replace(arm, share=shares.get(arm.name, arm.share)) for arm in self.arms)
        replace(self, arms=arms, segments=()).check()
        return self._with_arms(arms)

    def without(self, build: str) -> "Rollout":
        """The rollout without the arm of a build, whose keys the champion gets; those of the other arms stay."""
        zeros = {arm.name: 0.0 for arm in self.arms if arm.build == build}
        arms = tuple(arm for arm in self.arms if arm.build != build)
        return self._with_arms(arms, zeros)

    def _with_arms(self, arms: tuple[Arm, ...], zeros: Mapping[str, float] | None = None) -> "Rollout":
        shares = {arm.name: arm.share for arm in arms}
        segments = shift_shares(self._segments, {**(zeros or {}), **shares}, rest=CHAMPION)
        if segments == side_by_side(shares, rest=CHAMPION):
            segments = ()
        return replace(self, arms=arms, segments=segments)

    @property
    def _segments(self) -> tuple[Segment, ...]:
        return self.segments or side_by_side({arm.name: arm.share for arm in self.arms}, rest=CHAMPION)

    @cached_property
    def _parts(self) -> tuple[list[float], list[Arm | None]]:
        """Where each part ends, as numbers below ``_RANGE``, and whose it is."""
        arms = {arm.name: arm for arm in self.arms}
        return [part.end * _RANGE for part in self._segments], [arms.get(part.arm) for part in self._segments]


def missing_fields(own: Sequence[Column], needs: Sequence[Column]) -> list[str]:
    """The fields that an arm's build takes and the champion's requests do not bring, or bring in another type."""
    types = {column.name: column.type for column in own}
    return [column.name for column in needs if types.get(column.name) != column.type]


def _number(salt: str, values: Sequence[Any]) -> int:
    plain = [value.isoformat(timespec="microseconds") if isinstance(value, datetime) else value for value in values]
    text = json.dumps([salt, *plain], separators=(",", ":"))
    import hashlib  # which loads OpenSSL; most models have no rollout

    return int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest()[:8], "big")
