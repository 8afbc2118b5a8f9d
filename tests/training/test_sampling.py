"""Samples of train rows: which stay, what is counted, and what is refused."""

from collections import Counter
from typing import Any

import duckdb
import pytest

import fti_assets as fti
from fti_assets.errors import DataError, DeclarationError
from fti_assets.training.datasets.sampling.sample import class_sql
from fti_assets.training.datasets.splits.hash_split import share_sql
from tests.features.oracles import Row
from tests.training.test_dataset_rows import connection, declared, made, people, row
from tests.training.test_hash_split import share

__all__ = ["connection"]

LABEL = fti.Label(people["y"])
ROWS = [row(number, 0, y=float(number % 3 == 0)) for number in range(600)]
SPLIT = fti.HashSplit(validation=0.2, test=0.2)


def parts(connection: duckdb.DuckDBPyConnection, rows: list[Row] = ROWS, **terms: Any) -> tuple[Any, dict[int, str]]:
    dataset = declared(LABEL, of=people, split=SPLIT, **terms)
    result, by_id = made(connection, dataset, {people: rows}, cutoff=9)
    return result, {number: one["split"] for number, one in by_id.items()}


def sampling_share(number: int, seed: int = 0) -> float:
    return share(f"sample{seed}", number)  # type: ignore[arg-type]


def test_negatives_of_train_are_sampled_by_hash(connection: duckdb.DuckDBPyConnection) -> None:
    _, whole = parts(connection)
    result, sampled = parts(connection, sample=fti.Sample(negatives=0.25, seed=3))
    removed = {
        number for number, part in whole.items() if part == "train" and number % 3 and sampling_share(number, 3) >= 0.25
    }
    assert sampled == {number: part for number, part in whole.items() if number not in removed}
    assert result.left_out["sampled out"] == len(removed) > 0
    train = Counter(number % 3 == 0 for number, part in whole.items() if part == "train")
    assert (result.sample.shares, result.sample.rows) == ({"0": 0.25}, {"0": train[False]})
    assert result.sample.kept == {"0": train[False] - len(removed)}
    _, fewer = parts(connection, ROWS[::-2], sample=fti.Sample(negatives=0.25, seed=3))
    assert fewer == {number: part for number, part in sampled.items() if number % 2}, "rows that come move no other"


def test_all_rows_or_classes_are_sampled(connection: duckdb.DuckDBPyConnection) -> None:
    result, sampled = parts(connection, sample=fti.Sample(rows=0.5))
    train = [number for number, part in sampled.items() if part == "train"]
    assert result.sample.kept == {"": len(train)}
    assert all(sampling_share(number) < 0.5 for number in train)
    result, sampled = parts(connection, sample=fti.Sample(classes={"1": 0.5, "0": 0.1}))
    train = [number for number, part in sampled.items() if part == "train"]
    assert all(sampling_share(number) < (0.1 if number % 3 else 0.5) for number in train)
    assert result.sample.kept == {"0": sum(n % 3 > 0 for n in train), "1": sum(n % 3 == 0 for n in train)}


def test_sample_does_not_depend_on_the_split(connection: duckdb.DuckDBPyConnection) -> None:
    """With one hash for both, train rows would all be beyond the share that stays."""
    _, sampled = parts(connection, sample=fti.Sample(rows=0.3))
    kept = sum(part == "train" for part in sampled.values())
    assert kept / (0.6 * len(ROWS)) == pytest.approx(0.3, abs=0.08)


@pytest.mark.parametrize(
    ("sample", "rows", "said"),
    [
        (fti.Sample(negatives=0.5), [row(1, 0, y=2.0), row(2, 0, y=0.0), row(3, 0, y=0.5)],
            r"it has the labels .*'0.5'.*fti.Sample\(classes="),
        (fti.Sample(classes={"a": 0.5, "0": 0.5}), ROWS, "a sample of the class 'a', which no train row has: there is '0' and '1'|'1'"),
        (fti.Sample(negatives=0.000001), ROWS, r"keeps none of \d+ train rows of class '0' with a share of 1e-06"),
        (fti.Sample(rows=0.000001), ROWS, r"no row to train on: 600 rows .*sampled out.*Give sample= a larger share"),
        (fti.Sample(rows=0.5), [row(1, 0, y=None)], "no row to train on: .*1 unlabelled"),
    ],
)  # fmt: skip
def test_samples_that_leave_nothing_are_refused(
    connection: duckdb.DuckDBPyConnection, sample: fti.Sample, rows: list[Row], said: str
) -> None:
    with pytest.raises(DataError, match=said):
        parts(connection, rows, sample=sample)


@pytest.mark.parametrize(
    "terms", [{}, {"rows": 0.5, "negatives": 0.1}, {"rows": 1.0}, {"negatives": 0.0}, {"classes": {"a": 2.0}}, {"rows": 0.5, "seed": -1}]
)  # fmt: skip
def test_samples_that_cannot_be_are_refused_at_load(terms: dict[str, Any]) -> None:
    with pytest.raises(DeclarationError, match=r"[Ss]ample"):
        fti.Sample(**terms)


@pytest.mark.parametrize(
    ("kind", "sql", "values", "names"),
    [
        ("boolean", "BOOLEAN", [True, False], ["1", "0"]),
        ("integer", "BIGINT", [-3, 2**62], ["-3", str(2**62)]),
        ("number", "DOUBLE", [2.0, 0.5, float("nan"), 1e300], ["2", "0.5", "nan", "1e+300"]),
        ("text", "VARCHAR", ["a b", "1"], ["a b", "1"]),
    ],
)
def test_classes_are_named_as_a_model_names_them(kind: Any, sql: str, values: list[Any], names: list[str]) -> None:
    with duckdb.connect() as connection:
        connection.execute(f"CREATE TABLE labels (y {sql})")
        connection.executemany("INSERT INTO labels VALUES (?)", [(one,) for one in values])
        assert [
            name for (name,) in connection.execute(f"SELECT {class_sql('y', kind)} FROM labels").fetchall()
        ] == names


def test_shares_of_a_purpose_are_pinned() -> None:
    with duckdb.connect() as connection:
        query = f"SELECT {share_sql(['id'], 4, purpose='sample')} FROM (SELECT 7::BIGINT AS id)"
        assert connection.execute(query).fetchall() == [(sampling_share(7, 4),)]
    assert sampling_share(7, 4) == 0.6304437670890375
