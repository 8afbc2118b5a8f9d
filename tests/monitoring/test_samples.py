"""What is counted of each arm: keys, not answers, and at instants that depend on who asked alone."""

from datetime import datetime, timedelta
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.monitoring.experiments.samples import Answers
from tests.support.examples import examples

NOON = datetime(2026, 3, 1, 12)
ARMS = ("champion", "challenger")
Row = tuple[str, str, int, float | None]


def answers_of(rows: list[Row], pairs: list[int] | None = None) -> Answers:
    connection = duckdb.connect()
    columns: dict[str, Any] = {
        "unit": pa.array([unit for unit, *_ in rows], pa.string()),
        "arm": pa.array([arm for _, arm, *_ in rows], pa.string()),
        "at": pa.array([NOON + timedelta(hours=hours) for _, _, hours, _ in rows], pa.timestamp("us")),
        "figure": pa.array([figure for *_, figure in rows], pa.float64()),
        "pair": pa.array(pairs or range(len(rows)), pa.int64()),
    }
    connection.register("rows", pa.table(columns))
    return Answers(connection, "rows", ARMS, is_paired=pairs is not None)


rows_of_few_keys = st.lists(
    st.tuples(
        st.sampled_from("abcdefgh"),
        st.sampled_from([*ARMS, "other"]),
        st.integers(0, 5),
        st.none() | st.sampled_from([0.0, 1.0, 4.0]),
    ),
    max_size=40,
)


@settings(max_examples=examples(100), deadline=None)
@given(rows_of_few_keys, st.integers(1, 3), st.none() | st.integers(0, 5))
def test_keys_are_counted_as_a_loop_counts_them(rows, least, hours):
    answers = answers_of(rows)
    within = [row for row in rows if row[1] in ARMS]
    arms_of = {unit: {arm for other, arm, *_ in within if other == unit} for unit, *_ in within}
    alone = [row for row in within if len(arms_of[row[0]]) == 1]
    assert answers.keys_of_several_arms == sum(len(arms) > 1 for arms in arms_of.values())
    firsts = []
    for arm in ARMS:
        ready = {
            unit: min([h for u, a, h, f in alone if u == unit and f is not None], default=None)
            for unit, a, *_ in alone
            if a == arm
        }
        firsts.append(sorted(hour for hour in ready.values() if hour is not None))
    reached = all(len(hours_of) >= least for hours_of in firsts)
    wanted = NOON + timedelta(hours=max(hours_of[least - 1] for hours_of in firsts)) if reached else None
    assert answers.horizon(least) == wanted
    samples = answers.samples(None if hours is None else NOON + timedelta(hours=hours))
    for arm in ARMS:
        own = [row for row in alone if row[1] == arm and (hours is None or row[2] <= hours)]
        units = sorted({unit for unit, *_ in own})
        means = []
        for unit in units:
            figures = [figure for other, _, _, figure in own if other == unit and figure is not None]
            means += [sum(figures) / len(figures)] if figures else []
        sample = samples[arm]
        assert (sample.keys, sample.rows) == (len(units), len(own))
        assert sample.unlabelled == sum(figure is None for *_, figure in own)
        assert sample.figures.tolist() == pytest.approx(means)


def test_a_shadow_counts_what_both_have_answered():
    rows: list[Row] = [
        ("a", "champion", 0, 1.0),
        ("a", "challenger", 0, 0.5),
        ("a", "champion", 1, 3.0),  # the shadow was too slow for this one
        ("b", "champion", 2, 2.0),
        ("b", "challenger", 2, 4.0),
        ("c", "champion", 3, None),
        ("c", "challenger", 3, None),
    ]
    answers = answers_of(rows, [1, 1, 2, 3, 3, 4, 4])
    samples = answers.samples()
    assert {arm: sample.figures.tolist() for arm, sample in samples.items()} == {
        "champion": [1.0, 2.0],
        "challenger": [0.5, 4.0],
    }
    assert (samples["champion"].keys, answers.keys_of_several_arms) == (2, 0)
    assert answers.horizon(2) == NOON + timedelta(hours=2)
