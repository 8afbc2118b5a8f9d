"""What the client of Kafka is given, and what it says went wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl, unquote

from confluent_kafka import KafkaError, KafkaException

_GROUP = "fti_assets"
_LOST_CONNECTION = (KafkaError._ALL_BROKERS_DOWN, KafkaError._AUTHENTICATION, KafkaError._RESOLVE)


def options_of(address: str) -> dict[str, Any]:
    """librdkafka's options of an address."""
    rest, _, query = address.partition("://")[2].partition("?")
    login, _, hosts = rest.rpartition("@")
    options: dict[str, Any] = {"bootstrap.servers": hosts.rstrip("/")}
    if login:
        user, _, password = login.partition(":")
        options |= {
            "security.protocol": "SASL_SSL",
            "sasl.mechanism": "PLAIN",
            "sasl.username": unquote(user),
            "sasl.password": unquote(password),
        }
    return options | dict(parse_qsl(query))


def session_options(address: str, group: str | None, on_lost: Callable[[str], None]) -> dict[str, Any]:
    """librdkafka's options of a consumer that keeps its positions itself.

    Args:
        address: of the brokers.
        group: the consumer group that is told what is kept.
        on_lost: called with what went wrong when the connection is lost.
    """

    def note(error: Any) -> None:
        if error.code() in _LOST_CONNECTION:
            on_lost(error.str())

    return (
        options_of(address)
        | {
            "group.id": group or _GROUP,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "error",  # an offset that is gone is never passed over
            "enable.partition.eof": True,  # behind the last message there may be markers of transactions, which nobody is given
            "error_cb": note,
            "log_level": 2,  # what is wrong is told by errors
        }
    )


def text_of(error: Exception) -> str:
    """What went wrong, in the client's words."""
    return str(error.args[0].str()) if isinstance(error, KafkaException) else str(error)
