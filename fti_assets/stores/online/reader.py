"""Reading namespaces of an online store, several in one round trip, while others load them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

from fti_assets.core.manifest import Column
from fti_assets.core.times import from_microseconds
from fti_assets.core.types import ColumnType
from fti_assets.errors import DamagedError, DataError, PredictionError, StoreError, one_of
from fti_assets.stores.online.about import About, damaged_at, readable
from fti_assets.stores.online.blobs import BlobFormat, Key, Winner
from fti_assets.stores.online.keys import key_encoder

_ALWAYS = -(2**63)


class Fetcher(Protocol):
    """How a store reads the blobs of its namespaces, which it was given in an order."""

    def abouts(self) -> list[About]:
        """What each namespace says of itself; raises NotMaterializedError if one is not there."""

    def one(self, abouts: Sequence[About], keys: Sequence[bytes | None]) -> Sequence[tuple[int | None, bytes | None]]:
        """Of each namespace its generation and the blob of one key, in one round trip."""

    def many(
        self, abouts: Sequence[About], keys: Sequence[Sequence[bytes]]
    ) -> Sequence[tuple[int | None, Mapping[bytes, bytes | None]]]:
        """Of each namespace its generation and the blobs of some keys, in one round trip."""

    def where(self, position: int) -> str:
        """Where a namespace is, for an error message."""


class _Content:
    """What a reader knows of one generation of a namespace."""

    def __init__(self, about: About, namespace: str, wanted: Sequence[str] | None) -> None:
        self.about = readable(about, namespace)
        self.generation = about.generation
        self.answerable_us = _ALWAYS if about.answers_from_us is None else about.answers_from_us
        schema = about.schema
        positions = {column.name: position for position, column in enumerate(schema.columns)}
        names = list(positions) if wanted is None else list(wanted)
        if absent := [name for name in names if name not in positions]:
            raise StoreError(
                f"online namespace {namespace!r} has no column {one_of(absent)}: it has {one_of(positions)}. "
                "Load it from the group version that has the column"
            )
        self.columns = tuple(schema.columns[positions[name]] for name in names)
        self.encode = key_encoder(schema.key_types, namespace)
        wanted_positions = [positions[name] for name in names]
        blobs = BlobFormat(schema.columns, event_time=schema.event_time, wanted=wanted_positions)
        self.winner, self.winners = blobs.winner, blobs.winners


class _State(NamedTuple):
    """What a reader knows of all its namespaces, replaced as one."""

    contents: tuple[_Content, ...]
    abouts: tuple[About, ...]
    columns: tuple[tuple[Column, ...], ...]


class NamespacesReader:
    """Reads several namespaces together, from any thread.

    Each namespace's answers are of one of its states; the namespaces are loaded each for itself.

    Args:
        fetcher: how the store reads their blobs.
        wanted: each namespace with the columns to return, in order, None for all.
    """

    def __init__(self, fetcher: Fetcher, wanted: Sequence[tuple[str, Sequence[str] | None]]) -> None:
        self._fetcher = fetcher
        self._wanted = tuple(wanted)
        self._state = self._read_state()

    @property
    def columns(self) -> tuple[tuple[Column, ...], ...]:
        """The columns of each namespace's values, in order; another object after a load."""
        return self._state.columns

    @property
    def key_types(self) -> tuple[tuple[ColumnType, ...], ...]:
        """The types of the parts of each namespace's keys."""
        return tuple(about.schema.key_types for about in self._state.abouts)

    @property
    def answers_from(self) -> tuple[datetime | None, ...]:
        """The earliest instant (naive UTC) that each namespace answers, None for any, as of the last read."""
        return tuple(about.answers_from for about in self._state.abouts)

    def get(self, keys: Sequence[Key | None], at_us: int) -> list[Winner | None]:
        """The row of each namespace that wins for its key at an instant; the caller applies the ttl.

        Args:
            keys: one a namespace, None for no key.
            at_us: the instant, in microseconds since 1970.

        Raises:
            PredictionError: the instant is before a namespace's ``answers_from``.
            DataError: a key is not of its namespace's types.
            DamagedError: a key's blob is not what was written.
        """
        while True:
            contents, abouts, _ = state = self._state
            try:
                encoded = [
                    None if key is None else content.encode(key) for content, key in zip(contents, keys, strict=True)
                ]
            except DataError:
                if not self._changed(state):
                    raise
                continue
            winners: list[Winner | None] = []
            fetched = self._fetcher.one(abouts, encoded)
            for content, key, (generation, blob) in zip(contents, encoded, fetched, strict=True):
                if generation != content.generation:
                    break
                if at_us < content.answerable_us:
                    raise self._too_early(len(winners), content, at_us)
                if blob is None or key is None:
                    winners.append(None)
                else:
                    try:
                        winners.append(content.winner(key, blob, at_us))
                    except Exception as error:
                        raise self._damaged(len(winners), key, blob, error) from error
            else:
                return winners
            self._state = self._read_state()

    def get_many(self, keys: Sequence[Sequence[Key | None]], at_us: int) -> list[list[Winner | None]]:
        """``get`` for ``n`` keys of each namespace, each namespace's all from one of its states."""
        while True:
            contents, abouts, _ = state = self._state
            try:
                encoded = [
                    [None if key is None else content.encode(key) for key in asked]
                    for content, asked in zip(contents, keys, strict=True)
                ]
            except DataError:
                if not self._changed(state):
                    raise
                continue
            distinct = [list(dict.fromkeys(key for key in asked if key is not None)) for asked in encoded]
            fetched = self._fetcher.many(abouts, distinct)
            if all(match[0] == content.generation for match, content in zip(fetched, contents, strict=True)):
                break
            self._state = self._read_state()
        answers = []
        for position, (content, asked, (_, blobs)) in enumerate(zip(contents, encoded, fetched, strict=True)):
            if asked and at_us < content.answerable_us:
                raise self._too_early(position, content, at_us)
            try:
                winner_of: Callable[[bytes | None], Winner | None] = content.winners(blobs, at_us).get  # type: ignore[assignment]
            except Exception:
                self._find_damaged(position, content, blobs, at_us)
                raise
            answers.append([winner_of(key) for key in asked])
        return answers

    def holds(self, position: int, key: Key) -> bool:
        """Whether a key has any row in a namespace, visible yet or not."""
        while True:
            contents, abouts, _ = state = self._state
            try:
                encoded = contents[position].encode(key)
            except DataError:
                if not self._changed(state):
                    raise
                continue
            asked: list[bytes | None] = [None] * len(contents)
            asked[position] = encoded
            generation, blob = self._fetcher.one(abouts, asked)[position]
            if generation == contents[position].generation:
                return blob is not None
            self._state = self._read_state()

    def _changed(self, state: _State) -> bool:
        """Whether the namespaces are no longer what they were; learns what they are."""
        self._state = self._read_state()
        return self._state.abouts != state.abouts

    def _read_state(self) -> _State:
        abouts = tuple(self._fetcher.abouts())
        contents = tuple(_Content(about, *wanted) for about, wanted in zip(abouts, self._wanted, strict=True))
        return _State(contents, abouts, tuple(content.columns for content in contents))

    def _find_damaged(self, position: int, content: _Content, blobs: Mapping[bytes, bytes | None], at_us: int) -> None:
        """Raise the error of the first blob that is not what was written under its key."""
        for key, blob in blobs.items():
            if blob is not None:
                try:
                    content.winner(key, blob, at_us)
                except Exception as error:
                    raise self._damaged(position, key, blob, error) from error

    def _damaged(self, position: int, key: object, blob: object, error: Exception) -> DamagedError:
        return damaged_at(self._wanted[position][0], key, blob, str(error), self._fetcher.where(position))

    def _too_early(self, position: int, content: _Content, at_us: int) -> PredictionError:
        return PredictionError(
            f"online namespace {self._wanted[position][0]!r} answers from "
            f"{from_microseconds(content.answerable_us).isoformat()} on and cannot say what was known at "
            f"{from_microseconds(at_us).isoformat()}: ask for a later instant, or load the group with a longer "
            "online_history"
        )


class NamespaceReader:
    """Reads one namespace, from any thread, while others load it."""

    def __init__(self, reader: NamespacesReader) -> None:
        self._reader = reader

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a winner's values, in order."""
        return self._reader.columns[0]

    @property
    def key_types(self) -> tuple[ColumnType, ...]:
        """The types of a key's parts."""
        return self._reader.key_types[0]

    @property
    def answers_from(self) -> datetime | None:
        """The earliest instant (naive UTC) that can be answered, None for any, as of the last read."""
        return self._reader.answers_from[0]

    def get(self, key: Key, at_us: int) -> Winner | None:
        """The row that wins for a key at an instant, in microseconds since 1970; the caller applies the ttl.

        Raises:
            PredictionError: the instant is before ``answers_from``.
            DataError: the key is not of the namespace's types.
            DamagedError: the key's blob is not what was written.
        """
        return self._reader.get((key,), at_us)[0]

    def get_many(self, keys: Sequence[Key], at_us: int) -> list[Winner | None]:
        """``get`` for ``n`` keys, all from one state of the namespace."""
        return self._reader.get_many((keys,), at_us)[0] if keys else []

    def holds(self, key: Key) -> bool:
        """Whether a key has any row, visible yet or not."""
        return self._reader.holds(0, key)
