"""Topics of Kafka."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime
from functools import partial

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.extras import named_extras
from fti_assets.errors import DeclarationError
from fti_assets.stores.streams.broker_stream import BrokerStream, Opener
from fti_assets.stores.streams.event import Event

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")


@checked_arguments()
@dataclass(frozen=True, repr=False)
class KafkaStream(BrokerStream):
    """A Kafka topic. Its partitions are its shards, and a sequence is the offset plus one.

    A row's available-at is the time at which the broker stored its message, if the topic records it
    (``message.timestamp.type=LogAppendTime``). Otherwise it is the time from the producer's clock, and the log says so once. If
    Kafka drops messages before they are read, an error says what is gone. A topic must therefore keep its messages longer than any
    stop of the service, and must not be compacted.

    Args:
        name: the topic.
        url: ``kafka://host:9092``, several hosts separated by commas, or ``dg.EnvVar`` of it. A user and password before the hosts
            are for SASL: PLAIN over TLS, unless librdkafka's options after ``?`` say otherwise,
            ``?security.protocol=SASL_SSL&sasl.mechanism=SCRAM-SHA-512``.
        type: a ``msgspec.Struct`` or Pydantic model that an event's JSON must match; by default an object with the group's columns.
        consumer_group: the group for which the position of stored events is committed, so that Kafka's tools show its lag; by
            default none is.

    Raises:
        DeclarationError: the name is not a topic name, or the address is not a Kafka address.

    >>> KafkaStream("payments", url="kafka://ann:pw@broker:9092").place
    'Kafka topic payments at kafka://ann:***@broker:9092'
    """

    _: KW_ONLY
    consumer_group: str | None = None

    broker = "Kafka topic"
    schemes = ("kafka",)

    def __post_init__(self) -> None:
        super().__post_init__()
        if _NAME.fullmatch(self.name) is None or self.name in (".", ".."):
            raise DeclarationError(
                f"{self.words}: {self.name!r} is no name of a topic, which has letters, digits and . _ - alone, at most 249"
            )

    async def shard_names(self) -> Sequence[str]:
        with named_extras(self.words, "streaming"):
            from fti_assets.stores.streams.sessions.kafka import partitions_of
        return [str(one) for one in range(await partitions_of(self))]

    def _opener(self, shards: Sequence[int]) -> Opener:
        from fti_assets.stores.streams.sessions.kafka import open_session

        return partial(open_session, self, self.consumer_group, shards)

    def _replay(self) -> Callable[[int, datetime, datetime], AsyncGenerator[Sequence[Event], None]]:
        from fti_assets.stores.streams.sessions.kafka import replay

        return partial(replay, self)
