"""What every online store does: namespaces of checked blobs by key, loaded whole or in part, read while they are loaded."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from itertools import islice
from typing import Protocol

from fti_assets.core.logs import late_logger
from fti_assets.core.manifest import Column
from fti_assets.core.sql import is_name
from fti_assets.core.types import ColumnType
from fti_assets.errors import DataError, NotMaterializedError, StoreError, excerpt, one_of
from fti_assets.stores.online.about import About, DamagedNamespaceError, Schema, damaged_at
from fti_assets.stores.online.blobs import BlobFormat, Blobs
from fti_assets.stores.online.checksums import is_whole
from fti_assets.stores.online.keys import key_encoder
from fti_assets.stores.online.namespace import NamespaceReader
from fti_assets.stores.online.reader import NamespacesReader
from fti_assets.stores.online.versions import Key, Version

_log = late_logger(__name__)


class NamespaceWriter(Protocol):
    """A namespace under its writers' lock; what it writes, readers see whole or not at all."""

    about: About | None
    """What the namespace said when the lock was taken, None if it was never loaded or cannot be read."""

    def load(self, schema: Schema, blobs: Blobs, *, answers_from: datetime | None, snapshot: int, origin: str) -> int:
        """Replace the whole content and return how many keys it has.

        Args:
            schema: of the new content.
            blobs: all of it, in the order of the encoded keys.
            answers_from: the earliest instant (naive UTC) that can be answered, None for any.
            snapshot: the lake snapshot that the rows come from.
            origin: what to note of it.

        Raises:
            DataError: keys are out of order or come twice; nothing was changed.
            StoreError: the store cannot be written, or the lock was lost to another writer; nothing was changed.
        """

    def apply(
        self, blobs: Blobs, removals: Iterable[bytes], *, answers_from: datetime | None, snapshot: int, origin: str
    ) -> int:
        """Replace some keys and remove others, and return how many keys the namespace then has.

        Takes and raises what ``load`` does; ``removals`` are the encoded keys to remove, there or not, asked for after the
        last blob.
        """

    def blobs(self, keys: Sequence[bytes]) -> dict[bytes, bytes]:
        """The blobs of those of some encoded keys that are there."""

    def count_keys(self) -> int:
        """How many keys are there, which is what the namespace says of itself unless someone removed some."""

    def delete(self, keys: Iterable[bytes]) -> int:
        """Remove encoded keys and return how many of them were there."""

    def drop(self) -> None:
        """Remove the namespace."""


class OnlineStore(Protocol):
    """A store of namespaces, one a group version. Make one with ``online_store``; ``str`` of it shows no password."""

    is_embedded: bool = True
    """Whether it is read in this process, so that no read waits for a server."""

    @property
    def location(self) -> str:
        """What ``online_store`` makes it from."""

    def namespaces(self) -> tuple[str, ...]:
        """The namespaces that have been loaded."""

    def about(self, namespace: str) -> About | None:
        """What a namespace says of itself, None if it was never loaded."""

    def writing(self, namespace: str) -> AbstractContextManager[NamespaceWriter]:
        """Hold a namespace's writers' lock for a block; a second writer waits."""

    @contextmanager
    def keep_open(self, namespace: str) -> Iterator[None]:
        """For a block in which a namespace is written again and again, keep what each write would open and close."""
        yield

    def readers(
        self, selections: Sequence[tuple[str, Sequence[str] | None]], slots: Sequence[Sequence[int]] = ()
    ) -> NamespacesReader:
        """Open several namespaces to be read together.

        Args:
            selections: each namespace with the columns to return, in order, None for all.
            slots: of each namespace, where rows hold the parts of its key, for those that read by rows.

        Raises:
            NotMaterializedError: one was never loaded.
            StoreError: one has no such column.
        """

    def everything(self, namespace: str) -> tuple[About, Iterator[tuple[bytes, bytes]]]:
        """What a namespace says of itself, and all its encoded keys with their blobs, in the order of the keys, of one of its states.

        Raises:
            NotMaterializedError: it was never loaded.
            DamagedNamespaceError: a blob is not what was written.
        """

    def counts(self, namespace: str) -> tuple[int, int]:
        """How many keys a namespace says that it has, and how many it has.

        Raises:
            NotMaterializedError: it was never loaded.
        """
        about, rows = self.everything(namespace)
        return about.keys, sum(1 for _ in rows)

    def snapshot(self, namespace: str) -> int | None:
        """The lake snapshot that a namespace was loaded from, None if it never was."""
        about = self.about(namespace)
        return None if about is None else about.snapshot

    def reader(self, namespace: str, *, columns: Sequence[str] | None = None) -> NamespaceReader:
        """Open a namespace for reading.

        Args:
            columns: the columns to return, in order; all by default.

        Raises:
            NotMaterializedError: it was never loaded.
            StoreError: it has no such column.
        """
        return NamespaceReader(self.readers([(namespace, columns)]))

    def load(
        self,
        namespace: str,
        *,
        key_types: tuple[ColumnType, ...],
        columns: tuple[Column, ...],
        rows: Iterable[tuple[Key, Sequence[Version]]],
        answers_from: datetime | None,
        snapshot: int,
        event_time: bool,
    ) -> None:
        """Replace the whole content of a namespace; readers see the old content or the new.

        Args:
            key_types: text, integer, boolean or timestamp for each part of a key.
            columns: the columns of a version's values, in order; timestamps are int64 microseconds since 1970.
            rows: each key once, with its versions by rising visible time, no event time before the last one's; a lookup
                has one version a key.
            answers_from: the earliest instant (naive UTC) that can be answered, None for any.
            snapshot: the lake snapshot that the rows come from.
            event_time: False for a lookup, whose versions have no times.

        Raises:
            DataError: a key comes twice or is of another type, or versions are out of order; nothing was changed.
            StoreError: the store cannot be written.
        """
        schema = Schema(tuple(key_types), tuple(columns), event_time)
        with self.writing(namespace) as writer:
            blobs = sorted(pack_rows(namespace, schema, rows))
            try:
                writer.load(schema, iter(blobs), answers_from=answers_from, snapshot=snapshot, origin="")
            except DamagedNamespaceError as error:
                _log.warning("%s", error)
                writer.drop()
                writer.load(schema, iter(blobs), answers_from=answers_from, snapshot=snapshot, origin="")

    def delete(self, namespace: str, keys: Iterable[Key]) -> int:
        """Remove keys, such as a person's, and return how many of them were there.

        The lake is the truth: remove them there first, or the next load brings them back.

        Raises:
            NotMaterializedError: the namespace was never loaded.
            DataError: a key is not of the namespace's types; nothing was removed.
        """
        with self.writing(namespace) as writer:
            if writer.about is None:
                raise absent(self, namespace)
            encode = key_encoder(writer.about.schema.key_types, namespace)
            return writer.delete(sorted({encode(tuple(key)) for key in keys}))

    def drop(self, namespace: str) -> None:
        """Remove a namespace, if it is there."""
        with self.writing(namespace) as writer:
            writer.drop()


def checked_namespace(name: str) -> str:
    """The name of a namespace, or a StoreError if it cannot be one."""
    if not is_name(name):
        raise StoreError(f"{excerpt(name)} is not the name of a namespace: names are [a-z_][a-z0-9_]*")
    return name


def absent(store: OnlineStore, namespace: str) -> NotMaterializedError:
    """The error of a namespace that is not there."""
    return NotMaterializedError(
        f"no online namespace {namespace!r} in {store}: it has {one_of(store.namespaces())}. "
        "Materialize the feature group with online=True, or copy its namespace here"
    )


def readable_or_none(store: OnlineStore, namespace: str) -> About | None:
    """What a namespace says of itself, None if it was never loaded or is damaged: a writer then loads it whole."""
    try:
        return store.about(namespace)
    except DamagedNamespaceError as error:
        _log.warning("%s", error)
        return None


def pack_rows(
    namespace: str, schema: Schema, rows: Iterable[tuple[Key, Sequence[Version]]]
) -> Iterable[tuple[bytes, bytes]]:
    """Keys and versions as encoded keys and blobs.

    Raises:
        DataError: a key is of another type, or versions are out of order or of other types.
    """
    encode = key_encoder(schema.key_types, namespace)
    blob_format = BlobFormat(schema.columns, event_time=schema.event_time)
    for key, versions in rows:
        blob_key = encode(key)
        try:
            yield blob_key, blob_format.pack(blob_key, versions)
        except DataError as error:
            raise DataError(f"key {key!r} of online namespace {namespace!r}: {error}") from error


def in_order(namespace: str, blobs: Blobs) -> Blobs:
    """The same blobs, of which each key is greater than the one before.

    Raises:
        DataError: a key comes twice or out of order.
    """
    last = None
    for pair in blobs:
        key = pair[0]
        if last is not None and key <= last:
            problem = "comes twice: give all its versions at once" if key == last else "is out of order"
            raise DataError(f"key {key_text(key)} of online namespace {namespace!r} {problem}")
        last = key
        yield pair


def all_whole(rows: Iterable[tuple[bytes, bytes]], namespace: str, where: str) -> Iterator[tuple[bytes, bytes]]:
    """The same keys and blobs, each of which is what was written.

    Raises:
        DamagedNamespaceError: one is not.
    """
    for key, blob in rows:
        if not is_whole(key, blob):
            raise damaged_at(namespace, key, blob, "the checksum does not fit", where)
        yield key, blob


def chunks(blobs: Blobs, size: int) -> Iterator[list[tuple[bytes, bytes]]]:
    """The same blobs, so many at a time."""
    while chunk := list(islice(blobs, size)):
        yield chunk


def key_text(blob_key: bytes) -> str:
    """An encoded key for an error message."""
    return repr(blob_key.decode(errors="replace"))
