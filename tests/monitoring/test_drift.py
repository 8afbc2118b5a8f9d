"""Counts and statistics of drift, against counting by hand, SciPy, and PSI as a textbook has it."""

import math
from bisect import bisect_left
from collections import Counter
from dataclasses import replace
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon
from scipy.stats import ks_2samp, wasserstein_distance

import fti_assets as fti
from fti_assets.core.manifest import Column
from fti_assets.core.manifest.profiles import LARGEST, ColumnProfile
from fti_assets.errors import DeclarationError
from fti_assets.monitoring.drift.counts import MOST_CATEGORIES, CountedColumn, count_columns
from fti_assets.monitoring.drift.statistics import EPSILON, compare, psi, statistics_of, together
from fti_assets.training.datasets.profiling import DIRECTIONS, binned_sql, directions, profile_of, projections_sql
from tests.support.examples import examples

ARROW = {"number": pa.float64(), "integer": pa.int64(), "text": pa.string(), "boolean": pa.bool_()}
NUMBERS = st.one_of(st.none(), st.floats(width=64), st.sampled_from([0.0, 1.0, 2.0, math.inf, -math.inf, math.nan]))
TEXTS = st.one_of(
    st.none(), st.sampled_from(["", "a", "b", "c", "d'é"]), st.text(max_size=2).filter(lambda t: "\0" not in t)
)


@pytest.fixture(scope="module")
def connection() -> Any:
    with duckdb.connect() as own:
        yield own


def reference_of(connection: Any, kind: Any, values: list[Any]) -> ColumnProfile:
    connection.register("learned", pa.table({"v": pa.array(values, ARROW[kind], from_pandas=False)}))
    return profile_of(connection, "learned", [Column("v", kind)], Column("v", kind), "v").features[0]


def counted(connection: Any, like: ColumnProfile, values: list[Any]) -> ColumnProfile:
    rows = pa.table({"v": pa.array(values, ARROW[like.type]), "part": pa.array(["p"] * len(values), pa.string())})
    connection.register("judged", rows)
    column = CountedColumn("v", like.type, like.edges, tuple(like.categories))
    counts = count_columns(connection, "judged", [column], ["part"])
    return counts[("p",)]["v"] if values else ColumnProfile("v", like.type, 0, 0, like.edges, (0.0,) * len(like.counts))


def is_value(value: Any) -> bool:
    return value is not None and value == value and value != ""


def textbook_psi(before: list[float], after: list[float]) -> float:
    result = 0.0
    for old, new in zip(before, after, strict=True):
        p, q = max(old / sum(before), EPSILON), max(new / sum(after), EPSILON)
        result += (q - p) * math.log(q / p)
    return result


@pytest.mark.filterwarnings(
    "ignore:divide by zero|ks_2samp|invalid value:RuntimeWarning"
)  # of SciPy's p-value, which nobody asks for
@settings(max_examples=examples(60))
@given(st.lists(NUMBERS, max_size=40), st.lists(NUMBERS, max_size=40))
def test_numbers_are_as_far_apart_as_scipy_says(connection: Any, then: list[Any], now: list[Any]) -> None:
    reference = reference_of(connection, "number", then)
    figures = compare(reference, counted(connection, reference, now))
    old, new = ([value for value in values if is_value(value)] for values in (then, now))
    assert figures["null_rate"] == (pytest.approx(1 - len(new) / len(now)) if now else None)
    if then and not old and now:  # a value is all that can be new
        assert figures["psi"] == pytest.approx(textbook_psi([len(then), 0], [len(now) - len(new), len(new)]))
        assert figures["jensen_shannon"] == pytest.approx(
            jensenshannon([1, 0], [len(now) - len(new), len(new)], base=2), abs=1e-7
        )
        assert figures["ks"] is figures["wasserstein"] is None
        return
    if not new or not reference.edges:
        assert figures["psi"] is figures["ks"] is None
        return
    edges = reference.edges
    before, after = ([bisect_left(edges, value) for value in values] for values in (old, new))
    p, q = ([Counter(bins)[bin] for bin in range(len(edges) + 1)] for bins in (before, after))
    assert figures["psi"] == pytest.approx(textbook_psi(p, q), abs=1e-9)
    assert figures["ks"] == pytest.approx(ks_2samp(before, after, method="asymp").statistic, abs=1e-9)
    assert figures["jensen_shannon"] == pytest.approx(jensenshannon(p, q, base=2), abs=1e-7)
    half = np.array(edges) / 2
    places = (half - half[0]) / ((half[-1] - half[0]) or 1)
    moved = np.append(places, places[-1])
    spread = np.std(moved[before])
    if np.abs(edges).max() == LARGEST:
        return  # what is infinite has no place
    if len(edges) < 2 or spread < 1e-150:
        assert figures["wasserstein"] is None or spread > 0
    else:
        assert figures["wasserstein"] == pytest.approx(
            wasserstein_distance(moved[before], moved[after]) / spread, rel=1e-6, abs=1e-9
        )


@settings(max_examples=examples(40))
@given(st.lists(TEXTS, max_size=30), st.lists(TEXTS, max_size=30))
def test_categories_are_compared_as_they_are_counted(connection: Any, then: list[Any], now: list[Any]) -> None:
    reference = reference_of(connection, "text", then)
    figures = compare(reference, counted(connection, reference, now))
    old, new = ([value for value in values if is_value(value)] for values in (then, now))
    names = sorted(set(old))
    p, q = ([Counter(values)[name] for name in names] for values in (old, new))
    p, q = [*p, 0], [*q, sum(value not in names for value in new)]
    assert figures["null_rate"] == (pytest.approx(1 - len(new) / len(now)) if now else None)
    if then and not old:  # each value is new
        assert figures["psi"] == (
            pytest.approx(textbook_psi([len(then), 0], [len(now) - len(new), len(new)])) if now else None
        )
        assert figures["unknown_rate"] == (1.0 if new else None)
        assert figures["category_churn"] == (1.0 if any(new.count(one) * 100 >= len(new) for one in new) else None)
        return
    if not old or not new:
        assert figures["psi"] is figures["unknown_rate"] is figures["category_churn"] is None
        return
    assert figures["psi"] == pytest.approx(textbook_psi(p, q), abs=1e-9)
    assert figures["jensen_shannon"] == pytest.approx(jensenshannon(p, q, base=2), abs=1e-7)
    assert figures["unknown_rate"] == pytest.approx(q[-1] / len(new), abs=1e-12)
    assert figures["category_churn"] == len(set(old) ^ set(new)) / len(set(old) | set(new))


def test_one_pass_counts_all_kinds_of_columns_by_part(connection: Any) -> None:
    rng = np.random.default_rng(1)
    rows = pa.table(
        {
            "part": pa.array(["a"] * 40 + ["b"] * 60),
            "n": pa.array([None if i % 7 == 0 else float(x) for i, x in enumerate(rng.normal(size=100))]),
            "i": pa.array(rng.integers(0, 5, 100)),
            "f": pa.array([None if i % 3 == 0 else i % 2 == 0 for i in range(100)]),
            "t": pa.array(["", None, *[f"c{i % 4}" for i in range(98)]]),
            "at": pa.array([None, *range(99)], pa.timestamp("us")),
        }
    )
    connection.register("mixed", rows)
    columns = [
        CountedColumn("n", "number", (-1.0, 0.0, 1.0)),
        CountedColumn("i", "integer", (0.0, 3.0)),
        CountedColumn("f", "boolean"),
        CountedColumn("t", "text"),
        CountedColumn("at", "timestamp"),
    ]
    counts = count_columns(connection, "mixed", columns, ["part"])
    frame = rows.to_pandas()
    for part, own in frame.groupby("part"):
        results = counts[(part,)]
        numbers = own["n"].dropna()
        assert results["n"].counts == tuple(np.bincount(np.searchsorted([-1, 0, 1], numbers), minlength=4))
        assert (results["n"].rows, results["n"].nulls) == (len(own), own["n"].isna().sum())
        assert results["i"].counts == tuple(np.bincount(np.searchsorted([0, 3], own["i"]), minlength=3))
        assert results["f"].categories == {str(k).lower(): n for k, n in own["f"].dropna().value_counts().items()}
        assert results["t"].categories == own["t"].replace("", None).dropna().value_counts().to_dict()
        assert results["at"].nulls == own["at"].isna().sum()
    whole = together(counts[(part,)]["n"] for part in ("a", "b"))
    assert whole is not None
    assert whole.counts == tuple(np.bincount(np.searchsorted([-1, 0, 1], frame["n"].dropna()), minlength=4))


def test_categories_of_the_reference_are_counted_among_thousands(connection: Any) -> None:
    values = [f"v{i}" for i in range(MOST_CATEGORIES + 50) for _ in range(2)] + ["rare"]
    connection.register("many", pa.table({"part": ["p"] * len(values), "t": values}))
    counts = count_columns(connection, "many", [CountedColumn("t", "text", categories=("rare",))], ["part"])
    own = counts[("p",)]["t"]
    assert own.categories["rare"] == 1
    assert len(own.categories) == MOST_CATEGORIES + 1
    assert (own.further_categories, own.rest) == (50, 100)


def test_unknown_categories_are_not_told_where_nobody_names_the_known_ones() -> None:
    reference = ColumnProfile("t", "text", 100, 0, categories={"a": 90}, rest=10, further_categories=5)
    now = ColumnProfile("t", "text", 10, 0, categories={"a": 5, "b": 3, "new": 2})
    assert compare(reference, now)["unknown_rate"] is None
    assert compare(reference, now, learned=["a", "b"])["unknown_rate"] == pytest.approx(0.2)


def test_what_is_infinite_lies_where_the_last_finite_value_does(connection: Any) -> None:
    reference = reference_of(connection, "number", [0.0] * 50 + [1.0] * 40 + [math.inf] * 10)
    assert reference.edges[1::2] == (0.0, 1.0)
    assert reference.edges[-1] == LARGEST
    now = counted(connection, reference, [0.0] * 40 + [1.0] * 50 + [math.inf] * 10)
    assert compare(reference, now)["wasserstein"] == pytest.approx(0.1 / 0.5)


def test_values_far_outside_are_moved_to_the_last_edge() -> None:
    reference = ColumnProfile("x", "number", 4, 0, edges=(0.0, 1.0), counts=(2, 2, 0))
    far = ColumnProfile("x", "number", 4, 0, edges=(0.0, 1.0), counts=(0, 0, 4))
    assert compare(reference, far)["wasserstein"] == pytest.approx(0.5 / 0.5)


@pytest.mark.parametrize(
    ("then", "now"),
    [
        ([5.0] * 100, [3.0] * 100),
        ([5.0] * 100, [-math.inf] * 100),
        ([0.0] * 95 + [1.0] * 5, [-999.0] * 95 + [1.0] * 5),
        ([-1000.0] * 6 + [0.0] * 94, [-1000.0] * 6 + [-500.0] * 94),
        ([-1.0, *[0.0] * 99], [-1.0, *[-999.0] * 99]),
        ([math.inf] * 100, [1.0] * 100),
        ([-math.inf] * 94 + [1.0] * 6, [-9.0] * 94 + [1.0] * 6),
    ],
)
@pytest.mark.parametrize("way", ["down", "up"])
def test_a_value_of_many_rows_that_moves_is_drift(connection: Any, then: Any, now: Any, way: str) -> None:
    sign = 1.0 if way == "down" else -1.0
    reference = reference_of(connection, "number", [sign * value for value in then])
    moved = sum(a != b for a, b in zip(then, now, strict=True)) / len(then)
    figures = compare(reference, counted(connection, reference, [sign * value for value in now]))
    assert figures["ks"] == pytest.approx(moved)
    assert figures["psi"] is not None
    assert figures["psi"] > 5


def units(seed: int, towards: list[float]) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(800, 8)) + np.resize(towards, 8)
    return np.asarray((rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32))


def test_vectors_of_one_length_that_turn_are_drift(connection: Any) -> None:
    then = units(1, [1.0])
    profile = profile_of_vectors(connection, list(then))
    # Single precision leaves noise in the last digits of a length of 1, which is no spread.
    assert (profile.edges[1:], profile.counts) == ((1.0,), (0, 800, 0))
    assert all(sum(one.counts) == 800 for one in profile.directions)
    same = compare(profile, counted_vectors(connection, profile, list(units(2, [1.0]))))
    turned = compare(profile, counted_vectors(connection, profile, list(units(2, [-1.0, 1.0]))))
    # What is stored wide is as what was logged; no number, one beyond float32 and one that lacks are 0.
    wide = counted_vectors(connection, profile, [row.astype(float).tolist() for row in then])
    without = counted_vectors(connection, profile, [[*row[:6].astype(float), None, 1e300] for row in then])
    shorter = counted_vectors(connection, profile, [row[:6].astype(float).tolist() for row in then])
    assert without == shorter
    assert [one.counts for one in wide.directions] == [one.counts for one in profile.directions]
    assert same["psi"] is not None
    assert turned["psi"] is not None
    assert same["psi"] < 0.5 < 2 < turned["psi"]
    weights = directions(8)
    expected = [then.astype(float) @ weights[place] for place in range(DIRECTIONS)]
    for own, numbers in zip(profile.directions, expected, strict=True):
        assert own.counts == tuple(np.bincount(np.searchsorted(own.edges, numbers - 1e-12), minlength=20))
    shifted = [compare_numbers(expected[place], units(2, [-1.0, 1.0]) @ weights[place]) for place in range(DIRECTIONS)]
    assert turned["ks"] == pytest.approx(max(shifted), abs=0.06)
    both = together([wide, wide])
    assert both is not None
    assert sum(both.directions[-1].counts) == 1600
    old = replace(profile, directions=())
    assert compare(old, counted_vectors(connection, old, list(units(2, [-1.0, 1.0]))))["psi"] == pytest.approx(
        0, abs=0.1
    )


def compare_numbers(then: np.ndarray, now: np.ndarray) -> float:
    return float(ks_2samp(then, now, method="asymp").statistic)


def profile_of_vectors(connection: Any, values: list[Any]) -> ColumnProfile:
    rows = pa.table({"v": pa.array(values, pa.list_(pa.float32())), "y": pa.array([True] * len(values))})
    connection.register("vectors", rows)
    return profile_of(connection, "vectors", [Column("v", "vector")], Column("y", "boolean"), "y").features[0]


def counted_vectors(connection: Any, profile: ColumnProfile, values: list[Any]) -> ColumnProfile:
    rows = pa.table({"v": pa.array(values, pa.list_(pa.float64())), "part": ["p"] * len(values)})
    connection.register("seen", rows)
    along = zip(projections_sql("v", 8), profile.directions, strict=False)
    sql = binned_sql("v", "vector")
    column = CountedColumn("v", "vector", profile.edges, (), sql, tuple((sql, bins.edges) for sql, bins in along))
    return count_columns(connection, "seen", [column], ["part"])[("p",)]["v"]


def test_psi_of_a_bin_that_empties_is_bounded_by_epsilon() -> None:
    assert psi(np.array([0.5, 0.5]), np.array([1.0, 0.0])) == pytest.approx(textbook_psi([1, 1], [2, 0]))


def test_a_timestamp_has_a_null_rate_alone() -> None:
    assert statistics_of(ColumnProfile("at", "timestamp", 1, 0)) == ("null_rate",)


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ({"statistic": "p_value"}, "it can be 'psi'"),
        ({"statistic": "psi", "at_most": -1.0}, "at_most=-1.0"),
        ({"statistic": "psi", "in_a_row": 0}, "at least 1"),
        ({"statistic": "psi", "columns": []}, "columns"),
        ({"statistic": "psi", "reference": "yesterday"}, "reference"),
    ],
)
def test_a_rule_that_cannot_be_is_refused(terms: Any, message: str) -> None:
    with pytest.raises(DeclarationError, match=message):
        fti.Drift(**terms)
