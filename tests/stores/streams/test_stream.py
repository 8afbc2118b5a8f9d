"""What a stream declares: its names and address, of which nothing secret is shown."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import dagster as dg
import msgspec
import pydantic
import pytest

import fti_assets as fti
from fti_assets.errors import DeclarationError, MissingExtraError, StoreError

KINDS: list[tuple[Any, str]] = [
    (fti.NatsStream, "nats"),
    (fti.KafkaStream, "kafka"),
    (fti.RedisStream, "redis"),
]


class Payment(msgspec.Struct):
    card: str


class Refund(pydantic.BaseModel):
    card: str


@pytest.mark.parametrize(("kind", "scheme"), KINDS)
def test_nothing_secret_of_an_address_is_shown(kind: Any, scheme: str) -> None:
    for address in (
        f"{scheme}://ann:s3cret@host:1234",
        f"{scheme}://s3cret@host:1234",
        f"{scheme}://host:1234?password=s3cret",
    ):
        stream = kind("payments", url=address)
        assert "s3cret" not in f"{stream!r} {stream} {stream.place} {stream.words}"
        assert "host:1234" in stream.place
        assert "s3cret" in "".join(stream.secrets)
        assert stream.address() == address
    with pytest.raises(DeclarationError, match="is none of its broker: write") as raised:
        kind("payments", url="https://ann:s3cret@host")
    assert "s3cret" not in str(raised.value)
    with pytest.raises(
        DeclarationError, match=rf"'[*]+@broker-1:9092,b:1' is none of its broker: write {scheme}://host"
    ):
        kind("payments", url="ann:s3cret@broker-1:9092,b:1")


@pytest.mark.parametrize(("kind", "scheme"), KINDS)
def test_an_address_may_come_from_the_environment_when_it_is_used(
    kind: Any, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BROKER", raising=False)
    stream = kind("payments", url=dg.EnvVar("BROKER"))
    assert stream.place.endswith("payments at $BROKER")
    assert repr(stream) == f"{kind.__name__}('payments', url=EnvVar('BROKER'))"
    with pytest.raises(StoreError, match="the environment variable BROKER is not set"):
        asyncio.run(stream.subscribe([0], {}))
    monkeypatch.setenv("BROKER", "s3cret")
    with pytest.raises(DeclarationError, match="is none of its broker"):
        stream.address()
    monkeypatch.setenv("BROKER", f"{scheme}://ann:s3cret@127.0.0.1:1")
    assert stream.secrets
    assert stream.place.endswith("payments at $BROKER")
    if scheme != "kafka":  # which takes five seconds to say so
        with pytest.raises(StoreError, match="payments at [$]BROKER cannot be reached") as raised:
            asyncio.run(stream.subscribe([0], {}))
        assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(("kind", "scheme"), KINDS)
def test_a_type_is_a_struct_or_a_model(kind: Any, scheme: str) -> None:
    for event in (Payment, Refund):
        assert kind("payments", url=f"{scheme}://h", type=event).type is event
        assert event.__qualname__ in repr(kind("payments", url=f"{scheme}://h", type=event))
    with pytest.raises(DeclarationError, match="type is <class 'dict'>: give a msgspec.Struct or a Pydantic model"):
        kind("payments", url=f"{scheme}://h", type=dict)


def test_declarations_are_equal_by_what_they_say() -> None:
    assert fti.NatsStream("a", url="nats://h") == fti.NatsStream("a", url="nats://h", shards=["a"])
    assert fti.NatsStream("a", url="nats://h") != fti.NatsStream("a", url="nats://other")
    assert len({fti.RedisStream("a", url="redis://h"), fti.RedisStream("a", url="redis://h")}) == 1


def test_names_that_no_broker_has_are_refused() -> None:
    with pytest.raises(DeclarationError, match="'a.b' is no name of a stream of JetStream"):
        fti.NatsStream("a.b", url="nats://h")
    with pytest.raises(DeclarationError, match="stands twice"):
        fti.NatsStream("a", url="nats://h", shards=["b", "b"])
    with pytest.raises(DeclarationError, match="takes 1 arguments by place"):
        fti.KafkaStream("a", "kafka://h")  # type: ignore[misc]


@pytest.mark.parametrize(
    ("kind", "scheme", "package"),
    [(*KINDS[0], "nats"), (*KINDS[1], "confluent_kafka"), (*KINDS[2], "redis")],
)
def test_a_missing_client_is_named_with_the_extra_that_brings_it(
    kind: Any, scheme: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == package or ".sessions." in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingExtraError, match=rf"payments needs {package}, which is not installed: .*\[streaming\]"):
        asyncio.run(kind("payments", url=f"{scheme}://127.0.0.1:1").subscribe([0], {}))
