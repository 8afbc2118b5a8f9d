"""Reading one namespace of an online store."""

from collections.abc import Sequence
from datetime import datetime

from fti_assets.core.manifest import Column
from fti_assets.core.types import ColumnType
from fti_assets.stores.online.reader import NamespacesReader
from fti_assets.stores.online.versions import Key, Winner


class NamespaceReader:
    """Reads one namespace, from any thread, while others load it."""

    def __init__(self, reader: NamespacesReader) -> None:
        self._reader = reader

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of a winner's values, in order."""
        return self._reader.columns[0]

    @property
    def as_json(self) -> tuple[str, ...]:
        """The columns whose texts are JSON."""
        return self._reader.as_json[0]

    @property
    def key_types(self) -> tuple[ColumnType, ...]:
        """The types of a key's parts."""
        return self._reader.key_types[0]

    @property
    def answers_from(self) -> datetime | None:
        """The earliest instant (naive UTC) that can be answered, None for any, as of the last read."""
        return self._reader.answers_from[0]

    @property
    def ttl_us(self) -> int | None:
        """How old a row may be at most, in microseconds; None for any age, or where an earlier release loaded the namespace."""
        return self._reader.ttl_us[0]

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
