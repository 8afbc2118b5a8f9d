"""The hash of a random split: the same values for ever."""

import hashlib
from typing import Any

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fti_assets.training.datasets.splits.hash_split import share_sql


def shares(rows: list[tuple[Any, ...]], types: list[str], seed: int) -> list[float]:
    names = [f"key {number}" for number in range(len(types))]
    with duckdb.connect() as connection:
        columns = ", ".join(f'"{name}" {kind}' for name, kind in zip(names, types, strict=True))
        connection.execute(f"CREATE TABLE rows (place INTEGER, {columns})")
        connection.executemany(
            f"INSERT INTO rows VALUES (?, {', '.join('?' * len(types))})",
            [(place, *row) for place, row in enumerate(rows)],
        )
        results = connection.execute(f"SELECT {share_sql(names, seed)} FROM rows ORDER BY place").fetchall()
    return [share for (share,) in results]


def by_hand(row: tuple[Any, ...], seed: int) -> float:
    texts = [str(key).lower() if isinstance(key, bool) else str(key) for key in row]
    text = f"{seed}|" + "".join(f"{len(one.encode())}:{one}" for one in texts)
    return int(hashlib.md5(text.encode()).hexdigest()[:13], 16) / 16**13


@pytest.mark.parametrize(
    ("row", "types", "seed", "share"),
    [
        ((7,), ["BIGINT"], 0, 0.7150041607676783),
        ((7,), ["INTEGER"], 1, 0.9502693065993593),
        (("a", True), ["VARCHAR", "BOOLEAN"], 0, 0.5595463666259588),
    ],
)
def test_the_share_of_a_key_is_fixed(row: tuple[Any, ...], types: list[str], seed: int, share: float) -> None:
    assert shares([row], types, seed) == [share]


TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
ROWS = st.tuples(st.integers(-(2**63), 2**63 - 1), TEXT, st.booleans())


@given(st.lists(ROWS, min_size=1, max_size=5), st.integers(0, 99))
def test_shares_are_those_of_pythons_md5(rows: list[tuple[Any, ...]], seed: int) -> None:
    assert shares(rows, ["BIGINT", "VARCHAR", "BOOLEAN"], seed) == [by_hand(row, seed) for row in rows]


def test_keys_that_read_alike_together_are_told_apart() -> None:
    one, other = shares([("a", "bc"), ("ab", "c")], ["VARCHAR", "VARCHAR"], 0)
    assert one != other


@pytest.mark.parametrize("kind", ["DOUBLE", "FLOAT"])
def test_floats_that_are_equal_have_one_share(kind: str) -> None:
    nan = float("nan")
    zero, negative, one, other, same = shares([(0.0,), (-0.0,), (-1.5,), (nan,), (-nan,)], [kind], 3)
    assert zero == negative == by_hand((0.0,), 3)
    assert one == by_hand((-1.5,), 3)
    assert other == same == by_hand((nan,), 3)
    assert shares([("-0.0",)], ["VARCHAR"], 3) == [by_hand(("-0.0",), 3)], "texts are what they are"
