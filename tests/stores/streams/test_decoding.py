"""What events say, held against Python's own JSON; and reasons in place of errors, whatever the bytes are."""

from __future__ import annotations

import enum
import json
import math
import time
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec
import pydantic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fti_assets.errors import DeclarationError
from fti_assets.stores.streams.decoding import PAYLOAD_BYTES, Decode, event_decoder
from fti_assets.stores.streams.event import Event
from tests.support.examples import examples

COLUMNS = ("card", "amount", "at", "flags")
decode = event_decoder(COLUMNS)


def of(payload: bytes, decoder: Decode = decode) -> Any:
    return decoder(Event(0, 1, 0, payload))


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "it cannot be read: Input data was truncated"),
        (b"null", "it is None, and no JSON object"),
        (b"[1]", "no JSON object"),
        (b'"card"', "it is 'card', and no JSON object"),
        (b'{"card": "a"', "truncated"),
        (b'{"card": "a"} x', "trailing characters"),
        (b'{"card": "\xff"}', r"it is no UTF-8: byte b'\\xff' \(invalid start byte\)"),
        (b'{"card": "\\ud800"}', "half of a character"),
        (b'{"amount": NaN}', "malformed"),
        (b'{"amount": Infinity}', "malformed"),
        (b'{"amount": 1e999}', "Number out of range"),
        (b'{"card": 1, "card": 2}', "the name 'card' stands twice in one object"),
        (b'{"card" : 1, "c\\u0061rd"\n:2}', "the name 'card' stands twice in one object"),
        (b'{"flags": {"a": 1, "a": 2}}', "the name 'a' stands twice"),
        (b'[{"card": 1, "card": 2}]', "the name 'card' stands twice"),
        (b'{"card": "a", "amout": 1, "other": 2}', "it has 'amout' and 'other', which is none of the columns 'card', 'amount'"),
        (b'{"card": ' + b"[" * 100_000, "nested too deeply"),
        (b'{"card": "' + b"x" * PAYLOAD_BYTES + b'"}', "it has 1,048,588 bytes, and at most 1,048,576 are taken"),
        (b"\xef\xbb\xbf{}", "malformed"),
        (b"1" * 10_000, "it (is|cannot be read)"),
    ],
)  # fmt: skip
def test_an_event_that_says_nothing_has_its_reason(payload: bytes, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        raise AssertionError(of(payload))
    assert isinstance(of(payload), str)


def test_texts_that_look_like_names_are_texts() -> None:
    payload = json.dumps({"card": '"card":', "at": '{"card": 1}', "flags": [{"card": 1}, {"card": 2}]}).encode()
    assert of(payload) == json.loads(payload)


def test_what_the_broker_could_not_give_keeps_its_reason() -> None:
    assert decode(Event(0, 1, 0, b'{"card": "a"}', "the message has no value")) == "the message has no value"


def strict(payload: bytes) -> Any:
    """Python's JSON, with what it takes beyond the standard refused."""

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        assert len(dict(pairs)) == len(pairs)
        return dict(pairs)

    def finite(text: str) -> float:
        assert math.isfinite(float(text))
        return float(text)

    def refuse(text: str) -> None:
        raise AssertionError(text)

    content = json.loads(payload.decode(), object_pairs_hook=once, parse_float=finite, parse_constant=refuse)
    json.dumps(content, ensure_ascii=False).encode()  # no half characters
    return content


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(['"card":', "\\", '"']),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["card", "x", '":']), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip
OBJECTS = st.dictionaries(st.sampled_from([*COLUMNS, "other"]), VALUES, max_size=4).map(
    lambda one: json.dumps(one).encode()
)


@st.composite
def damaged(draw: st.DrawFn) -> bytes:
    payload = bytearray(draw(OBJECTS))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(payload)))
        part = draw(
            st.binary(max_size=2) | st.sampled_from([b'"card":1,', b'"', b",", b":", b"\\", b"}", b"NaN", b" "])
        )
        payload[at : at + draw(st.integers(0, 2))] = part
    return bytes(payload)


@settings(max_examples=examples(300), deadline=None)
@given(st.binary(max_size=40) | OBJECTS | damaged())
def test_events_are_taken_as_strict_json_has_them_and_nothing_is_raised(payload: bytes) -> None:
    content = of(payload)
    try:
        expected = strict(payload)
    except (ValueError, AssertionError, RecursionError):
        assert isinstance(content, str)
        assert 0 < len(content) <= 1_000
        return
    if isinstance(expected, dict) and expected.keys() <= {*COLUMNS}:
        assert content == expected
        assert repr(content) == repr(expected)  # which tells 1 from 1.0 and from True
    else:
        assert isinstance(content, str)


class Kind(enum.Enum):
    SALE = "sale"


class Terminal(msgspec.Struct):
    name: str


class Payment(msgspec.Struct, rename="camel"):
    card_id: str
    amount: Decimal
    day: date
    kind: Kind
    terminal: Terminal
    number: uuid.UUID
    at: datetime
    note: str | msgspec.UnsetType = msgspec.UNSET

    @property
    def terminal_name(self) -> str:
        return self.terminal.name


class Refund(pydantic.BaseModel):
    card: str
    amount: float

    @pydantic.field_validator("amount")
    @classmethod
    def check(cls, value: float) -> float:
        if value == 7:
            raise ZeroDivisionError("of seven")
        if value < 0:
            raise ValueError("it is negative")
        return value


PAYMENT = {
    "cardId": "c1", "amount": "12.50", "day": "2026-01-02", "kind": "sale", "terminal": {"name": "t"},
    "number": "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "at": "2026-01-02T03:04:05Z", "unknown": 1,
}  # fmt: skip


def test_a_struct_says_what_its_attributes_are() -> None:
    decoder = event_decoder(["card_id", "amount", "day", "kind", "terminal_name", "number", "at", "note"], Payment)
    assert of(json.dumps(PAYMENT).encode(), decoder) == {
        "card_id": "c1", "amount": 12.5, "day": datetime(2026, 1, 2), "kind": "sale", "terminal_name": "t",
        "number": "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "at": datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC), "note": None,
    }  # fmt: skip
    assert "Expected `str`, got `int` - at `$.cardId`" in of(json.dumps(PAYMENT | {"cardId": 1}).encode(), decoder)
    assert "missing required field `day`" in of(
        json.dumps({**{k: v for k, v in PAYMENT.items() if k != "day"}}).encode(), decoder
    )
    assert "stands twice" in of(b'{"cardId": "a", ' + json.dumps(PAYMENT).encode()[1:], decoder)
    with pytest.raises(
        DeclarationError, match="type Payment, which has no attribute for the columns 'card' and 'x': it has 'amount'"
    ):
        event_decoder(["card", "x"], Payment)


def test_a_model_says_what_its_fields_are() -> None:
    decoder = event_decoder(["card", "amount"], Refund)
    assert of(b'{"card": "a", "amount": 2, "more": 1}', decoder) == {"card": "a", "amount": 2.0}
    assert of(b'{"card": 3, "amount": "x"}', decoder) == (
        "it cannot be read: card: Input should be a valid string; amount: Input should be a valid number, unable to parse string as a "
        "number"
    )
    assert "amount: Value error, it is negative" in of(b'{"card": "a", "amount": -1}', decoder)
    assert "ZeroDivisionError: 'of seven'" in of(b'{"card": "a", "amount": 7}', decoder)
    assert "stands twice" in of(b'{"card": "a", "card": "b", "amount": 1}', decoder)


def test_a_thousand_events_take_a_few_milliseconds() -> None:
    events = [
        Event(0, number, 0, json.dumps({"card": f"c{number}", "amount": number / 8, "at": "2026-01-01T00:00:00Z", "flags": None}).encode())
        for number in range(1_000)
    ]  # fmt: skip
    fastest = math.inf
    for _ in range(5):
        started = time.process_time()
        assert all(isinstance(decode(event), dict) for event in events)
        fastest = min(fastest, time.process_time() - started)
    assert fastest < 0.02, fastest  # 2 ms where this was written
