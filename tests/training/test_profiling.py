"""The reference profile of a dataset, against numpy and counting by hand."""

import math
from collections import Counter
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fti_assets.core.manifest import Column, SampleRecord
from fti_assets.core.manifest.profiles import BINS, CATEGORIES, LARGEST, ColumnProfile, Profile
from fti_assets.core.records import from_json, to_json
from fti_assets.training.datasets.profiling import profile_of
from fti_assets.training.models.answers_profile import answers_profile
from tests.support.examples import examples
from tests.training.test_dataset_rows import connection

__all__ = ["connection"]

KINDS = {"text": pa.string(), "boolean": pa.bool_(), "integer": pa.int64(), "number": pa.float64()}


def profiled(
    connection: duckdb.DuckDBPyConnection, sample: Any = None, **columns: tuple[str, list[Any]]
) -> dict[str, ColumnProfile]:
    """The profile of columns; ``y`` is the label."""
    tables = {name: pa.array(values, KINDS[kind], from_pandas=False) for name, (kind, values) in columns.items()}
    connection.execute("DROP TABLE IF EXISTS profiled")
    connection.from_arrow(pa.table(tables)).create("profiled")
    features: list[Any] = [Column(name, kind) for name, (kind, _) in columns.items() if name != "y"]  # type: ignore[arg-type]
    label: Any = Column("late", columns["y"][0])  # type: ignore[arg-type]
    profile = profile_of(connection, "profiled", features, label, "y", sample)
    assert from_json(Profile, to_json(profile), what="profile") == profile
    assert profile.label.name == "late"
    return {**{one.name: one for one in profile.features}, "y": profile.label}


def by_numpy(values: list[float | None]) -> tuple[list[float], list[int], int]:
    """Edges, counts and nulls by the rule in words."""
    numbers = np.sort([float(one) for one in values if one is not None and not math.isnan(one)])
    nulls = len(values) - len(numbers)
    if not len(numbers):
        return [], [], nulls
    ranks = [math.ceil(number * len(numbers) / BINS) for number in range(1, BINS)]
    at = np.clip(numbers[np.array(ranks) - 1], -LARGEST, LARGEST).tolist()
    many = [one for one, count in Counter(at).items() if count > 1]
    first = numbers[math.ceil(len(numbers) / (2 * BINS)) - 1]
    many += at[:1] if first == at[0] else []
    below = []
    for one in many:
        if abs(one) < LARGEST:
            with np.errstate(over="ignore"):
                next_single = float(np.nextafter(np.float32(one), np.float32(-np.inf)))
            below.append(next_single if math.isfinite(next_single) else np.nextafter(one, -math.inf))
    edges = np.unique([*at, *below])
    counts = np.bincount(np.searchsorted(edges, numbers, side="left"), minlength=len(edges) + 1)
    return edges.tolist(), counts.tolist(), nulls


NUMBERS = st.none() | st.floats(width=32) | st.sampled_from([0.0, 1.0, math.inf, -math.inf, math.nan])


@given(st.lists(NUMBERS, min_size=1, max_size=90), st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(90))
def test_bins_are_those_of_numpy(connection: duckdb.DuckDBPyConnection, values: list[float | None], data: Any) -> None:
    whole = data.draw(st.lists(st.none() | st.integers(-5, 5), min_size=len(values), max_size=len(values)))
    results = profiled(connection, x=("number", values), k=("integer", whole), y=("boolean", [True] * len(values)))
    for name, of_column in (("x", values), ("k", whole)):
        own = results[name]
        edges, counts, nulls = by_numpy(of_column)
        assert (list(own.edges), list(own.counts), own.nulls, own.rows) == (edges, counts, nulls, len(values))


@pytest.mark.parametrize("rows", [20, 100, 1_000, 4_999])
def test_bins_of_many_values_hold_alike(connection: duckdb.DuckDBPyConnection, rows: int) -> None:
    values = np.random.default_rng(1).permutation(rows).astype(float).tolist()
    own = profiled(connection, x=("number", values), y=("number", values))["x"]
    assert (list(own.edges), list(own.counts), 0) == by_numpy(values)
    assert max(own.counts) - min(own.counts) <= 1


@given(st.lists(st.sampled_from(["a", "b", "c", "", None]), min_size=1, max_size=30))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=examples(60))
def test_categories_are_counted(connection: duckdb.DuckDBPyConnection, values: list[str | None]) -> None:
    flags = [None if one is None else one == "a" for one in values]
    results = profiled(connection, c=("text", values), f=("boolean", flags), y=("text", values))
    counts = Counter(one for one in values if one)
    assert results["c"].categories == dict(counts)
    assert results["c"].nulls == len(values) - sum(counts.values())
    assert results["f"].categories == dict(Counter(str(one).lower() for one in flags if one is not None))
    assert (results["y"].categories, results["y"].rows) == (dict(counts), len(values))


def test_rest_of_many_categories_is_one_count(connection: duckdb.DuckDBPyConnection) -> None:
    names = [f"c{number:03}" for number in range(CATEGORIES + 7)]
    values = [*names, *names[:3], names[-1]]
    own = profiled(connection, c=("text", values), y=("boolean", [True] * len(values)))["c"]
    assert list(own.categories)[:5] == ["c000", "c001", "c002", names[-1], "c003"]
    assert (len(own.categories), own.rest, own.further_categories) == (CATEGORIES, 7, 7)


def test_counts_are_of_the_rows_before_a_sample(connection: duckdb.DuckDBPyConnection) -> None:
    sample = SampleRecord("md5-52", 0, {"0": 0.25}, {"0": 8}, {"0": 2})
    results = profiled(
        connection,
        sample,
        x=("number", [1.0, None, 2.0]),
        c=("text", ["a", "b", "b"]),
        y=("boolean", [False, False, True]),
    )
    assert (results["x"].rows, results["x"].nulls, results["x"].edges[1::2], results["x"].counts) == (
        9,
        4,
        (1, 2),
        (0, 4, 0, 1, 0),
    )
    assert results["c"].categories == {"b": 5, "a": 4}
    assert results["y"].categories == {"false": 8, "true": 1}


def test_columns_without_values_have_no_bins(connection: duckdb.DuckDBPyConnection) -> None:
    results = profiled(connection, x=("number", [None, math.nan]), c=("text", [None, ""]), y=("boolean", [True, True]))
    assert (results["x"].edges, results["x"].counts, results["x"].nulls) == ((), (), 2)
    assert (results["c"].categories, results["c"].nulls) == ({}, 2)


@pytest.mark.parametrize("seed", range(3))
def test_answers_have_the_bins_that_a_dataset_would_give_them(connection: duckdb.DuckDBPyConnection, seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.choice([0.1, 0.2, math.nan, *rng.normal(size=30)], 77)
    own = profiled(connection, probability=("number", values.tolist()), y=("boolean", [True] * 77))["probability"]
    assert answers_profile("binary", values, ()) == (own,)
    table = rng.random((77, 2))
    first, second = answers_profile("quantile", table, ("0.1", "0.9"))
    assert (first.name, second.name, sum(second.counts)) == ("quantiles.0.1", "quantiles.0.9", 77)
    (classes,) = answers_profile("multiclass", table, ("no", "yes"))
    assert classes.categories == dict(zip(("no", "yes"), np.bincount(table.argmax(axis=1)), strict=True))
