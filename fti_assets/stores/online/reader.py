"""Reading namespaces of an online store, several in one round trip, while others load them."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from time import monotonic
from typing import Any

import numpy as np

from fti_assets.core.logs import late_logger
from fti_assets.core.manifest import Column
from fti_assets.core.times import from_microseconds
from fti_assets.core.types import ColumnType
from fti_assets.errors import DamagedError, DataError, PredictionError, one_of
from fti_assets.stores.online.about import About, DamagedNamespaceError, damaged_at
from fti_assets.stores.online.blobs import Find
from fti_assets.stores.online.checksums import are_whole
from fti_assets.stores.online.fetcher import Fetcher
from fti_assets.stores.online.reader_state import ReaderState, reader_state
from fti_assets.stores.online.row_cache import Writes, missing_of, most_bytes, together
from fti_assets.stores.online.versions import Key, RawWinner, Winner
from fti_assets.stores.online.winners import RowWinners

_log = late_logger(__name__)
_READS_IN_VAIN = 5


class NamespacesReader:
    """Reads several namespaces together, from any thread.

    Each namespace's answers are of one of its states; the namespaces are loaded each for itself. Rows that were read are kept for as long
    as their namespace stays as it is, which is looked at before each answer, or was less than a millisecond ago.

    Args:
        fetcher: how the store reads their blobs.
        selections: each namespace with the columns to return, in order, None for all.
        slots: of each namespace, where ``find`` has the parts of its key in a row.
        abouts: what the namespaces say of themselves, if it was read just now.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        selections: Sequence[tuple[str, Sequence[str] | None]],
        slots: Sequence[Sequence[int]] = (),
        abouts: Sequence[About] | None = None,
    ) -> None:
        self._fetcher = fetcher
        self._selections = tuple(selections)
        self._slots = tuple(slots)
        self._most_bytes = most_bytes()
        self._state = self._read_state(abouts)

    @property
    def columns(self) -> tuple[tuple[Column, ...], ...]:
        """The columns of each namespace's values, in order; another object after a load."""
        return self._state.columns

    @property
    def key_types(self) -> tuple[tuple[ColumnType, ...], ...]:
        """The types of the parts of each namespace's keys."""
        return tuple(about.schema.key_types for about in self._state.abouts)

    @property
    def as_json(self) -> tuple[tuple[str, ...], ...]:
        """The columns of each namespace whose texts are JSON."""
        return tuple(about.schema.as_json for about in self._state.abouts)

    @property
    def ttl_us(self) -> tuple[int | None, ...]:
        """How old a row of each namespace may be at most, in microseconds, None for any age."""
        return tuple(about.schema.ttl_us for about in self._state.abouts)

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

        def encode_keys(state: ReaderState) -> list[bytes | None]:
            return [None if key is None else encode(key) for encode, key in zip(state.encoders, keys, strict=True)]

        return [_winner(winner) for winner in self._one(encode_keys, at_us)]

    def get_many(self, keys: Sequence[Sequence[Key | None]], at_us: int) -> list[list[Winner | None]]:
        """``get`` for ``n`` keys of each namespace, each namespace's all from one of its states."""

        def encode_keys(state: ReaderState) -> list[list[bytes | None]]:
            return [
                [None if key is None else encode(key) for key in of_namespace]
                for encode, of_namespace in zip(state.encoders, keys, strict=True)
            ]

        state, blob_keys, distinct, blobs = self._fetch(encode_keys, at_us)
        answers = []
        for position, (find, of_namespace) in enumerate(zip(state.finds, blob_keys, strict=True)):
            pairs = zip(distinct[position], blobs[position], strict=True)
            winners = {
                key: _winner(self._check(position, find, key, blob, at_us)) for key, blob in pairs if blob is not None
            }
            answers.append([winners.get(key) for key in of_namespace])  # type: ignore[arg-type]
        return answers

    def find(self, row: Sequence[Any], at_us: int) -> list[RawWinner | None]:
        """``get`` for the keys that a row has at the slots of each namespace."""
        # What ``_one`` does, at its most frequent.
        state = self._state
        try:
            keys = [encode(row) for encode in state.row_encoders]
            kept = [rows.get(key) for rows, key in zip(state.cache.rows, keys, strict=True)]
            if at_us >= state.answerable_us:
                if None in kept:
                    winners = self._find_others(state, keys, kept, at_us)
                    if winners is not None:
                        return winners
                elif state.cache.is_current() or self._is_still(state):
                    return [find(blob, at_us) for find, blob in zip(state.whole_finds, kept, strict=True)]  # type: ignore[arg-type]
        except Exception:
            _log.debug("a blob cannot be read; it is read again to say which", exc_info=True)
        return self._one(lambda state: [encode(row) for encode in state.row_encoders], at_us)

    def _find_others(
        self, state: ReaderState, keys: Sequence[bytes | None], kept: Sequence[bytes | None], at_us: int
    ) -> list[RawWinner | None] | None:
        """The winners of keys whose blobs are not all kept; None if the namespaces are no longer what they were."""
        missing = keys
        if kept.count(None) < len(kept):
            missing = [key if blob is None else None for key, blob in zip(keys, kept, strict=True)]
        start, writes = monotonic(), Writes.count
        generations, blobs = self._fetcher.one(state.abouts, missing)
        if generations != state.generations:
            return None
        state.cache.stand(start, writes)
        winners: list[RawWinner | None] = []
        for position, (key, own, blob) in enumerate(zip(missing, kept, blobs, strict=True)):
            if own is not None:
                winners.append(state.whole_finds[position](own, at_us))
            elif key is None or blob is None:
                winners.append(None)
            else:
                winners.append(state.finds[position](key, blob, at_us))
                state.cache.keep_one(position, key, blob)
        return winners

    def _is_still(self, state: ReaderState) -> bool:
        """Whether the namespaces are what they were by now."""
        start, writes = monotonic(), Writes.count
        generations, _ = self._fetcher.one(state.abouts, [None] * len(state.abouts))
        if generations != state.generations:
            return False
        state.cache.stand(start, writes)
        return True

    def find_many(self, columns: Sequence[Sequence[Any]], at_us: int) -> list[RowWinners]:
        """``find`` for ``n`` rows in columns, by namespace."""
        state, blob_keys, distinct, blobs = self._fetch(
            lambda state: [encode(columns) for encode in state.column_encoders], at_us
        )
        results = []
        for position, content in enumerate(state.contents):
            of_namespace, keys, of_keys = blob_keys[position], distinct[position], blobs[position]
            places = None
            if len(keys) < len(of_namespace):
                place_of: dict[bytes | None, int] = {key: place for place, key in enumerate(keys)}
                if None in of_namespace:  # a row without a key has one without a blob
                    place_of[None] = len(keys)
                    keys, of_keys = [*keys, b""], [*of_keys, None]
                places = np.array([place_of[key] for key in of_namespace])
            try:
                results.append(RowWinners(content.find_many(of_keys, at_us), places))
            except DataError:
                raise
            except Exception:
                for key, blob in zip(keys, of_keys, strict=True):
                    if blob is not None:
                        self._check(position, content.find, key, blob, at_us)
                raise
        return results

    def _one(self, encode: Callable[[ReaderState], list[bytes | None]], at_us: int) -> list[RawWinner | None]:
        for state in self._states():
            try:
                keys = encode(state)
            except DataError:
                if not self._have_changed(state):
                    raise
                continue
            generations, blobs = self._fetcher.one(state.abouts, keys)
            if generations == state.generations:
                break
        if at_us < state.answerable_us:
            self._refuse_too_early(state, at_us)
        results: list[RawWinner | None] = []
        try:
            for find, key, blob in zip(state.finds, keys, blobs, strict=True):
                results.append(None if blob is None or key is None else find(key, blob, at_us))
        except DataError:  # what is written is whole, but nobody can say its sum in 64 bits
            raise
        except Exception as error:
            position = len(results)
            raise self._damage_error(position, keys[position], blobs[position], error) from error
        return results

    def _fetch(
        self, encode: Callable[[ReaderState], list[list[bytes | None]]], at_us: int
    ) -> tuple[ReaderState, list[list[bytes | None]], list[list[bytes]], Sequence[Sequence[bytes | None]]]:
        """The keys asked of each namespace, the different ones among them and their blobs, all of one state."""
        for state in self._states():
            try:
                keys = encode(state)
            except DataError:
                if not self._have_changed(state):
                    raise
                continue
            distinct = [_distinct(of_namespace) for of_namespace in keys]
            kept = [state.cache.of(position, of_namespace) for position, of_namespace in enumerate(distinct)]
            missing = [missing_of(*pair) for pair in zip(distinct, kept, strict=True)]
            if not any(missing):
                if state.cache.is_current() or self._is_still(state):
                    others: Sequence[Sequence[bytes | None]] = missing
                    break
                continue
            start, writes = monotonic(), Writes.count
            generations, others = self._fetcher.many(state.abouts, missing)
            if generations == state.generations:
                state.cache.stand(start, writes)
                break
        if at_us < state.answerable_us and any(keys):
            self._refuse_too_early(state, at_us)
        for position, (of_namespace, blobs) in enumerate(zip(missing, others, strict=True)):
            if of_namespace:
                self._check_all(position, state.finds[position], of_namespace, blobs, at_us)
                state.cache.keep(position, of_namespace, blobs)
                kept[position] = together(kept[position], blobs)
        return state, keys, distinct, kept

    def _check_all(
        self, position: int, find: Find, keys: Sequence[bytes], blobs: Sequence[bytes | None], at_us: int
    ) -> None:
        """Refuse blobs of which one is not what was written under its key; the error names it."""
        own_keys, whole = keys, blobs
        if not all(blobs):  # a blob is not empty
            own_keys = [key for key, blob in zip(keys, blobs, strict=True) if blob is not None]
            whole = [blob for blob in blobs if blob is not None]
        try:
            are_all = are_whole(own_keys, whole)  # type: ignore[arg-type]
        except TypeError:  # something else stands in place of a blob
            are_all = False
        if not are_all:
            for key, blob in zip(own_keys, whole, strict=True):
                self._check(position, find, key, blob, at_us)  # type: ignore[arg-type]
            raise self._damage_error(position, keys, blobs, ValueError("a checksum does not fit"))

    def holds(self, position: int, key: Key) -> bool:
        """Whether a key has any row in a namespace, visible yet or not."""
        for state in self._states():
            contents, abouts = state.contents, state.abouts
            try:
                blob_key = contents[position].encode(key)
            except DataError:
                if not self._have_changed(state):
                    raise
                continue
            keys: list[bytes | None] = [None] * len(contents)
            keys[position] = blob_key
            generations, blobs = self._fetcher.one(abouts, keys)
            if generations[position] == contents[position].generation:
                break
        return blobs[position] is not None

    def _states(self) -> Iterator[ReaderState]:
        """The state to read with; after each read that does not fit it, the one that is there by then.

        Who loads all the time gives new generations and holds up nobody for ever; the same ones again and again are damage.

        Raises:
            DamagedNamespaceError: reads do not fit what the namespaces say of themselves, which stays the same.
        """
        in_vain = 0
        while in_vain < _READS_IN_VAIN:
            state = self._state
            yield state
            self._state = self._read_state()
            in_vain = in_vain + 1 if self._state.generations == state.generations else 0
        names = [namespace for namespace, _ in self._selections]
        raise DamagedNamespaceError(
            f"one of the online namespaces {one_of(names)} is damaged: {_READS_IN_VAIN} reads of their rows did not fit what they say of "
            f"themselves (in {one_of(map(self._fetcher.where, range(len(names))))}). Remove it and load its group again"
        )

    def _have_changed(self, state: ReaderState) -> bool:
        """Whether the namespaces are no longer what they were; learns what they are."""
        self._state = self._read_state()
        return self._state.abouts != state.abouts

    def _read_state(self, read: Sequence[About] | None = None) -> ReaderState:
        abouts = self._fetcher.abouts() if read is None else read
        return reader_state(abouts, self._selections, self._slots, self._most_bytes)

    def _refuse_too_early(self, state: ReaderState, at_us: int) -> None:
        for position, content in enumerate(state.contents):
            if at_us < content.answerable_us:
                raise PredictionError(
                    f"online namespace {self._selections[position][0]!r} answers from "
                    f"{from_microseconds(content.answerable_us).isoformat()} on and cannot say what was known at "
                    f"{from_microseconds(at_us).isoformat()}: ask for a later instant, or load the group with a longer "
                    "online_history"
                )

    def _check(self, position: int, find: Find, key: bytes, blob: bytes, at_us: int) -> RawWinner | None:
        """What a blob says; the error names its namespace and key."""
        try:
            return find(key, blob, at_us)
        except DataError:
            raise
        except Exception as error:
            raise self._damage_error(position, key, blob, error) from error

    def _damage_error(self, position: int, key: object, blob: object, error: Exception) -> DamagedError:
        return damaged_at(self._selections[position][0], key, blob, str(error), self._fetcher.where(position))


def _distinct(keys: list[bytes | None]) -> list[bytes]:
    unique = {*keys}
    if len(unique) == len(keys) and None not in unique:
        return keys  # type: ignore[return-value]
    result = dict.fromkeys(keys)
    result.pop(None, None)
    return list(result)  # type: ignore[arg-type]


def _winner(winner: RawWinner | None) -> Winner | None:
    return None if winner is None else Winner(*winner)
