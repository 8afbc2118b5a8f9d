"""Namespaces of windows at the time of a request: what they say of themselves, and sums that 64 bits do not hold."""

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import pytest

from fti_assets.core.manifest import Column, RequestWindows, WindowAggregate, WindowLength, WindowSource
from fti_assets.errors import DataError, DeclarationError, StoreError
from fti_assets.features.online.tails import with_sources
from fti_assets.stores.online.about import WINDOWS_FORMAT, Schema
from fti_assets.stores.online.store import SqliteOnlineStore
from fti_assets.stores.online.tails.layout import TailLayout
from fti_assets.stores.online.tails.tails import Rows, TailFormat
from fti_assets.stores.online.tails.values import array_of

HOUR = 3_600_000_000
WINDOWS = RequestWindows(
    "payments", 1, HOUR, (WindowLength("2h", 2 * HOUR),), (WindowAggregate("spent", "sum", "amount"),),
    (WindowSource("amount", "integer"),),
)  # fmt: skip
SCHEMA = Schema(("text",), (Column("spent_2h", "integer"),), True, WINDOWS_FORMAT, windows=WINDOWS)


def loaded(folder: Path, amounts: list[int], schema: Schema = SCHEMA) -> SqliteOnlineStore:
    """A store of one card, with a payment a second from the epoch on."""
    tails = TailFormat(TailLayout(WINDOWS))
    seconds = np.arange(len(amounts), dtype=np.int64) * 1_000_000
    columns = {"amount": (array_of(amounts, "integer"), np.zeros(len(amounts), dtype=bool))}
    rows = Rows([b"a"], np.zeros(1, dtype=np.int64), seconds, seconds, seconds, columns)
    store = SqliteOnlineStore(folder / "online")
    with store.writing("spending_v1") as writer:
        blobs = tails.pack(tails.since(tails.of_rows(rows), 0))
        writer.load(schema, blobs, answers_from=datetime(1970, 1, 1), snapshot=1, origin="")
    return store


def test_a_sum_beyond_64_bits_is_an_error_that_says_so(tmp_path: Path) -> None:
    reader = loaded(tmp_path, [2**62, 2**62, -1]).reader("spending_v1")
    winner = reader.get(("a",), 500_000)
    assert winner is not None
    assert winner.values == (2**62,)
    for ask in (lambda: reader.get(("a",), 1_500_000), lambda: reader.get_many([("a",), ("b",)], 1_500_000)):
        with pytest.raises(DataError, match=r"sum of .amount. over 2h is 9223372036854775808, beyond the 64 bits"):
            ask()
    later = reader.get(("a",), 2_000_000)
    assert later is not None
    assert later.values == (2**63 - 1,)


def test_an_earlier_layout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="was written in layout 2, this release of fti-assets reads 3"):
        loaded(tmp_path, [1], replace(SCHEMA, format=2)).reader("spending_v1")


@pytest.mark.parametrize(
    "changes",
    [
        {"lengths": []},
        {"every_us": 0},
        {"sources": []},
        {"aggregates": []},
        {"aggregates": [{"name": "spent", "kind": "sum", "column": None, "per_us": None}]},
        {"aggregates": [{"name": "spent", "kind": "total", "column": "amount", "per_us": None}]},
        {"aggregates": [{"name": "spent", "kind": "sum", "column": "amount", "n": 2}]},
        {"aggregates": [{"name": "spent", "kind": "percentile", "column": "amount", "share": 1.5}]},
        {"aggregates": [{"name": "spent", "kind": "sessions", "gap_us": 0, "of": "rows"}]},
        {"aggregates": [{"name": "spent", "kind": "sessions", "gap_us": 5, "of": "days"}]},
    ],
)
def test_a_schema_whose_windows_cannot_be_computed_is_damaged(changes: dict[str, object]) -> None:
    plain = json.loads(SCHEMA.to_json())
    assert Schema.from_json(json.dumps(plain)) == SCHEMA
    plain["windows"] |= changes
    with pytest.raises(ValueError, match=r"its windows|\$\.windows|aggregates"):
        Schema.from_json(json.dumps(plain))


@pytest.mark.parametrize(
    "aggregate",
    [
        WindowAggregate("amounts", "distinct_count", "amount"),
        WindowAggregate("amounts", "last", "amount", n=2, distinct=True),
    ],
)
def test_decimals_that_are_no_floats_of_their_own_are_not_counted_online(aggregate: WindowAggregate) -> None:
    counted = replace(WINDOWS, aggregates=(aggregate,), sources=())
    assert with_sources(counted, {"amount": "DECIMAL(15,2)"}).sources == (WindowSource("amount", "number"),)
    with pytest.raises(DeclarationError, match=r"'amounts' takes the different 'amount', DECIMAL\(18,2\)"):
        with_sources(counted, {"amount": "DECIMAL(18,2)"})
