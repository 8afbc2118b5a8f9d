"""A number tells a class where the classes follow one another in few runs, as thresholds find them."""

import itertools
import random
from collections import Counter
from typing import Any

import duckdb
import pytest

from fti_assets.core.manifest import Column
from fti_assets.training.datasets.checks.rows import ROW_SPLIT, VISIBLE_LABEL, judge_rows
from fti_assets.training.datasets.leaks.orders import in_runs, maybe_in_runs
from tests.features import oracles
from tests.features.oracles import START
from tests.support.examples import repetitions

KINDS = {"integer": "BIGINT", "number": "DOUBLE", "timestamp": "TIMESTAMP"}


def runs_of(values: list[Any], classes: list[Any]) -> list[tuple[Any, int]] | None:
    """The class and the rows of each run in the order of the values, which are not null; nothing where a value has two classes."""
    pairs = [(value, of) for value, of in zip(values, classes, strict=True) if value is not None]
    if any(one == other and of != another for (one, of), (other, another) in itertools.combinations(pairs, 2)):
        return None
    # A run is a class and how many rows of other classes lie below.
    starts = [(of, sum(other < value for other, another in pairs if another != of)) for value, of in pairs]
    return [(of, count) for (of, _), count in Counter(starts).items()]


def have_few_runs(values: list[Any], classes: list[Any]) -> bool:
    runs = runs_of(values, classes)
    return runs is not None and len(runs) <= len({of for of, _ in runs}) + 2


def enough(values: list[Any], classes: list[Any]) -> bool:
    """Twenty rows, nine of other classes than the commonest beside one of theirs, and ten a run where a class has several."""
    runs = runs_of(values, classes) or []
    counts = Counter({of: 0 for of, _ in runs})
    for of, count in runs:
        counts[of] += count
    several = {of for of, times in Counter(of for of, _ in runs).items() if times > 1}
    others = sorted(counts.values())[:-1]
    return (
        sum(counts.values()) >= 20
        and sum(others) - len(others) >= 9
        and all(count >= 10 for of, count in runs if of in several)
    )


def drawn(draw: random.Random, kind: str, classes: list[str]) -> list[Any]:
    """Values in ranges of their classes, some of two, with nulls, ties between classes or a few rows out of place."""
    starts = draw.sample(range(0, 60, 10), 6)
    second = draw.choice([{}, {"a": 60}, *[{"a": 60, "b": 70}] * 3, {"a": 60, "b": 70, "c": 80}])
    spread, nulls, wrong = draw.choice([0, 8, 9, 9, 10]), draw.choice([0, 0, 0.2, 0.8]), draw.choice([0, 0, 0, 0.02])
    results: list[Any] = []
    for of in classes:
        start = draw.choice(starts) if draw.random() < wrong else starts[ord(of) - ord("a")]
        start = second.get(of, start) if draw.random() < 0.5 else start
        value = start + draw.randint(0, spread)
        made = {
            "integer": value,
            "number": value / 7,
            "timestamp": START.replace(minute=value % 60, day=1 + value // 60),
        }
        results.append(None if draw.random() < nulls else made[kind])
    return results


@pytest.mark.parametrize("kind", KINDS)
def test_runs_are_those_of_a_brute_force_search(kind: str) -> None:
    draw, results = random.Random(kind), set()
    with oracles.connection_to_shared() as connection:
        for _ in range(repetitions(60)):
            rows, labels = (
                draw.choice([12, 30, 60, 120]),
                draw.choice(["ab", "ab", "abc", "aaaaaaaaab", "aaaaaaaaabc", "abcdef"]),
            )
            classes = [draw.choice(labels) for _ in range(rows)]
            features = {f"x{at}": drawn(draw, kind, classes) for at in range(6)}
            connection.execute("DROP TABLE IF EXISTS made")
            columns = {"y": "VARCHAR", **dict.fromkeys(features, KINDS[kind])}
            made = [
                {"y": of, **{name: values[at] for name, values in features.items()}} for at, of in enumerate(classes)
            ]
            oracles.relation(connection, columns, made).create("made")
            requests = [Column(name, kind) for name in features]  # type: ignore[arg-type]
            in_some = {one.name for one in maybe_in_runs(connection, "made", requests, "y")}
            in_all = {one.name for one in in_runs(connection, "made", requests, "y", least=20, agreeing=9)}
            assert in_some == {name for name, values in features.items() if have_few_runs(values, classes)}
            assert in_all == {name for name in in_some if enough(features[name], classes)}
            results |= {len(runs_of(features[name], classes) or []) for name in in_all}
    assert {2, 3, 4} <= results


@pytest.mark.parametrize("rows", [200, 12_000])
def test_a_number_whose_ranges_tell_three_classes_warns(rows: int) -> None:
    """The sample of many rows and the first rows hold no value of one feature, which may not clear it."""
    draw = random.Random(rows)
    amounts = [draw.random() for _ in range(rows)]
    classes = ["middle" if amount < 0.3 else "low" if amount < 0.5 else "top" for amount in amounts]
    made = [
        {
            "y": of, VISIBLE_LABEL: False, ROW_SPLIT: "train",
            "score": value, "late": value if at >= rows - 60 else None, "noise": draw.random(),
            "once": 0.9 if at == rows - 5 and of != "top" else value, "other": 1 - value if at == rows // 2 else value,
        }
        for at, (of, value) in enumerate(zip(classes, amounts, strict=True))
    ]  # fmt: skip
    names = ["score", "late", "noise", "once", "other"]
    with duckdb.connect() as connection:
        columns = {"y": "VARCHAR", VISIBLE_LABEL: "BOOLEAN", ROW_SPLIT: "VARCHAR", **dict.fromkeys(names, "DOUBLE")}
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


@pytest.mark.soak
@pytest.mark.parametrize("label", [Column("paid", "boolean"), Column("class", "text")])
@pytest.mark.parametrize("rows", [200, 12_000])
def test_a_class_on_both_sides_of_another_is_told(rows: int, label: Column) -> None:
    """Of two cuts and of three; four, or nine rows out of place, clear a feature."""
    draw = random.Random(rows)
    yes = [draw.random() < 0.5 for _ in range(rows)]
    out_of_place = [at for at, one in enumerate(yes) if not one][3:12]
    one_of = draw.choice
    features = {
        "inside": [0 if y else one_of([-2, 2]) for y in yes],
        "in_turn": [one_of([0, 4]) if y else one_of([-2, 2]) for y in yes],
        "five_runs": [one_of([0, 4]) if y else one_of([-2, 2, 6]) for y in yes],
        "exceptions": [0 if y else 2 if at in out_of_place else -2 for at, y in enumerate(yes)],
        "noise": [0] * rows,
    }
    made = [
        {"y": y if label.type == "boolean" else "b" if y else "a", VISIBLE_LABEL: False, ROW_SPLIT: "train",
         **{name: values[at] + draw.random() for name, values in features.items()}}
        for at, y in enumerate(yes)
    ]  # fmt: skip
    with duckdb.connect() as connection:
        columns = {
            "y": "BOOLEAN" if label.type == "boolean" else "VARCHAR",
            VISIBLE_LABEL: "BOOLEAN",
            ROW_SPLIT: "VARCHAR",
        }
        oracles.relation(connection, {**columns, **dict.fromkeys(features, "DOUBLE")}, made).create("judged")
        verdicts = judge_rows(connection, "judged", [Column(name, "number") for name in features], label, "y", {})
    [problem] = [verdict.problem for verdict in verdicts if verdict.rule.name == "features_do_not_tell_label"]
    assert {name for name in features if repr(name) in problem.partition(" alone ")[0]} == {"inside", "in_turn"}
    assert ("'exceptions' alone predicts the label" in problem) == (rows == 12_000)
