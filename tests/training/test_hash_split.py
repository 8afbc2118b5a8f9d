"""Splits by the hash of columns: the parts of rows, what is refused, and which rows a champion of one has not trained on."""

from collections.abc import Mapping
from datetime import datetime
from hashlib import md5
from types import SimpleNamespace
from typing import Any, cast

import duckdb
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fti_assets as fti
from fti_assets.core.manifest import RandomParts
from fti_assets.errors import DataError, DeclarationError
from fti_assets.training.datasets.splits.hash_split import HASH
from fti_assets.training.models.champions.champion import _Incomparable, _untrained_rows
from fti_assets.training.models.parts.split_rows import ROW, SplitRows
from fti_assets.training.trainer.parts.rows import RowsInMemory
from tests.training.test_dataset_rows import connection, declared, hours, made, row, spine

__all__ = ["connection"]


def share(seed: int, *keys: object) -> float:
    text = f"{seed}|" + "".join(f"{len(str(key).encode())}:{key}" for key in keys)
    return int(md5(text.encode()).hexdigest()[:13], 16) / 16**13


def part(share: float, validation: float, test: float) -> str:
    return "test" if share < test else "validation" if share < test + validation else "train"


def splits(connection: duckdb.DuckDBPyConnection, split: Any, rows: list[Any], cutoff: float = 900) -> dict[int, str]:
    """The part of each row by its id."""
    label = fti.Label(spine["y"], maturity="24h")
    _, by_id = made(connection, declared(label, split=split), {spine: rows}, cutoff)
    return {number: one["split"] for number, one in by_id.items()}


def test_entities_stay_whole_whatever_rows_come(connection: duckdb.DuckDBPyConnection) -> None:
    split = fti.GroupSplit(by="k", validation=0.3, test=0.3, seed=2)
    rows = [row(number, number, k=f"shop {number % 40}") for number in range(400)]
    few, many = splits(connection, split, rows[::2], cutoff=401), splits(connection, split, rows[::-1])
    assert many == {number: part(share(2, f"shop {number % 40}"), 0.3, 0.3) for number in range(400)}
    assert few == {number: many[number] for number in range(0, 377, 2)}, "younger ones are immature"


def test_hash_of_all_keys_is_that_of_random_split(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(number, number) for number in range(200)]
    of_all = splits(connection, fti.HashSplit(seed=3), rows)
    assert of_all == splits(connection, fti.HashSplit(seed=3, keys=["id"]), rows)
    assert of_all == {number: part(share(3, number), 0.2, 0.2) for number in range(200)}


def test_negative_zero_is_the_entity_zero(connection: duckdb.DuckDBPyConnection) -> None:
    values = [0.0, -0.0, *(number / 2 for number in range(1, 20))]
    rows = [row(number, number) | {"own": value} for number, value in enumerate(values)]
    parts = splits(connection, fti.GroupSplit(by="own", validation=0.3, test=0.3, seed=1), rows)
    assert parts == {number: part(share(1, abs(value)), 0.3, 0.3) for number, value in enumerate(values)}
    assert part(share(1, -0.0), 0.3, 0.3) != parts[0], "as text it is another"


def test_dataset_keeps_the_entity_beside_its_rows(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(number, 0, k=f"s{number}") for number in range(20)]
    _, by_id = made(connection, declared(fti.Label(spine["y"]), split=fti.GroupSplit(by="k")), {spine: rows}, 9)
    assert {number: one["k"] for number, one in by_id.items()} == {number: f"s{number}" for number in range(20)}
    dataset = declared(fti.Label(spine["y"]), split=fti.GroupSplit(by="own"))
    _, by_id = made(connection, dataset, {spine: rows}, 9)
    assert list(by_id[1]) == ["id", "t", "own", "y", "split"], "a feature is there already"


def test_rows_without_an_entity_are_refused(connection: duckdb.DuckDBPyConnection) -> None:
    rows = [row(1, 0, k=None), row(2, 0, k=None, y=None), row(3, 0)]
    with pytest.raises(DataError, match="has 1 row without 'k', so it is unknown which part"):
        splits(connection, fti.GroupSplit(by="k"), rows)
    with pytest.raises(DataError, match=r"is split by 'shop', which its spine spine_v1 does not have: .*'k'"):
        splits(connection, fti.GroupSplit(by="shop"), rows)


def view(label: str, features: list[str], *, of_group: Any = None) -> fti.FeatureView:
    @fti.feature_group(keys=["visit", "shop"], event_time="t", schema=of_group)
    def visits() -> pd.DataFrame: ...

    @fti.feature_group(keys=["shop"])
    def shops() -> pd.DataFrame: ...

    columns = [visits["x"], *([shops[features]] if features else [])]
    return fti.FeatureView(name="v", spine=visits, label=fti.Label(visits[label]), features=columns)


@pytest.mark.parametrize(
    ("split", "said"),
    [
        (fti.HashSplit(keys=["town"]), r"by the hash of 'town', but the spine visits_v1 has the keys .*GroupSplit\(by='town'\)"),
        (fti.GroupSplit(by="y"), "is split by its label 'y'"),
        (fti.GroupSplit(by=["town", "size"]), "split by the spine's column 'size', and a feature from elsewhere is called so"),
        (fti.GroupSplit(by="split"), "the column 'split' is the dataset's own"),
        (fti.RandomSplit(), r"write split=fti.HashSplit\(\) or fti.GroupSplit\(by=...\)"),
    ],
)  # fmt: skip
def test_splits_that_cannot_be_are_refused_at_load(split: Any, said: str) -> None:
    with pytest.raises(DeclarationError, match=said):
        fti.training_dataset(name="d", view=view("y", ["size"]), split=split)


def test_known_columns_are_held_against_the_split() -> None:
    import pandera.pandas as pa

    schema = pa.DataFrameSchema(
        {"visit": pa.Column(int), "shop": pa.Column(int), "t": pa.Column("datetime64[us]"), "x": pa.Column(float), "y": pa.Column(float)}
    )  # fmt: skip
    with pytest.raises(DeclarationError, match="is split by 'town', which its spine visits_v1 does not have"):
        fti.training_dataset(name="d", view=view("y", [], of_group=schema), split=fti.GroupSplit(by="town"))


TIMES = st.none() | st.integers(0, 40)


@given(
    st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["a", "b", "c"])), min_size=1, max_size=12),
    TIMES,
    st.none() | st.sampled_from([(), ("shop",), ("town",)]),
    st.sampled_from([HASH, "another"]),
)
def test_champion_is_compared_on_rows_it_never_had(
    rows: list[tuple[int, str]], until: int | None, columns: tuple[str, ...] | None, name: str
) -> None:
    times = None if until is None else np.array([hours(number) for number, _ in rows], "datetime64[us]")
    with duckdb.connect() as connection:
        connection.execute(f'CREATE TABLE "part" ({ROW} BIGINT, id BIGINT, shop VARCHAR)')
        connection.executemany('INSERT INTO "part" VALUES (?, ?, ?)', [(n + 1, *one) for n, one in enumerate(rows)])
        test = SplitRows(RowsInMemory({}, len(rows)), np.zeros(len(rows)), times, '"part"')
        parts = None if columns is None else RandomParts(name, 1, 0.4, 0.2, columns)
        limit = None if until is None else cast(datetime, hours(until))
        record = SimpleNamespace(trained_until=None if limit is None else limit.isoformat(), random_parts=parts)
        keys = SimpleNamespace(spine_keys=("id",))
        champion, dataset = SimpleNamespace(dataset=record, view=keys), SimpleNamespace(view=keys)

        def is_new(number: int, shop: str) -> bool:
            later = limit is not None and cast(datetime, hours(number)) > limit
            values: Mapping[tuple[str, ...], Any] = {(): number, ("shop",): shop}
            of_hash = parts is not None and name == HASH and columns in values and share(1, values[columns]) < 0.4
            return later or of_hash

        expected = [is_new(*one) for one in rows]
        arguments: Any = (SimpleNamespace(connection=connection), champion, dataset, test)
        if any(expected):
            assert _untrained_rows(*arguments).tolist() == expected
        else:
            with pytest.raises(_Incomparable):
                _untrained_rows(*arguments)
