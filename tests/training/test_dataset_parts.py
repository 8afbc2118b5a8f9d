"""What a dataset's parts are told apart by: rows, labels, classes, categories and keys, against counting by hand."""

from collections import Counter
from typing import Any

import duckdb
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import fti_assets as fti
from fti_assets.core.manifest import Column
from fti_assets.training.datasets.checks.parts import Parts, judge_parts
from fti_assets.training.datasets.checks.rows import ROW_SPLIT
from fti_assets.training.datasets.dataset import row_rules
from fti_assets.training.datasets.splits.split import SPLITS
from tests.training.test_dataset_rows import connection, declared, made, row, spine

__all__ = ["connection"]

KINDS = {"text": pa.string(), "boolean": pa.bool_(), "integer": pa.int64(), "number": pa.float64()}


def judged(
    connection: duckdb.DuckDBPyConnection, rows: list[tuple[str, Any]], kind: Any, *, may_share: bool = True, **more: list[Any]
) -> tuple[Parts, dict[str, str]]:  # fmt: skip
    """The parts of rows of a split and a label, and what each failed rule says; more columns are categories."""
    more = {"key": list(range(len(rows))), **more}
    columns = {
        ROW_SPLIT: pa.array([part for part, _ in rows]),
        "y": pa.array([y for _, y in rows], KINDS[kind]),
        **{name: pa.array(values) for name, values in more.items()},
    }
    connection.execute("DROP TABLE IF EXISTS judged_parts")
    connection.from_arrow(pa.table(columns)).create("judged_parts")
    categorical = [name for name in more if name != "key"]
    parts = judge_parts(
        connection, "judged_parts", Column("late", kind), "y", categorical=categorical, entity=["key"], may_share=may_share
    )  # fmt: skip
    return parts, {one.rule.name: one.problem for one in parts.verdicts if not one.passed}


SPLIT_NAMES = st.sampled_from(SPLITS)


@given(st.lists(st.tuples(SPLIT_NAMES, st.sampled_from(["a", "b", "c"]), st.integers(0, 3)), min_size=1, max_size=9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_parts_are_told_as_counting_tells(
    connection: duckdb.DuckDBPyConnection, rows: list[tuple[str, str, int]]
) -> None:
    parts, result = judged(connection, [(part, y) for part, y, _ in rows], "text", key=[key for *_, key in rows])
    counts = Counter((part, y) for part, y, _ in rows)
    names = {y for _, y, _ in rows}
    assert parts.classes == {part: {name: counts[part, name] for name in names} for part in SPLITS}
    of_key = {key: {part for part, _, other in rows if other == key} for *_, key in rows}
    assert parts.keys_in_several == sum(len(one) > 1 for one in of_key.values()) / len(of_key)
    empty = [part for part in SPLITS if not any(part == one for one, _, _ in rows)]
    same = [part for part in SPLITS if len({y for one, y, _ in rows if one == part}) == 1]
    same = [part for part in same if sum(one == part for one, _, _ in rows) > 1]
    lacking = {y for part, y, _ in rows if part != "train"} - {y for part, y, _ in rows if part == "train"}
    problem = result.get("labels_in_each_part", "")
    assert ("there is no row in" in problem) == bool(empty)
    assert problem.count("rows of ") == len(same)
    assert {name for name in names if f"train has no row of the class {name!r}" in problem} == lacking
    assert (problem == "") == (not empty and not same and not lacking)


def test_each_way_is_named_in_words(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [("train", 0.0), ("train", 0.0), ("test", 0.0), ("test", 1.0)]
    _, result = judged(connection, rows, "number", shop=["a", "b", "c", "c"], town=["x", None, "", "x"])
    assert result == {
        "labels_in_each_part": "there is no row in 'validation'; the label 'late' is 0.0 in all 2 rows of train; train has no row of the "
        "class '1', of which test has 1",
        "categories_in_train": "of the categories in validation and test, 'shop' has 1 that no train row has, such as 'c', in 2 of 2 "
        "rows: the encoder takes them as unknown",
    }


def test_few_new_values_of_many_categories_are_usual(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [*[("train", True), ("train", False)] * 100, *[("validation", True), ("test", False)] * 100]
    names = [f"c{number}" for number in range(200)]
    rows += [("validation", False), ("test", True)]
    assert judged(connection, rows, "boolean", c=[*names, *names, "new", "c1"])[1] == {}
    _, result = judged(connection, rows, "boolean", c=[*names, *[f"n{n % 9}" for n in range(200)], "new", "c1"])
    assert "'c' has 10 that no train row has, such as 'n" in result["categories_in_train"]


@pytest.mark.parametrize(("kind", "values"), [("number", [0.5, 1.0]), ("integer", [*range(21)])])
def test_measures_and_counts_are_no_classes(
    connection: duckdb.DuckDBPyConnection, kind: str, values: list[Any]
) -> None:
    rows = [*[("train", one) for one in values[1:] * 2], ("validation", values[0]), ("test", values[0])]
    parts, result = judged(connection, rows, kind)
    assert parts.classes == {}
    assert "class" not in result.get("labels_in_each_part", "")


def test_key_in_two_parts_is_an_error_of_a_split_by_hash(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [
        ("train", True),
        ("train", False),
        ("validation", True),
        ("validation", False),
        ("test", True),
        ("test", False),
    ]
    parts, result = judged(connection, rows, "boolean", may_share=False, key=[1, 2, 3, 4, 5, 1])
    assert result["keys_in_one_part"].startswith("1 of 5 values of 'key' are in more than one part")
    (verdict,) = [one for one in parts.verdicts if not one.passed]
    assert verdict.rule.blocking
    assert judged(connection, rows, "boolean", key=[1, 2, 3, 4, 5, 1])[1] == {}


def test_dataset_says_what_its_parts_share(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(number % 4, number, y=float(number % 2)) for number in range(20)]
    by_time, by_hash = (declared(fti.Label(spine["y"]), split=split) for split in (fti.TimeSplit(), fti.HashSplit()))
    assert "keys_in_one_part" not in {rule.name for rule in row_rules(by_time)}
    assert "keys_in_one_part" in {rule.name for rule in row_rules(by_hash)}
    results, _ = made(connection, by_time, {spine: rows}, cutoff=40)
    assert results.keys_in_several_parts == 1.0
    assert results.classes["y"]["train"] == {"0": 6, "1": 6}
    many = [row(number % 40, number, y=float(number % 3 > 1)) for number in range(200)]
    results, _ = made(connection, by_hash, {spine: many}, cutoff=400)
    assert results.keys_in_several_parts == 0
    assert not [one.problem for one in results.verdicts if one.rule.name == "keys_in_one_part" and not one.passed]
