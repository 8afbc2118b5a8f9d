"""What a dataset warns of: joins that find nothing, features that say nothing or too much, labels that were known."""

import math
import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any

import duckdb
import pandas as pd
import pyarrow as pa
import pytest

import fti_assets as fti
from fti_assets import testing
from fti_assets.core.manifest import Column
from fti_assets.errors import list_some
from fti_assets.training.datasets.checks.rows import ROW_SPLIT, VISIBLE_LABEL, judge_rows
from fti_assets.training.datasets.leaks.telling import LabelFacts, not_ruled_out, telling_features
from tests.features import oracles
from tests.features.oracles import START
from tests.support.examples import repetitions

HOUR = timedelta(hours=1)


@pytest.fixture
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    with oracles.connection_to_shared() as connection:
        yield connection


def problems(
    connection: duckdb.DuckDBPyConnection,
    label: Column,
    y: Sequence[Any],
    known: bool = False,
    coverage: Any = None,
    train: float = math.inf,
    joins: Any = None,
    nulls_lost: Any = (),
    **features: tuple[Any, Sequence[Any]],
) -> dict[str, str]:
    """What each failed rule says, by its name."""
    kinds = {
        "boolean": pa.bool_(), "integer": pa.int64(), "number": pa.float64(), "text": pa.string(), "timestamp": pa.timestamp("us")
    }  # fmt: skip
    columns = {
        "y": pa.array(y, kinds[label.type]),
        VISIBLE_LABEL: pa.array([known] * len(y)),
        ROW_SPLIT: pa.array(["train" if number < train else "test" for number in range(len(y))]),
        **{name: pa.array(values, kinds[kind]) for name, (kind, values) in features.items()},
    }
    connection.execute("DROP TABLE IF EXISTS judged")
    connection.from_arrow(pa.table(columns)).create("judged")
    inputs = [Column(name, kind) for name, (kind, _) in features.items()]
    results = judge_rows(connection, '"judged"', inputs, label, "y", coverage or {}, joins, nulls_lost=nulls_lost)
    assert all(not verdict.rule.blocking for verdict in results)
    return {verdict.rule.name: verdict.problem for verdict in results if not verdict.passed}


RANDOM = random.Random(5)
MANY = [RANDOM.random() for _ in range(400)]
YES = [value > 0.6 for value in MANY]
NOISE = [RANDOM.random() for _ in MANY]
FLAG = Column("paid", "boolean")


def told(
    connection: duckdb.DuckDBPyConnection, kind: str, values: Sequence[Any], y: Any = YES, of: Column = FLAG
) -> bool:
    """Whether the feature is found to tell the label, and nothing else is found."""
    results = problems(connection, of, y, f=(kind, values), noise=("number", NOISE[: len(y)]))
    assert set(results) <= {"features_do_not_tell_label"}
    return bool(results) and "'f' alone tells" in results["features_do_not_tell_label"]


def tellers(
    connection: duckdb.DuckDBPyConnection,
    features: Mapping[str, tuple[Any, Sequence[Any]]],
    y: Any = YES,
    of: Column = FLAG,
) -> list[str]:
    """The features of some that are found to tell the label, and nothing else is found."""
    results = problems(connection, of, y, **features, noise=("number", NOISE[: len(y)]))
    assert set(results) <= {"features_do_not_tell_label"}
    sentence = results.get("features_do_not_tell_label", "")
    return [name for name in features if repr(name) in sentence]


def test_each_feature_that_tells_the_label_is_found(connection: duckdb.DuckDBPyConnection) -> None:
    booleans_and_numbers = {
        "yes": ("boolean", YES),
        "no": ("boolean", [not yes for yes in YES]),
        "codes": ("integer", [7 if yes else 3 for yes in YES]),
        "more": ("number", MANY),
        "less": ("number", [-value for value in MANY]),
    }
    assert tellers(connection, booleans_and_numbers) == [*booleans_and_numbers]
    others = {
        "number_or_null": ("number", [1.0 if yes else None for yes in YES]),
        "texts": ("text", ["late" if yes else RANDOM.choice(["a", "b"]) for yes in YES]),
        "text_or_null": ("text", [None if yes else "no" for yes in YES]),
        "time": ("timestamp", [START + value * HOUR for value in MANY]),
    }
    assert tellers(connection, others) == [*others]


def test_one_exception_clears_a_feature(connection: duckdb.DuckDBPyConnection) -> None:
    features = {
        "boolean": ("boolean", [yes != (number == 17) for number, yes in enumerate(YES)]),
        "number": ("number", [1 - value if number in (3, 4) else value for number, value in enumerate(MANY)]),
        "text": ("text", [f"{yes}" if number != 9 else f"{not yes}" for number, yes in enumerate(YES)]),
        "names": ("text", [f"id {number}" for number in range(len(YES))]),
        "ids": ("integer", list(range(len(YES)))),
        "other": ("number", NOISE[::-1]),
    }
    assert tellers(connection, features) == []


def test_few_rows_tell_nothing(connection: duckdb.DuckDBPyConnection) -> None:
    assert not told(connection, "number", [0.0] * 5 + [1.0] * 5, [False] * 5 + [True] * 5)
    assert told(connection, "number", [0.0] * 10 + [1.0] * 10, [False] * 10 + [True] * 10)


def test_numbers_and_classes_are_told_too(connection: duckdb.DuckDBPyConnection) -> None:
    amount, kind = Column("amount", "number"), Column("kind", "text")
    assert told(connection, "number", MANY, MANY, amount)
    assert told(connection, "number", [3 * value - 1 for value in MANY], MANY, amount)
    assert not told(connection, "number", [1e300 * value for value in NOISE], MANY, amount)
    classes = [RANDOM.choice("abc") for _ in MANY]
    assert told(connection, "text", classes, classes, kind)
    assert told(connection, "integer", [ord(one) for one in classes], classes, kind)
    assert not told(connection, "text", classes[::-1], classes, kind)


CODES = {"a": 2.5, "b": 0.5, "c": 1.5}
CLASSES = [RANDOM.choice("aabbc") for _ in MANY]
COUNTS = [RANDOM.randrange(12) for _ in MANY]
AMOUNT, COUNT, CLASS = Column("amount", "number"), Column("count", "integer"), Column("class", "text")


def sometimes(values: Sequence[Any]) -> list[Any]:
    return [value if share < 0.4 else None for value, share in zip(values, NOISE, strict=True)]


@pytest.mark.parametrize(
    ("label", "y", "features"),
    [
        (FLAG, YES, {
            "not in order": [1.5 if yes else RANDOM.choice([0.5, 2.5]) for yes in YES],
            "null for some": [1.5 if yes else RANDOM.choice([0.5, None]) for yes in YES]}),
        (CLASS, CLASSES, {
            "codes": [CODES[one] for one in CLASSES],
            "two codes a class": [CODES[one] + RANDOM.choice([0, 10]) for one in CLASSES]}),
        (COUNT, COUNTS, {
            "codes of counts": [(count * 5 % 12) / 2 for count in COUNTS],
            "more than the label": [count**2 + value for count, value in zip(COUNTS, NOISE, strict=True)],
            "falling counts": [-(count**3) * 1.0 for count in COUNTS]}),
        (AMOUNT, MANY, {
            "line": [2 * value + 3 for value in MANY],
            "logarithm": [math.log(value) for value in MANY],
            "inverse": [1 / value for value in MANY],
            "cube with nulls": sometimes([value**3 for value in MANY])}),
    ],
    ids=["flag", "class", "count", "amount"],
)  # fmt: skip
def test_codes_and_copies_in_floats_are_found(
    connection: duckdb.DuckDBPyConnection, label: Column, y: Sequence[Any], features: Mapping[str, list[Any]]
) -> None:
    judged = {}
    for name, values in features.items():
        one = next(at for at, value in enumerate(values) if at > 16 and value is not None)
        other = next(at for at, value in enumerate(values) if value is not None and y[at] != y[one])
        wrong = [values[other] if at == one else value for at, value in enumerate(values)]
        judged |= {name: ("number", values), f"wrong {name}": ("number", wrong)}
    assert tellers(connection, judged, y, label) == [*features]


def test_label_copies_are_found_and_one_difference_clears(connection: duckdb.DuckDBPyConnection) -> None:
    amounts = [RANDOM.random() for _ in range(30_000)]
    codes = [math.floor(amount * 20) % 7 + 0.5 for amount in amounts]
    wrong = [code if number != 12_345 else code + 1 for number, code in enumerate(codes)]
    results = problems(
        connection, AMOUNT, amounts, root=("number", [math.sqrt(amount) for amount in amounts]),
        wrong=("number", [1 - amount if n == 12_345 else amount for n, amount in enumerate(amounts)]), noise=("number", amounts[::-1]),
    )  # fmt: skip
    assert "'root' alone tells the label" in results["features_do_not_tell_label"]
    yes = [code in (1.5, 4.5) for code in codes]
    results = problems(connection, FLAG, yes, code=("number", codes), noise=("number", amounts))
    assert "'code' alone tells the label" in results["features_do_not_tell_label"]
    wrong[12_345] = next(code for code in codes if (code in (1.5, 4.5)) != yes[12_345])
    results = problems(connection, FLAG, yes, code=("number", wrong), noise=("number", amounts))
    assert results["features_do_not_tell_label"].startswith(
        "'code' alone predicts the label 'paid' of 29999 of 30000 rows:"
    )


@pytest.mark.soak
@pytest.mark.parametrize("rows", [20, 40, 200])
@pytest.mark.parametrize("label", ["flag", "rare", "once", "class", "count", "amount"])
def test_honest_features_are_not_accused(connection: duckdb.DuckDBPyConnection, label: str, rows: int) -> None:
    draw = random.Random(f"{label} {rows}")
    ys: dict[str, tuple[Column, list[Any]]] = {
        "flag": (FLAG, [draw.random() < 0.5 for _ in range(rows)]),
        "rare": (FLAG, [number % 20 == 3 for number in range(rows)]),
        "once": (FLAG, [number == 7 for number in range(rows)]),
        "class": (CLASS, [draw.choice("abc") for _ in range(rows)]),
        "count": (COUNT, [min(draw.randrange(30), draw.randrange(30)) for _ in range(rows)]),
        "amount": (AMOUNT, [draw.gauss(10, 4) for _ in range(rows)]),
    }
    of, y = ys[label]
    features: dict[str, tuple[Any, list[Any]]] = {}
    for at in range(repetitions(12)):
        pairs = draw.sample([number // 2 for number in range(rows)], rows)
        features |= {
            f"uniform{at}": ("number", [draw.random() for _ in range(rows)]),
            f"ids{at}": ("integer", draw.sample(range(rows), rows)),
            f"float_ids{at}": ("number", [one * 1.0 for one in draw.sample(range(rows), rows)]),
            f"pairs{at}": ("number", [one / 2 for one in pairs]),
            f"names{at}": ("text", [f"n{one}" for one in pairs]),
            f"few{at}": ("number", [draw.choice([0.5, 1.5, None]) for _ in range(rows)]),
            f"mostly_null{at}": ("number", [draw.random() if n % (rows // 10) == 0 else None for n in range(rows)]),
        }
    features["rank"] = ("integer", list(range(rows)))
    results = problems(connection, of, y, **features)
    assert "features_do_not_tell_label" not in results, results


@pytest.mark.parametrize(("of", "y"), [(AMOUNT, MANY), (COUNT, COUNTS)], ids=["amount", "count"])
def test_one_value_beside_nulls_tells_no_number(
    connection: duckdb.DuckDBPyConnection, of: Column, y: Sequence[Any]
) -> None:
    kinds = {"number": 1.0, "integer": 1, "boolean": True}
    features = {kind: (kind, [one if value > 0.5 else None for value in NOISE]) for kind, one in kinds.items()}
    assert tellers(connection, features, y, of) == []


def test_a_constant_label_is_told_by_nothing(connection: duckdb.DuckDBPyConnection) -> None:
    for label, value in ((FLAG, True), (AMOUNT, 2.5), (CLASS, "a")):
        assert (
            problems(connection, label, [value] * 400, noise=("number", NOISE), ids=("integer", list(range(400)))) == {}
        )


def test_sample_of_many_rows_rules_out_and_never_accuses(connection: duckdb.DuckDBPyConnection) -> None:
    many = [RANDOM.random() for _ in range(30_000)]
    yes = [value > 0.5 for value in many]
    once = [1 - value if number == 123 and not 0.49 < value < 0.51 else value for number, value in enumerate(many)]
    assert (once[123] > 0.5) != yes[123]
    results = problems(connection, FLAG, yes, equal=("number", many), once=("number", once))
    assert list(results) == ["features_do_not_tell_label"]
    assert "'equal' alone tells the label 'paid' of every one of 30000 rows" in results["features_do_not_tell_label"]


@pytest.mark.soak
@pytest.mark.parametrize("kind", ["boolean", "integer", "number", "text", "timestamp"])
def test_few_rows_rule_out_only_what_all_rows_would(connection: duckdb.DuckDBPyConnection, kind: str) -> None:
    draw = random.Random(3)
    sql = {
        "boolean": "b::BOOLEAN",
        "integer": "b * 7",
        "number": "b / 7",
        "text": "'c' || b",
        "timestamp": "TIMESTAMP '2024-01-01' + to_hours(b)",
    }
    for at in range(repetitions(12)):
        rows, shares = (20, 150, 900)[at % 3], [draw.choice([0, 0, 0.003, 0.5]) for _ in range(8)]
        wrong = ", ".join(
            f"if(random() < {share}, NULL, {sql[kind].replace('b', f'(if(random() < {share}, 1 - y, y))', 1)}) AS x{at}"
            for at, share in enumerate(shares)
        )
        connection.execute("DROP TABLE IF EXISTS made")
        connection.execute(
            f"CREATE TABLE made AS SELECT y, {wrong} FROM (SELECT (i % 3 = 0)::INTEGER AS y FROM range({rows}) r(i))"
        )
        features = [Column(f"x{at}", kind) for at in range(len(shares))]  # type: ignore[arg-type]
        requests = LabelFacts(Column("y", "integer"), '"y"', 2, 1, 0, rows)
        left = not_ruled_out(connection, "made", features, requests)
        tell = telling_features(connection, "made", features, requests, least=20)
        assert [one for one in tell if one not in left] == []
        assert [one for one, share in zip(features, shares, strict=True) if not share and one not in left] == []


def test_hundreds_of_features_are_judged(connection: duckdb.DuckDBPyConnection) -> None:
    columns = ", ".join(f"random() AS x{at}" for at in range(400))
    connection.execute(
        f"CREATE TABLE wide AS SELECT i % 2 AS y, true AS {VISIBLE_LABEL}, 'train' AS {ROW_SPLIT}, {columns} FROM range(200) r(i)"
    )
    features = [Column(f"x{at}", "number") for at in range(400)]
    results = judge_rows(connection, "wide", features, Column("y", "integer"), "y", {})
    assert [result.rule.name for result in results if not result.passed] == ["label_unknown_in_time"]


def test_features_without_a_value_or_with_one_are_found(connection: duckdb.DuckDBPyConnection) -> None:
    result = problems(
        connection, FLAG, YES, empty=("number", [None] * 400), same=("text", ["a"] * 400),
        sometimes=("number", [None if value > 0.3 else 1.0 for value in NOISE]), noise=("number", NOISE),
    )  # fmt: skip
    assert result == {"features_vary": "of 400 rows, 'empty' null in every row and 'same' of one value in all of them"}


def test_what_holds_in_the_train_rows_alone_warns(connection: duckdb.DuckDBPyConnection) -> None:
    """A backfill that told the label, or came too late; of all rows it looks sound."""
    later = {at: NOISE[at] for at in range(300, 400)}
    leak = [value if at < 300 else NOISE[at] for at, value in enumerate(MANY)]
    result = problems(
        connection, FLAG, YES, train=300, leak=("number", leak), noise=("number", NOISE), all_told=("number", MANY),
        same=("number", [later.get(at, 7.0) for at in range(400)]), empty=("number", [later.get(at) for at in range(400)]),
        always=("number", [1.0] * 400), tested=("number", [None if at > 300 else NOISE[at] for at in range(400)]),
    )  # fmt: skip
    assert result == {
        "features_vary": "of 400 rows, 'always' of one value in all of them; of the 300 train rows, 'empty' null in every row and "
        "'same' of one value in all of them",
        "features_do_not_tell_label": "'all_told' alone tells the label 'paid' of every one of 400 rows, and 'leak' alone tells the "
        "label 'paid' of every one of the 300 train rows: is it known at the prediction time?",
    }


@pytest.mark.parametrize("rows", [(8_000, 14_000), (13_000, 16_000)])
def test_train_leaks_of_many_rows_are_found(connection: duckdb.DuckDBPyConnection, rows: tuple[int, int]) -> None:
    train, total = rows
    amounts = [RANDOM.random() for _ in range(total)]
    for of, y in (
        (FLAG, [one > 0.4 for one in amounts]),
        (AMOUNT, amounts),
        (CLASS, ["abc"[int(3 * one)] for one in amounts]),
    ):
        leak = [one if at < train else amounts[at - 1] for at, one in enumerate(amounts)]
        results = problems(connection, of, y, train=train, leak=("number", leak), noise=("number", amounts[::-1]))
        assert list(results) == ["features_do_not_tell_label"]
        assert f"'leak' alone tells the label {of.name!r} of every one of the {train} train rows" in next(
            iter(results.values())
        )


def test_a_join_that_finds_only_test_rows_warns(connection: duckdb.DuckDBPyConnection) -> None:
    late = [None if at < 300 else 1 for at in range(400)]
    for shares, problem in (
        ({"(row)": 0.25}, "no row of 'shops_v1' was found for any of the 300 train rows: compare"),
        ({"(row)": 0.0}, "no row of 'shops_v1' was found for any of 400 rows: compare"),
    ):
        results = problems(
            connection, FLAG, YES, train=300, coverage={"shops_v1": shares}, joins={"shops_v1": "matched"},
            noise=("number", NOISE), matched=("integer", late),
        )  # fmt: skip
        assert results["joins_find_rows"].startswith(problem)


def test_joins_without_a_row_and_known_labels_are_found(connection: duckdb.DuckDBPyConnection) -> None:
    coverage = {"shops_v1": {"(row)": 0.0, "size": 0.0}, "crowds_v1": {"(row)": 0.01, "people": 0.0}}
    results = problems(connection, FLAG, YES, known=True, coverage=coverage, noise=("number", NOISE))
    assert set(results) == {"joins_find_rows", "label_unknown_in_time"}
    assert "no row of 'shops_v1' was found for any of 400 rows" in results["joins_find_rows"]
    assert (
        "the label 'paid' of 400 of 400 rows was visible at its own prediction time" in results["label_unknown_in_time"]
    )


def frame(hours: int, **columns: Any) -> pd.DataFrame:
    return pd.DataFrame({"id": range(hours), "t": pd.date_range("2025-01-01", periods=hours, freq="h"), **columns})


@fti.feature_group(keys=["id"], event_time="t")
def orders() -> pd.DataFrame:
    return frame(200, shop=[f"shop {number % 7}" for number in range(200)], late=NOISE[:200], paid=YES[:200])


@fti.feature_group(keys=["shop"], event_time="t", serving_delay="0min")
def crowds() -> pd.DataFrame:
    """Keys that no order has, and local times taken as UTC."""
    return pd.DataFrame(
        {"shop": ["1", "2"], "t": pd.to_datetime(["2025-01-02 00:00", "2025-01-20 02:00"]), "people": [1.0, 2.0]}
    )


@pytest.mark.soak
def test_warnings_are_checks_of_dataset_and_lines_of_its_manifest(tmp_path: Any) -> None:
    view = fti.FeatureView(
        name="paying", spine=orders, label=fti.Label(orders["paid"]), features=[orders["late"], crowds["people"]]
    )
    dataset = fti.training_dataset(name="paying_rows", view=view, split=fti.TimeSplit(validation="1d", test="12d"))

    @fti.model(dataset=dataset, task="binary")
    def payer(data: fti.TrainingData) -> Any:
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression().fit(data.train.X, data.train.y)

    stores = testing.stores_in(tmp_path)
    done = testing.materialize(orders, crowds, dataset, payer, stores=stores, now="2025-01-20")
    assert done.success
    failed = done.failed_checks
    assert {name for name in failed if "paying_rows" in name} == {
        "paying_rows_v1/joins_find_rows", "paying_rows_v1/features_vary", "paying_rows_v1/label_unknown_in_time",
        "paying_rows_v1/times_not_in_future",
    }  # fmt: skip
    assert "1 row of crowds_v1 with 't' after now, up to 2025-01-20 02:00:00" in failed["crowds_v1/rows_not_in_future"]
    assert "1 row of crowds_v1 with times after now" in failed["paying_rows_v1/times_not_in_future"]
    models = stores.model_store()
    card = (models.root / "payer" / models.champion("payer").reference / "card.md").read_text()
    for problem in (text for name, text in failed.items() if "paying_rows" in name):
        assert f"- **warning**: {problem}" in card


@pytest.mark.soak
def test_local_times_warn_and_planned_events_do_not(tmp_path: Any) -> None:
    """Plans name when they were known; of a spine without that column, times ahead are predictions to come."""
    now = pd.Timestamp("2025-01-05")
    opens = now + pd.to_timedelta([-50, -20, 3, 30], "h")

    @fti.feature_group(keys=["id"], event_time="t")
    def bookings() -> pd.DataFrame:
        return frame(200, shop="a", late=NOISE[:200], paid=YES[:200])

    @fti.feature_group(keys=["shop"], event_time="opens", available_at="known")
    def openings() -> pd.DataFrame:
        known = opens - pd.Timedelta("48h")
        return pd.DataFrame({"shop": "a", "opens": opens, "known": known, "seats": [1.0, 2.0, 3.0, 4.0]})

    @fti.feature_group(keys=["shop"], event_time="opens", available_at="known")
    def local_openings() -> pd.DataFrame:
        return pd.DataFrame(
            {"shop": "a", "opens": opens, "known": now + pd.Timedelta("2h"), "rooms": [1.0, 2.0, 3.0, 4.0]}
        )

    view = fti.FeatureView(
        name="booked", spine=bookings, label=fti.Label(bookings["paid"]),
        features=[bookings["late"], openings["seats"], local_openings["rooms"]],
    )  # fmt: skip
    dataset = fti.training_dataset(name="booked_rows", view=view, split=fti.TimeSplit(validation="12h", test="12h"))
    stores = testing.stores_in(tmp_path)
    done = testing.materialize(bookings, openings, local_openings, dataset, stores=stores, now=str(now))
    results = {name: text for name, text in done.failed_checks.items() if "not_in_future" in name}
    assert set(results) == {"local_openings_v1/rows_not_in_future", "booked_rows_v1/times_not_in_future"}
    assert results["booked_rows_v1/times_not_in_future"].startswith("2 rows of local_openings_v1 with times after now")
    assert "of openings_v1" not in results["booked_rows_v1/times_not_in_future"]


SOMETIMES = [RANDOM.random() < 0.3 for _ in MANY]
THREE = ["abc"[int(3 * value)] for value in MANY]


def where_not(nulls: Sequence[bool], values: Sequence[Any]) -> list[Any]:
    return [None if null else value for null, value in zip(nulls, values, strict=True)]


@pytest.mark.parametrize(
    ("label", "y", "features"),
    [
        (FLAG, YES, {
            "won": ("text", ["won" if one else "lost" for one in YES]),
            "codes": ("number", [7.0 if one else 12.0 for one in YES]),
            "yes": ("boolean", YES)}),
        (Column("kind", "text"), THREE, {
            "name": ("text", [f"s{one}" for one in THREE]),
            "code": ("integer", [{"a": 5, "b": 1, "c": 9}[one] for one in THREE])}),
    ],
    ids=["flag", "class"],
)  # fmt: skip
def test_a_feature_that_decides_wherever_it_has_a_value_is_told_with_its_rows(
    connection: duckdb.DuckDBPyConnection,
    label: Column,
    y: Sequence[Any],
    features: Mapping[str, tuple[str, Sequence[Any]]],
) -> None:
    judged = {name: (kind, where_not(SOMETIMES, values)) for name, (kind, values) in features.items()}
    result = problems(connection, label, y, **judged, noise=("number", NOISE))
    with_value = 400 - sum(SOMETIMES)
    assert result == {
        "features_do_not_tell_label": f"{list_some(features)} alone tells the label {label.name!r} of each of the {with_value} rows "
        "that have a value: is it known at the prediction time?"
    }


def test_a_feature_of_few_values_or_of_one_label_decides_nothing(connection: duckdb.DuckDBPyConnection) -> None:
    few = [f"v{one}" if at < 15 else None for at, one in enumerate(YES)]
    one_label = ["yes" if one and NOISE[at] < 0.5 else None for at, one in enumerate(YES)]
    unlike = [f"{one}{at}" for at, one in enumerate(YES)]
    features = {"few": few, "one_label": one_label, "unlike": where_not(SOMETIMES, unlike)}
    assert tellers(connection, {name: ("text", values) for name, values in features.items()}) == []


def test_one_value_or_null_is_dull_where_the_encoder_loses_the_null(connection: duckdb.DuckDBPyConnection) -> None:
    features = {"once": ("number", where_not(SOMETIMES, [2.0] * 400)), "noise": ("number", NOISE)}
    assert problems(connection, FLAG, YES, **features) == {}
    assert problems(connection, FLAG, YES, nulls_lost=["once", "noise"], **features) == {
        "features_vary": "of 400 rows, 'once' of one value or null, of which the encoder makes one value"
    }
    later = [2.0 if at < 300 else NOISE[at] for at in range(400)]
    result = problems(
        connection, FLAG, YES, train=300, nulls_lost=["once"], once=("number", where_not(SOMETIMES, later)), noise=("number", NOISE)
    )  # fmt: skip
    assert result == {
        "features_vary": "of the 300 train rows, 'once' of one value or null, of which the encoder makes one value"
    }
