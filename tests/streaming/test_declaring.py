"""A stream that a group could not take its rows from is refused when the code loads."""

from __future__ import annotations

from datetime import datetime

import dagster as dg
import pandera.pandas as pa
import pytest

import fti_assets as fti
from fti_assets.errors import DeclarationError
from fti_assets.testing import MemoryStream
from tests.support.payments import Payments

DAYS = dg.DailyPartitionsDefinition(start_date="2024-04-01")
TERMS = {
    "keys": ["card"],
    "event_time": "at",
    "available_at": "stored_at",
    "schema": Payments,
    "partitions_def": DAYS,
    "stream": MemoryStream("payments"),
}


class WithoutType(Payments):
    more: object


class Parsed(Payments):
    @pa.dataframe_parser
    def parse(cls, frame):  # noqa: N805
        return frame


class WithoutKey(pa.DataFrameModel):
    at: datetime
    stored_at: datetime


@pytest.mark.parametrize(
    ("terms", "problem"),
    [
        ({"stream": "nats://here"}, "stream of feature group payments_v1 is 'nats://here': give fti.NatsStream"),
        ({"available_at": None, "serving_delay": "1s"}, "names no available_at"),
        ({"available_at": None, "online": True}, "names no available_at"),
        ({"event_time": None, "available_at": None, "partition_by": "at"}, "names no event_time"),
        ({"partitions_def": None}, "no partitions of time"),
        ({"partitions_def": dg.StaticPartitionsDefinition(["a"])}, "no partitions of time"),
        ({"schema": None}, "has no schema"),
        ({"schema": WithoutType}, "says something else of 'more'"),
        ({"schema": Parsed}, "changes rows or names columns by a pattern"),
        ({"duplicates": fti.KeepLast("stored_at")}, "name tie_break instead"),
        ({"keys": ["amount"]}, "key 'amount' is number"),
    ],
)
def test_what_a_stream_lacks_is_said(terms, problem):
    with pytest.raises(DeclarationError, match=problem):
        fti.feature_group(name="payments", **(TERMS | terms))(lambda: None)


def test_columns_that_the_schema_lacks_are_named():
    with pytest.raises(DeclarationError, match="has no column 'card'"):
        fti.feature_group(name="payments", **(TERMS | {"schema": WithoutKey}))(lambda: None)


def test_the_page_of_a_group_says_its_stream_without_secrets():
    stream = fti.NatsStream("payments", url="nats://user:secret@host:4222")
    group = fti.stream_feature_group(name="payments", **(TERMS | {"stream": stream}))
    [spec] = group.assets_def.specs
    assert spec.metadata["stream"].startswith("NATS stream payments at nats://")
    assert "secret" not in str(spec.metadata)
