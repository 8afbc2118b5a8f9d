"""What a stream is: a declaration, and what reads it from a position on."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime
from typing import Any, ClassVar, Protocol

from fti_assets.core.addresses import secrets_of, show_address
from fti_assets.errors import DeclarationError, StoreError, class_name, list_some
from fti_assets.stores.streams.event import Event

_HOSTS = re.compile(r"[\w.-]+(:\d{1,5})?(,[\w.-]+(:\d{1,5})?)*")
EventType = type[Any]
"""A msgspec.Struct or a Pydantic model: the class."""


class Subscription(Protocol):
    """Reads some shards of a stream, each from a position on, one event after the other: none is left out, none comes twice.

    The position is the reader's own: what it has kept. After a crash it subscribes again with what it has kept by then.
    """

    @property
    def identities(self) -> Mapping[int, str]:
        """By shard, what tells its stream from another of its name: to be kept beside the positions, and given back with them."""

    async def fetch(self, at_most: int, within: float) -> list[Event]:
        """The next events, in order of sequence within each shard; empty if none came in time.

        While the broker is away it is tried again and again, and there are no events. A fetch that is cancelled loses none.

        Args:
            at_most: how many events at most.
            within: how many seconds to wait for the first.

        Raises:
            StoreError: events after the position are gone, the stream is another one than it was, or it cannot be read.
        """

    async def ack(self, positions: Mapping[int, int]) -> None:
        """Tell the broker what has been kept, for its own bookkeeping; nothing rests on it, and it never fails.

        Args:
            positions: by shard, the last sequence that is kept.
        """

    async def lag(self) -> Mapping[int, int]:
        """How many events of each shard are stored after the last one fetched.

        Raises:
            StoreError: the broker cannot be asked.
        """

    @property
    def trouble(self) -> str | None:
        """What keeps it from the broker now, in words; None while it is connected."""

    async def close(self) -> None:
        """Let go of the broker."""


@dataclass(frozen=True, repr=False)
class EventStream(ABC):
    """A stream of events at a broker: what ``stream=`` of a feature group takes. Use one of NATS, Kafka or Redis.

    Args:
        name: what the broker calls it.
        url: the broker's address, or ``dg.EnvVar`` of it. What is secret in it is never shown.
        type: a ``msgspec.Struct`` or Pydantic model that an event's JSON is to fit; the columns of the group are read off its
            attributes. By default an event is a JSON object with the columns of the group, and no others.
    """

    name: str
    _: KW_ONLY
    url: str = field(repr=False)
    type: EventType | None = None

    broker: ClassVar[str]
    """What the broker is called in words."""
    schemes: ClassVar[tuple[str, ...]]
    """How its addresses begin."""

    def __post_init__(self) -> None:
        if getattr(self.url, "env_var_name", None) is None:
            self._check_address(self.url)
        if self.type is not None and not _is_event_type(self.type):
            raise DeclarationError(
                f"{self.words}: type is {self.type!r:.80}: give a msgspec.Struct or a Pydantic model, the class itself, or leave it "
                "out for JSON objects with the columns of the group"
            )

    @property
    def words(self) -> str:
        """The stream in words, without where it is: ``NATS stream payments``."""
        return f"{self.broker} {self.name}"

    @property
    def place(self) -> str:
        """The stream in words, without secrets: ``NATS stream payments at nats://host:4222``."""
        variable = getattr(self.url, "env_var_name", None)
        return f"{self.words} at {f'${variable}' if variable is not None else show_address(self.url)}"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no error may repeat."""
        return tuple(secrets_of(self.address()))

    def address(self) -> str:
        """The broker's address, with its secrets.

        Raises:
            StoreError: the environment variable is not set.
            DeclarationError: it holds no address of this broker.
        """
        variable = getattr(self.url, "env_var_name", None)
        if variable is None:
            return str(self.url)
        address = os.environ.get(variable, "")
        if not address:
            raise StoreError(
                f"{self.words}: the environment variable {variable} is not set; set it to the broker's address, as in "
                f"{self.schemes[0]}://host"
            )
        self._check_address(address)
        return address

    def __repr__(self) -> str:
        variable = getattr(self.url, "env_var_name", None)
        address = repr(show_address(self.url)) if variable is None else f"EnvVar({variable!r})"
        more = "" if self.type is None else f", type={self.type.__qualname__}"
        return f"{class_name(self)}({self.name!r}, url={address}{more})"

    @abstractmethod
    async def shard_names(self) -> Sequence[str]:
        """The parts of the stream as the broker names them, whose order never changes.

        Raises:
            MissingExtraError: the broker's client is not installed.
            StoreError: the broker cannot be asked, or there is no such stream.
        """

    @abstractmethod
    async def subscribe(
        self, shards: Sequence[int], after: Mapping[int, int], identities: Mapping[int, str] | None = None
    ) -> Subscription:
        """Read some shards from a position on.

        Args:
            shards: which, as positions in ``shard_names()``.
            after: by shard, the last sequence that is held already; one that is absent is read from the beginning.
            identities: by shard, what ``Subscription.identities`` said when those sequences were read.

        Raises:
            MissingExtraError: the broker's client is not installed.
            StoreError: the broker cannot be reached; there is no such stream; it is another one than the sequences are of; or
                events after a position are gone.
        """

    @abstractmethod
    def read(
        self, since: datetime, until: datetime, shards: Sequence[int] | None = None
    ) -> AsyncIterator[Sequence[Event]]:
        """All events that the broker stored in ``[since, until)``, some at a time, in order of sequence within each shard.

        Args:
            since: naive UTC.
            until: naive UTC; what is stored after the call is not read.
            shards: which; all by default.

        Raises:
            StoreError: as ``subscribe`` does; the broker no longer has all of these events.
        """

    def _check_shards(self, shards: Sequence[int], names: Sequence[str]) -> None:
        """Raise a StoreError if there is nothing to read, or a shard that is asked for is none of the stream's."""
        absent = [shard for shard in shards if not 0 <= shard < len(names)]
        if not shards or absent:
            wrong = f"no shard {absent[0]}" if absent else "no shard to read"
            raise StoreError(f"{self.place} has {wrong}: its shards are 0 to {len(names) - 1}, {list_some(names)}")

    def _check_address(self, address: str) -> None:
        scheme, mark, rest = str(address).partition("://")
        if scheme.lower() not in self.schemes or not mark or not rest.strip("/"):
            first, *further = [f"{one}://" for one in self.schemes]
            raise DeclarationError(
                f"{self.words}: the address {_shown(address)!r} is none of its broker: write {first}host"
                f"{''.join(f', or {one}host' for one in further)}"
            )


def _shown(address: str) -> str:
    """An address without its secrets, of one without a scheme its hosts.

    >>> _shown("broker-1:9092,broker-2:9092"), _shown("ann:pw@localhost:9092"), _shown("ann:pw@broker"), _shown("ann:s3cret")
    ('broker-1:9092,broker-2:9092', '***@localhost:9092', '***@broker', '***')
    """
    before, mark, hosts = str(address).rpartition("@")
    is_plain = "://" not in str(address) and _HOSTS.fullmatch(hosts) is not None
    return f"{'***' if before else ''}{mark}{hosts}" if is_plain else show_address(address)


def _is_event_type(kind: Any) -> bool:
    # Told without importing either library.
    return isinstance(kind, type) and (hasattr(kind, "__struct_fields__") or hasattr(kind, "model_validate_json"))
