"""Features that tell a label of nearly every row, against a count in plain Python."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import duckdb
import pytest

from fti_assets.core.manifest import Column
from fti_assets.training.datasets.leaks.near_tellers import near_tellers
from fti_assets.training.datasets.leaks.telling import LabelFacts
from tests.features import oracles
from tests.support.examples import examples

SQL = {"boolean": "BOOLEAN", "integer": "BIGINT", "number": "DOUBLE", "text": "VARCHAR"}


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with oracles.connection() as connection:
        yield connection


def near(connection: duckdb.DuckDBPyConnection, label: Column, y: Sequence[Any], **features: Any) -> dict[str, int]:
    columns = {"y": SQL[label.type], **{name: SQL[kind] for name, (kind, _) in features.items()}}
    rows = [{"y": one, **{name: values[at] for name, (_, values) in features.items()}} for at, one in enumerate(y)]
    connection.execute("DROP TABLE IF EXISTS judged")
    oracles.relation(connection, columns, rows).create("judged")
    counts = Counter(y)
    facts = LabelFacts(label, '"y"', len(counts), max(y), max(counts, key=lambda one: (counts[one], one)), len(y))
    inputs = [Column(name, kind) for name, (kind, _) in features.items()]
    return near_tellers(connection, '"judged"', inputs, facts)


def right_by_value(values: Sequence[Any], y: Sequence[Any]) -> int:
    by_value: dict[Any, Counter[Any]] = {}
    for value, one in zip(values, y, strict=True):
        by_value.setdefault(value, Counter())[one] += 1
    return sum(max(counts.values()) for counts in by_value.values() if counts.total() >= 10)


def right_by_threshold(values: Sequence[Any], y: Sequence[Any]) -> int:
    nulls = Counter(one for value, one in zip(values, y, strict=True) if value is None)
    valued = [(value, one) for value, one in zip(values, y, strict=True) if value is not None]
    best = 0
    for cut in {value for value, _ in valued}:
        agree = sum((value > cut) == bool(one) for value, one in valued)
        best = max(best, agree, len(valued) - agree)
    return best + (max(nulls.values()) if nulls.total() >= 10 else 0)


def expected(kind: str, values: Sequence[Any], y: Sequence[Any]) -> int | None:
    right = right_by_value(values, y)
    if kind in ("integer", "number") and len(set(y)) == 2:
        right = max(right, right_by_threshold(values, y))
    wrong, others = len(y) - right, len(y) - max(Counter(y).values())
    return right if len(y) >= 500 and wrong * 200 <= len(y) and wrong * 10 <= others and others - wrong >= 9 else None


@pytest.mark.parametrize("seed", range(examples(40)))
def test_rows_told_are_those_of_a_count_in_python(connection: duckdb.DuckDBPyConnection, seed: int) -> None:
    draw = random.Random(seed)
    rows, share = draw.choice([499, 500, 1_100]), draw.choice([0.03, 0.1, 0.5])
    y = [draw.random() < share for _ in range(rows)]
    features: dict[str, Any] = {}
    for errors in range(5):
        wrong = set(draw.sample(range(rows), errors))
        observed = [one != (at in wrong) for at, one in enumerate(y)]
        scores = [draw.random() + (1 if one else 0) for one in observed]
        features |= {
            f"flag{errors}": ("boolean", observed),
            f"code{errors}": ("text", [draw.choice(["x", "y"]) if one else draw.choice(["z", None]) for one in observed]),
            f"score{errors}": ("number", scores),
            f"falling{errors}": ("integer", [int(-100 * score) for score in scores]),
            f"gaps{errors}": ("number", [None if not one and draw.random() < 0.3 else score for one, score in zip(y, scores, strict=True)]),
        }  # fmt: skip
    wanted = {name: expected(kind, values, y) for name, (kind, values) in features.items()}
    assert near(connection, Column("paid", "boolean"), y, **features) == {
        name: right for name, right in wanted.items() if right is not None
    }


def test_one_wrong_of_555_is_told_and_six_are_not(connection: duckdb.DuckDBPyConnection) -> None:
    draw = random.Random(3)
    y = [draw.choice("abc") for _ in range(555)]
    features = {
        f"wrong{number}": ("text", [("b" if one != "b" else "c") if at < number else one for at, one in enumerate(y)])
        for number in (1, 2, 3, 6)
    }  # fmt: skip
    assert near(connection, Column("kind", "text"), y, **features) == {"wrong1": 554, "wrong2": 553}


@pytest.mark.parametrize("rows", [600, 12_000])
def test_amounts_but_for_rounding_and_exceptions_are_told(connection: duckdb.DuckDBPyConnection, rows: int) -> None:
    draw = random.Random(rows)
    y = [draw.gauss(100, 20) for _ in range(rows)]
    odd = set(range(0, rows, 300))
    result = near(
        connection, Column("price", "number"), y,
        rounded=("number", [round(one, 1) for one in y]),
        cents=("integer", [round(one * 100) for one in y]),
        falling=("number", [3 - 2.5 * one for one in y]),
        exceptions=("number", [0.0 if at in odd else one * 7 + 1 for at, one in enumerate(y)]),
        gaps=("number", [None if at in odd else one for at, one in enumerate(y)]),
        strong=("number", [one + draw.gauss(0, 1) for one in y]),
        coarse=("integer", [round(one / 10) for one in y]),
        often_missing=("number", [None if at % 100 == 0 else one for at, one in enumerate(y)]),
        noise=("number", [draw.random() for _ in y]),
    )  # fmt: skip
    outcome = rows - len(odd)
    assert result == {"rounded": rows, "cents": rows, "falling": rows, "exceptions": outcome, "gaps": outcome}


@pytest.mark.parametrize("rows", [500, 3_000, 12_000])
def test_honest_strong_features_are_not_accused(connection: duckdb.DuckDBPyConnection, rows: int) -> None:
    draw = random.Random(rows)
    labels = {
        "even": [draw.random() < 0.5 for _ in range(rows)],
        "rare": [draw.random() < 0.003 for _ in range(rows)],
    }
    for y in labels.values():
        if len(set(y)) < 2:
            continue
        assert not near(
            connection, Column("paid", "boolean"), y,
            strong=("number", [draw.gauss(4 if one else 0, 1) for one in y]),  # right of 97.7 %
            usual=("boolean", [one if draw.random() < 0.98 else not one for one in y]),
            ids=("text", [f"id {at}" for at in range(rows)]),
            pairs=("text", [f"{one} {at // 4}" for at, one in enumerate(y)]),
            same=("boolean", [False] * rows),
            noise=("number", [draw.random() for _ in y]),
        )  # fmt: skip


def test_a_label_of_one_usual_value_needs_more(connection: duckdb.DuckDBPyConnection) -> None:
    """Of 10,000 rows, 100 are yes: 11 wrong are few of all rows, and too many of those 100."""
    y = [at % 100 == 0 for at in range(10_000)]
    features = {
        f"wrong{number}": ("boolean", [one != (at < number) for at, one in enumerate(y)]) for number in (10, 11)
    }
    assert near(connection, Column("paid", "boolean"), y, **features) == {"wrong10": 9_990}
