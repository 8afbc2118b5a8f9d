"""Rows are judged the same whether or not values like theirs were accepted before."""

from __future__ import annotations

from datetime import datetime
from unittest import mock

import pandera.pandas as pa
import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.features.events.accepted_values import AcceptedValues
from fti_assets.features.events.row_rules import RowRules

TYPES = {
    "card": "VARCHAR", "kind": "VARCHAR", "amount": "DOUBLE", "count": "BIGINT", "at": "TIMESTAMP", "flag": "BOOLEAN",
}  # fmt: skip
ARROW = {
    "card": pyarrow.string(), "kind": pyarrow.string(), "amount": pyarrow.float64(), "count": pyarrow.int64(),
    "at": pyarrow.timestamp("us"), "flag": pyarrow.bool_(),
}  # fmt: skip


def schema(**more: pa.Column) -> pa.DataFrameSchema:
    columns = {
        "card": pa.Column(str), "kind": pa.Column(str, pa.Check.isin(["a", "b"]), nullable=True),
        "amount": pa.Column(float, [pa.Check.ge(0), pa.Check.lt(10)], nullable=True),
        "count": pa.Column(int, pa.Check.gt(-5)), "at": pa.Column("datetime64[us]"), "flag": pa.Column(bool),
    }  # fmt: skip
    return pa.DataFrameSchema(columns | more)


amounts = st.sampled_from([None, float("nan"), float("inf"), -float("inf"), -0.0, 0.0, -1e-300, 3.5, 9.999, 10.0])
rows = st.lists(
    st.fixed_dictionaries(
        {
            "card": st.sampled_from([None, "", "c1", "c2"]), "kind": st.sampled_from([None, "a", "b", "c", ""]), "amount": amounts,
            "count": st.sampled_from([None, -(2**63), -5, -4, 2**53, 2**53 + 1, 2**63 - 1]),
            "at": st.sampled_from([None, datetime(2024, 5, 1)]), "flag": st.sampled_from([None, True, False]),
        }
    ),
    max_size=4,
)  # fmt: skip


def table(values: list[dict[str, object]]) -> pyarrow.Table:
    return pyarrow.table({name: pyarrow.array([one[name] for one in values], kind) for name, kind in ARROW.items()})


RULES = RowRules(schema(), TYPES)


def rules_of_none_accepted() -> RowRules:
    RULES._accepted = RULES._acceptable(TYPES)
    return RULES


@settings(max_examples=60, deadline=None)
@given(st.lists(rows, min_size=2, max_size=6))
def test_a_batch_is_judged_as_if_it_were_the_first(batches):
    rules = rules_of_none_accepted()
    for batch in batches:
        with mock.patch.object(AcceptedValues, "covers", return_value=False), mock.patch.object(AcceptedValues, "add"):
            expected = rules.problems(table(batch))
        assert rules.problems(table(batch)) == expected


def test_values_between_accepted_ones_are_not_judged_again():
    rules = rules_of_none_accepted()
    right = {"card": "c", "kind": "a", "amount": 1.0, "count": 1, "at": datetime(2024, 5, 1), "flag": True}
    assert rules.problems(table([right, right | {"amount": 9.0, "count": 40, "kind": None}])) == {}
    with mock.patch.object(rules, "_connection", None):  # nobody may ask it
        assert rules.problems(table([right | {"card": "new", "amount": 8.5, "count": 39}])) == {}
        for change in ({"amount": 9.5}, {"count": 41}, {"kind": "b"}, {"card": None}, {"flag": None}):
            with pytest.raises(AttributeError):
                rules.problems(table([right | change]))


@pytest.mark.parametrize(
    ("name", "column"),
    [
        ("share", pa.Column("float32", nullable=True)),  # which numbers 32 bits hold has no bounds
        ("small", pa.Column("int8", nullable=True)),
        ("count", pa.Column(int, pa.Check.isin([1, 3]))),
        ("card", pa.Column(str, pa.Check.str_matches("a.c"))),  # SQL may be unsure
        ("at", pa.Column("datetime64[us]", pa.Check.ge(datetime(2024, 1, 1)))),
    ],
)
def test_rules_of_other_kinds_are_asked_each_time(name, column):
    types = TYPES | {"share": "DOUBLE", "small": "BIGINT"}
    rules = RowRules(schema(**{name: column}), {one: types[one] for one in {*TYPES, name}})
    assert rules._accepted is None
