from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fti_assets.errors import DeclarationError
from fti_assets.training.datasets.splits.hash_split import GroupSplit, HashSplit, RandomSplit
from fti_assets.training.datasets.splits.split import SPLITS, TimeSplit

CUTOFF = datetime(2013, 7, 1)
DAYS = st.integers(1, 60).map(lambda days: timedelta(days=days))


@given(DAYS, DAYS, st.integers(0, 100).map(lambda hours: timedelta(hours=hours)))
def test_parts_are_as_long_as_declared_with_maturity_between_them(validation, test, maturity):
    parts = TimeSplit(validation=validation, test=test).boundaries(CUTOFF, maturity)
    assert tuple(parts) == SPLITS
    assert parts["test"][1] == CUTOFF - maturity
    assert parts["test"][1] - parts["test"][0] == test
    assert parts["test"][0] - parts["validation"][1] == maturity
    assert parts["validation"][1] - parts["validation"][0] == validation
    assert parts["validation"][0] - parts["train"][1] == maturity
    assert parts["train"][0] is None


def test_durations_may_be_text():
    assert TimeSplit(validation="14d", test="30d").boundaries(CUTOFF, timedelta(hours=36)) == {
        "train": (None, datetime(2013, 5, 13, 12)),
        "validation": (datetime(2013, 5, 15), datetime(2013, 5, 29)),
        "test": (datetime(2013, 5, 30, 12), datetime(2013, 6, 29, 12)),
    }


def test_an_aware_cutoff_is_taken_in_utc():
    split = TimeSplit(validation="1d", test="1d")
    aware = datetime(2013, 7, 1, tzinfo=UTC)
    assert split.boundaries(aware, timedelta(0)) == split.boundaries(CUTOFF, timedelta(0))


def test_a_window_bounds_train():
    parts = TimeSplit(validation="1d", test="1d").boundaries(CUTOFF, timedelta(0), window=timedelta(days=10))
    assert parts["train"] == (datetime(2013, 6, 21), datetime(2013, 6, 29))


def test_a_window_without_room_for_train_is_refused():
    with pytest.raises(DeclarationError, match="holds no train rows"):
        TimeSplit(validation="1d", test="1d").boundaries(CUTOFF, timedelta(0), window=timedelta(days=2))


class Times(list[datetime]):
    """Prediction times of mature rows with a label."""

    def start_of_newest(self, share: float, before: datetime | None) -> datetime | None:
        ordered = sorted(time for time in self if before is None or time < before)[::-1]
        count = max(1, int(share * len(self)))
        return ordered[count - 1] if len(ordered) >= count else min(self, default=None)


def parts_of(times, split, maturity):
    parts = split.boundaries(CUTOFF, maturity, rows=Times(times))
    return {part: [t for t in times if (not start or t >= start) and t < end] for part, (start, end) in parts.items()}


@given(
    st.lists(st.integers(1, 900).map(lambda hours: CUTOFF - timedelta(days=30, hours=hours)), min_size=1, max_size=40),
    st.sampled_from([0.1, 0.2, 0.5]),
    st.integers(0, 48).map(lambda hours: timedelta(hours=hours)),
)
def test_shares_are_of_the_rows_that_there_are(times, share, maturity):
    parts = parts_of(times, TimeSplit(validation=0.3, test=share), maturity)
    wanted = max(1, int(share * len(times)))
    assert len(parts["test"]) >= wanted
    assert len([time for time in times if time > min(parts["test"])]) < wanted, "no longer than needed"
    for earlier, later in (("train", "validation"), ("validation", "test")):
        assert all(old + maturity < new or old < new - maturity for old in parts[earlier] for new in parts[later])


def test_a_share_and_a_length_go_together():
    times = [CUTOFF - timedelta(days=day) for day in range(40, 60)]
    parts = TimeSplit(validation="3d", test=0.5).boundaries(CUTOFF, timedelta(0), rows=Times(times))
    assert parts["test"] == (CUTOFF - timedelta(days=49), CUTOFF)
    assert parts["validation"] == (CUTOFF - timedelta(days=52), CUTOFF - timedelta(days=49))


@pytest.mark.parametrize("shares", [{"test": 0.0}, {"test": 1.0}, {"validation": 0.5, "test": 0.5}, {"test": -0.1}])
def test_shares_that_leave_nothing_to_train_on_are_refused(shares):
    with pytest.raises(DeclarationError, match="test"):
        TimeSplit(**shares)


@pytest.mark.parametrize("length", ["0d", "soon", timedelta(days=-1), 5])
@pytest.mark.parametrize("part", ["validation", "test"])
def test_a_length_that_is_none_is_refused(part, length):
    with pytest.raises(DeclarationError, match=part):
        TimeSplit(**{"validation": "1d", "test": "1d", part: length})


@pytest.mark.parametrize(
    "shares",
    [{"validation": -0.1}, {"test": 0.0}, {"validation": 0.5, "test": 0.5}, {"test": float("nan")}, {"seed": -1}],
)
def test_shares_that_cannot_be_are_refused(shares):
    for split, more in ((RandomSplit, {}), (HashSplit, {}), (GroupSplit, {"by": "shop"})):
        with pytest.raises(DeclarationError, match=split.__name__):
            split(**shares, **more)


def test_columns_named_twice_are_refused():
    with pytest.raises(DeclarationError, match=r"HashSplit\(keys=\) names 'a' more than once"):
        HashSplit(keys=["a", "a"])
    with pytest.raises(DeclarationError, match=r"GroupSplit\(by=\) names 'a' more than once"):
        GroupSplit(by=["b", "a", "a"])
