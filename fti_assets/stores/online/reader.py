"""Reading namespaces of an online store, several in one round trip, while others load them."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from fti_assets.core.manifest import Column
from fti_assets.core.times import from_microseconds
from fti_assets.core.types import ColumnType
from fti_assets.errors import DamagedError, DataError, PredictionError, StoreError, one_of
from fti_assets.stores.online.about import About, damaged_at, readable
from fti_assets.stores.online.blobs import BlobFormat, Find, Key, RawWinner, Winner
from fti_assets.stores.online.keys import key_encoder, row_encoder

_ALWAYS = -(2**63)

One = tuple[tuple[int | None, ...], Sequence[bytes | None]]
"""The generation of each namespace, and the blob of one key of each."""


class Fetcher(Protocol):
    """How a store reads the blobs of its namespaces, which it was given in an order."""

    def abouts(self) -> list[About]:
        """What each namespace says of itself; raises NotMaterializedError if one is not there."""

    def one(self, abouts: Sequence[About], keys: Sequence[bytes | None]) -> One:
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
        self.find = blobs.find


class _State(NamedTuple):
    """What a reader knows of all its namespaces, replaced as one."""

    contents: tuple[_Content, ...]
    abouts: tuple[About, ...]
    columns: tuple[tuple[Column, ...], ...]
    generations: tuple[int | None, ...]
    answerable_us: int
    encoders: tuple[Callable[[Key], bytes], ...]
    finds: tuple[Find, ...]
    row_encoders: tuple[Callable[[Sequence[Any]], bytes | None], ...]


class NamespacesReader:
    """Reads several namespaces together, from any thread.

    Each namespace's answers are of one of its states; the namespaces are loaded each for itself.

    Args:
        fetcher: how the store reads their blobs.
        wanted: each namespace with the columns to return, in order, None for all.
        slots: of each namespace, where ``find`` has the parts of its key in a row.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        wanted: Sequence[tuple[str, Sequence[str] | None]],
        slots: Sequence[Sequence[int]] = (),
    ) -> None:
        self._fetcher = fetcher
        self._wanted = tuple(wanted)
        self._slots = tuple(slots)
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

        def encoded(state: _State) -> list[bytes | None]:
            return [None if key is None else encode(key) for encode, key in zip(state.encoders, keys, strict=True)]

        return [_winner(winner) for winner in self._one(encoded, at_us)]

    def get_many(self, keys: Sequence[Sequence[Key | None]], at_us: int) -> list[list[Winner | None]]:
        """``get`` for ``n`` keys of each namespace, each namespace's all from one of its states."""

        def encoded(state: _State) -> list[list[bytes | None]]:
            return [
                [None if key is None else encode(key) for key in asked]
                for encode, asked in zip(state.encoders, keys, strict=True)
            ]

        return [[_winner(winner) for winner in of_namespace] for of_namespace in self._many(encoded, at_us)]

    def find(self, row: Sequence[Any], at_us: int) -> list[RawWinner | None]:
        """``get`` for the keys that a row has at the slots of each namespace."""
        return self._one(lambda state: [encode(row) for encode in state.row_encoders], at_us)

    def find_many(self, rows: Sequence[Sequence[Any]], at_us: int) -> list[list[RawWinner | None]]:
        """``find`` for ``n`` rows, by namespace."""
        return self._many(lambda state: [[encode(row) for row in rows] for encode in state.row_encoders], at_us)

    def _one(self, encode: Callable[[_State], list[bytes | None]], at_us: int) -> list[RawWinner | None]:
        while True:
            state = self._state
            try:
                keys = encode(state)
            except DataError:
                if not self._changed(state):
                    raise
                continue
            generations, blobs = self._fetcher.one(state.abouts, keys)
            if generations == state.generations:
                break
            self._state = self._read_state()
        if at_us < state.answerable_us:
            self._refuse_too_early(state, at_us)
        results: list[RawWinner | None] = []
        try:
            for find, key, blob in zip(state.finds, keys, blobs, strict=True):
                results.append(None if blob is None or key is None else find(key, blob, at_us))
        except Exception as error:
            position = len(results)
            raise self._damaged(position, keys[position], blobs[position], error) from error
        return results

    def _many(self, encode: Callable[[_State], list[list[bytes | None]]], at_us: int) -> list[list[RawWinner | None]]:
        while True:
            state = self._state
            try:
                keys = encode(state)
            except DataError:
                if not self._changed(state):
                    raise
                continue
            distinct = [list(dict.fromkeys(key for key in asked if key is not None)) for asked in keys]
            fetched = self._fetcher.many(state.abouts, distinct)
            if tuple([generation for generation, _ in fetched]) == state.generations:
                break
            self._state = self._read_state()
        if at_us < state.answerable_us and any(keys):
            self._refuse_too_early(state, at_us)
        answers = []
        for position, (find, asked, (_, blobs)) in enumerate(zip(state.finds, keys, fetched, strict=True)):
            try:
                winners = {key: find(key, blob, at_us) for key, blob in blobs.items() if blob is not None}
            except Exception:
                self._find_damaged(position, find, blobs, at_us)
                raise
            answers.append([winners.get(key) for key in asked])  # type: ignore[arg-type]
        return answers

    def holds(self, position: int, key: Key) -> bool:
        """Whether a key has any row in a namespace, visible yet or not."""
        while True:
            state = self._state
            contents, abouts = state.contents, state.abouts
            try:
                encoded = contents[position].encode(key)
            except DataError:
                if not self._changed(state):
                    raise
                continue
            asked: list[bytes | None] = [None] * len(contents)
            asked[position] = encoded
            generations, blobs = self._fetcher.one(abouts, asked)
            if generations[position] == contents[position].generation:
                return blobs[position] is not None
            self._state = self._read_state()

    def _changed(self, state: _State) -> bool:
        """Whether the namespaces are no longer what they were; learns what they are."""
        self._state = self._read_state()
        return self._state.abouts != state.abouts

    def _read_state(self) -> _State:
        abouts = tuple(self._fetcher.abouts())
        contents = tuple(_Content(about, *wanted) for about, wanted in zip(abouts, self._wanted, strict=True))
        return _State(
            contents,
            abouts,
            columns=tuple(content.columns for content in contents),
            generations=tuple(content.generation for content in contents),
            answerable_us=max([content.answerable_us for content in contents], default=_ALWAYS),
            encoders=tuple(content.encode for content in contents),
            finds=tuple(content.find for content in contents),
            row_encoders=tuple(
                row_encoder(content.encode, content.about.schema.key_types, slots)
                for content, slots in zip(contents, self._slots, strict=bool(self._slots))
            ),
        )

    def _refuse_too_early(self, state: _State, at_us: int) -> None:
        for position, content in enumerate(state.contents):
            if at_us < content.answerable_us:
                raise self._too_early(position, content, at_us)

    def _find_damaged(self, position: int, find: Find, blobs: Mapping[bytes, bytes | None], at_us: int) -> None:
        """Raise the error of the first blob that is not what was written under its key."""
        for key, blob in blobs.items():
            if blob is not None:
                try:
                    find(key, blob, at_us)
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


def _winner(winner: RawWinner | None) -> Winner | None:
    return None if winner is None else Winner(*winner)


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
