"""What the client of Kafka is given, and what it says went wrong."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl, unquote

from confluent_kafka import KafkaException


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


def text_of(error: Exception) -> str:
    """What went wrong, in the client's words."""
    return str(error.args[0].str()) if isinstance(error, KafkaException) else str(error)
