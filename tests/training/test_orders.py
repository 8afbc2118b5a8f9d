"""A number tells a class where each class has a range of its own, as thresholds find it."""

import itertools
import random
from typing import Any

import duckdb
import pytest

from fti_assets.core.manifest import Column
from fti_assets.training.datasets.checks import VISIBLE_LABEL, judge_rows
from fti_assets.training.datasets.orders import in_ranges
from tests.features import oracles
from tests.features.oracles import START
from tests.support.examples import examples

KINDS = {"integer": "BIGINT", "number": "DOUBLE", "timestamp": "TIMESTAMP"}


def have_ranges(values: list[Any], classes: list[Any]) -> bool:
    """Whether no two rows of one class have a row of another between them, or beside them at the same value."""
    pairs = [(value, of) for value, of in zip(values, classes, strict=True) if value is not None]
    return not any(
        low <= value <= high
        for (low, one), (high, same) in itertools.product(pairs, pairs)
        if one == same and low <= high
        for value, other in pairs
        if other != one
    )


def enough(values: list[Any], classes: list[Any]) -> bool:
    counts = [
        sum(value is not None for value, of in zip(values, classes, strict=True) if of == one) for one in set(classes)
    ]
    others = sorted(count for count in counts if count)[:-1]
    return sum(counts) >= 20 and sum(others) - len(others) >= 9


def drawn(draw: random.Random, kind: str, classes: list[str]) -> list[Any]:
    """Values in ranges of their classes, with nulls, ties between classes or a few rows out of place."""
    starts = draw.sample(range(0, 60, 10), 6)
    spread, nulls, wrong = draw.choice([0, 8, 9, 10]), draw.choice([0, 0.2, 0.8]), draw.choice([0, 0, 0.02])
    results: list[Any] = []
    for of in classes:
        start = draw.choice(starts) if draw.random() < wrong else starts[ord(of) - ord("a")]
        value = start + draw.randint(0, spread)
        made = {
            "integer": value,
            "number": value / 7,
            "timestamp": START.replace(minute=value % 60, day=1 + value // 60),
        }
        results.append(None if draw.random() < nulls else made[kind])
    return results


@pytest.mark.parametrize("kind", KINDS)
def test_ranges_are_those_of_a_brute_force_search(kind: str) -> None:
    draw, results = random.Random(kind), set()
    with oracles.connection() as connection:
        for _ in range(examples(60)):
            rows, labels = draw.choice([12, 30, 120]), draw.choice(["ab", "abc", "aaaaaaaaab", "aaaaaaaaabc", "abcdef"])
            classes = [draw.choice(labels) for _ in range(rows)]
            features = {f"x{at}": drawn(draw, kind, classes) for at in range(6)}
            connection.execute("DROP TABLE IF EXISTS made")
            columns = {"y": "VARCHAR", **dict.fromkeys(features, KINDS[kind])}
            made = [
                {"y": of, **{name: values[at] for name, values in features.items()}} for at, of in enumerate(classes)
            ]
            oracles.relation(connection, columns, made).create("made")
            asked = [Column(name, kind) for name in features]  # type: ignore[arg-type]
            in_some = {one.name for one in in_ranges(connection, "made", asked, "y")}
            in_all = {one.name for one in in_ranges(connection, "made", asked, "y", least=20, agreeing=9)}
            assert in_some == {name for name, values in features.items() if have_ranges(values, classes)}
            assert in_all == {name for name in in_some if enough(features[name], classes)}
            results |= {len(in_some), len(in_all)}
    assert len(results) > 2


@pytest.mark.parametrize("rows", [200, 12_000])
def test_a_number_whose_ranges_tell_three_classes_warns(rows: int) -> None:
    """The sample of many rows and the first rows hold no value of one feature, which may not clear it."""
    draw = random.Random(rows)
    amounts = [draw.random() for _ in range(rows)]
    classes = ["middle" if amount < 0.3 else "low" if amount < 0.5 else "top" for amount in amounts]
    made = [
        {
            "y": of, VISIBLE_LABEL: False, "score": value, "late": value if at >= rows - 60 else None, "noise": draw.random(),
            "once": 0.9 if at == rows - 5 and of != "top" else value, "other": 1 - value if at == rows // 2 else value,
        }
        for at, (of, value) in enumerate(zip(classes, amounts, strict=True))
    ]  # fmt: skip
    names = ["score", "late", "noise", "once", "other"]
    with duckdb.connect() as connection:
        columns = {"y": "VARCHAR", VISIBLE_LABEL: "BOOLEAN", **dict.fromkeys(names, "DOUBLE")}
        oracles.relation(connection, columns, made).create("judged")
        verdicts = judge_rows(
            connection, "judged", [Column(name, "number") for name in names], Column("class", "text"), "y", {}
        )
    [problem] = [verdict.problem for verdict in verdicts if verdict.rule.name == "features_do_not_tell_label"]
    assert (
        {name for name in names if repr(name) in problem}
        == {name for name in names if have_few_ranges([row[name] for row in made], classes)}
        >= {"score", "late"}
    )


def have_few_ranges(values: list[Any], classes: list[str]) -> bool:
    """As ``have_ranges``, for many rows: sorted by value, a class begins once."""
    pairs = sorted((value, of) for value, of in zip(values, classes, strict=True) if value is not None)
    ties = any(one[0] == other[0] and one[1] != other[1] for one, other in itertools.pairwise(pairs))
    return not ties and len(list(itertools.groupby(of for _, of in pairs))) == len({of for _, of in pairs})
