"""Topics of Kafka."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from datetime import datetime

from fti_assets.core.arguments import checked_arguments
from fti_assets.core.extras import named_extras
from fti_assets.errors import DeclarationError
from fti_assets.stores.streams.event import Event
from fti_assets.stores.streams.stream import EventStream, Subscription

_NAME = re.compile(r"[A-Za-z0-9._-]{1,249}")


@checked_arguments()
@dataclass(frozen=True, repr=False)
class KafkaStream(EventStream):
    """A topic of Kafka, whose partitions are its shards; a sequence is the offset and one.

    A row's available-at is when the broker stored its message, if the topic says so (``message.timestamp.type=LogAppendTime``); else it is
    the time that the producer's clock gave, and the log says that once. What Kafka drops before it is read is an error that says what is
    gone, so a topic must be kept longer than any stop of the service, and must not be compacted.

    Args:
        name: the topic.
        url: ``kafka://host:9092``, several hosts separated by commas, or ``dg.EnvVar`` of it. A user and password before the hosts are for
            SASL, PLAIN over TLS unless options behind ``?`` say otherwise, which are librdkafka's:
            ``?security.protocol=SASL_SSL&sasl.mechanism=SCRAM-SHA-512``.
        type: a ``msgspec.Struct`` or Pydantic model that an event's JSON is to fit; by default an object with the group's columns.
        consumer_group: the group for which what is kept is committed, so that Kafka's tools show its lag; by default none is.

    Raises:
        DeclarationError: the name is none of a topic, or the address none of Kafka.

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

    async def subscribe(
        self, shards: Sequence[int], after: Mapping[int, int], identities: Mapping[int, str] | None = None
    ) -> Subscription:
        with named_extras(self.words, "streaming"):
            from fti_assets.stores.streams.sessions.kafka import open_session
        from fti_assets.stores.streams.sessions.resuming import Resuming

        self._check_shards(shards, await self.shard_names())
        group = self.consumer_group
        return await Resuming(
            self, lambda held, known: open_session(self, group, shards, held, known), after, identities
        ).start()

    async def read(
        self, since: datetime, until: datetime, shards: Sequence[int] | None = None
    ) -> AsyncIterator[Sequence[Event]]:
        with named_extras(self.words, "streaming"):
            from fti_assets.stores.streams.sessions.kafka import replay
        names = await self.shard_names()
        chosen = range(len(names)) if shards is None else shards
        self._check_shards(chosen, names)
        for shard in chosen:
            async for events in replay(self, shard, since, until):
                yield events
