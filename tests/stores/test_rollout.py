"""Which arm a key gets: fixed for all time, in proportion, and steady while a share grows."""

from collections import Counter
from datetime import datetime
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.core.rollouts.rollout import Arm, Rollout
from fti_assets.core.rollouts.segments import side_by_side
from fti_assets.errors import StoreError
from tests.support.examples import examples


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


@pytest.mark.soak
def test_arms_get_their_shares_of_keys():
    counts = Counter(name(rollout(0.1, 0.3), key) for key in range(20_000))
    assert abs(counts["arm_0"] - 2_000) < 170  # four standard deviations
    assert abs(counts["arm_1"] - 6_000) < 260


def test_keys_stay_in_an_arm_whose_share_grows():
    small, large = rollout(0.05, kind="canary"), rollout(0.5, kind="canary")
    assert all(name(large, key) == "arm_0" for key in range(10_000) if name(small, key) == "arm_0")


def assigned(of: Rollout) -> list[str]:
    return [name(of, key) for key in range(20_000)]


def parts(of: Rollout) -> list[tuple[float, float, str]]:
    """Where each arm's parts of the unit interval begin and end; side by side unless the rollout says otherwise."""
    segments = of.segments or side_by_side({arm.name: arm.share for arm in of.arms}, rest="champion")
    starts = [0.0, *(segment.end for segment in segments)]
    return [(start, segment.end, segment.arm) for start, segment in zip(starts, segments, strict=False)]


def owned(of: Rollout) -> Counter[str]:
    widths: Counter[str] = Counter()
    for start, end, arm in parts(of):
        widths[arm] += end - start
    return widths


def moved_share(one: Rollout, other: Rollout) -> float:
    """The share of the interval that is another arm's."""
    bounds = sorted({0.0, *(end for going in (one, other) for _, end, _ in parts(going))})

    def arm_at(going: Rollout, point: float) -> str:
        return next(arm for start, end, arm in parts(going) if start <= point < end)

    spans = [(start, end) for start, end in pairwise(bounds) if end - start > 1e-11]
    return sum(
        end - start for start, end in spans if arm_at(one, (start + end) / 2) != arm_at(other, (start + end) / 2)
    )


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.lists(st.integers(0, 100), min_size=3, max_size=3), min_size=1, max_size=6))
def test_only_the_share_that_is_lost_changes_its_arm(steps):
    going = rollout(0.2, 0.3, 0.1)
    for step in steps:
        shares = {f"arm_{place}": part / max(100, sum(step)) for place, part in enumerate(step)}
        after = going.with_shares(shares)
        for arm, share in shares.items():
            assert owned(after)[arm] == pytest.approx(share, abs=1e-9)
        lost = sum(max(0.0, owned(going)[arm] - owned(after)[arm]) for arm in owned(going))
        assert moved_share(going, after) == pytest.approx(lost, abs=1e-9)
        going = after


def test_keys_follow_the_shares_that_move():
    going = rollout(0.1, 0.3)
    shifted = going.with_shares({"arm_0": 0.2, "arm_1": 0.2})
    moves = Counter(pair for pair in zip(assigned(going), assigned(shifted), strict=True) if pair[0] != pair[1])
    assert set(moves) == {("arm_1", "arm_0")}
    assert abs(moves["arm_1", "arm_0"] - 2_000) < 150


def test_a_share_that_returns_has_the_keys_that_it_had():
    going = rollout(0.1, 0.3)
    assert going.with_shares({"arm_0": 0.5}).with_shares({"arm_0": 0.1}) == going


def test_an_arm_that_ends_leaves_its_keys_to_the_champion():
    going = rollout(0.2, 0.2, 0.2)
    rest = going.without(going.arms[0].build)
    assert [arm.name for arm in rest.arms] == ["arm_1", "arm_2"]
    moves = {pair for pair in zip(assigned(going), assigned(rest), strict=True) if pair[0] != pair[1]}
    assert moves == {("arm_0", "champion")}


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
