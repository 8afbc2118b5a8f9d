"""Which arm a key gets: fixed for all time, in proportion, and steady while a share grows."""

from collections import Counter
from datetime import datetime

import pytest

from fti_assets.core.rollout import Arm, Rollout
from fti_assets.errors import StoreError


def rollout(*shares: float, kind: str = "ab", salt: str = "s") -> Rollout:
    arms = tuple(
        Arm(f"arm_{place}", f"v1/20130101T000000Z-0000000{place}", share) for place, share in enumerate(shares)
    )
    return Rollout(kind, arms, ("user",), salt, "2026-01-01T00:00:00", "a test")  # type: ignore[arg-type]


def name(of: Rollout, *values: object) -> str:
    arm = of.arm_of(values)
    return arm.name if arm else "champion"


KEYS = [(7,), ("JFK",), ("é\ud800",), (None,), (True,), (1.5,), (datetime(2026, 1, 1, 12),), (7, "JFK"), (-1,), ("",)]
ARMS = ["champion", "arm_0", "champion", "arm_0", "arm_1", "champion", "champion", "arm_0", "arm_1", "arm_1"]


def test_a_key_has_the_arm_that_it_always_had():
    """These are fixed values: a change of any of them moves people between the arms of experiments that go on."""
    assert [name(rollout(0.25, 0.25, salt="2026-spring"), *key) for key in KEYS] == ARMS


def test_arms_get_their_shares_of_keys():
    counts = Counter(name(rollout(0.1, 0.3), key) for key in range(100_000))
    assert abs(counts["arm_0"] - 10_000) < 400
    assert abs(counts["arm_1"] - 30_000) < 600


def test_keys_stay_in_an_arm_whose_share_grows():
    small, large = rollout(0.05, kind="canary"), rollout(0.5, kind="canary")
    assert all(name(large, key) == "arm_0" for key in range(10_000) if name(small, key) == "arm_0")


def test_another_salt_mixes_the_keys_in_another_way():
    one, other = rollout(0.5), rollout(0.5, salt="t")
    same = sum(name(one, key) == name(other, key) for key in range(10_000))
    assert 4_700 < same < 5_300


def test_all_and_none_are_shares():
    assert {name(rollout(1.0), key) for key in range(1000)} == {"arm_0"}
    assert {name(rollout(0.0), key) for key in range(1000)} == {"champion"}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (rollout(), "needs an arm"),
        (rollout(0.1, kind="a"), "cannot be 'a'"),
        (rollout(0.1, 0.1, kind="canary"), "a canary has one arm"),
        (rollout(1.1), "between 0 and 1"),
        (rollout(float("nan")), "between 0 and 1"),
        (rollout(0.6, 0.6), "their sum is above 1"),
        (Rollout("ab", (Arm("champion", "b", 0.1),), ("user",), "s", "", ""), "cannot name an arm"),
        (Rollout("ab", (Arm("a", "b", 0.1), Arm("a", "c", 0.1)), ("user",), "s", "", ""), "cannot name an arm"),
        (Rollout("ab", (Arm("a", "b", 0.1),), (), "s", "", ""), "the fields of a request"),
    ],
)
def test_what_is_no_rollout_is_refused(wrong, message):
    with pytest.raises(StoreError, match=message):
        wrong.check()


def test_shares_change_for_arms_that_there_are():
    changed = rollout(0.1, 0.1).with_shares({"arm_1": 0.4})
    assert [arm.share for arm in changed.arms] == [0.1, 0.4]
    with pytest.raises(StoreError, match="no arm 'arm_9': there are 'arm_0' or 'arm_1'"):
        rollout(0.1, 0.1).with_shares({"arm_9": 0.1})
    with pytest.raises(StoreError, match="above 1"):
        rollout(0.1, 0.1).with_shares({"arm_1": 0.95})
