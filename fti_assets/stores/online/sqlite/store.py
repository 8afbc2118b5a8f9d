"""The embedded online store: SQLite in WAL mode, one file a namespace, one checked blob a key.

Every write is one transaction; readers keep reading, and see the old content or the new.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

from fti_assets.core.logs import late_logger
from fti_assets.core.sql import is_name
from fti_assets.stores.file_kinds import check_folder
from fti_assets.stores.files import guard_writes, make_folder, paths_in, readable
from fti_assets.stores.locks import hold_lock
from fti_assets.stores.online.about import About, DamagedNamespaceError
from fti_assets.stores.online.protocol import (
    OnlineStore,
    absent,
    all_whole,
    checked_namespace,
    readable_or_none,
)
from fti_assets.stores.online.reader import NamespacesReader
from fti_assets.stores.online.sqlite.connections import Connections
from fti_assets.stores.online.sqlite.files import (
    check_namespace_file,
    connect_to_read,
    file_error,
    read_about,
)
from fti_assets.stores.online.sqlite.open_file import OpenFile
from fti_assets.stores.online.sqlite.reads import SqliteReads
from fti_assets.stores.online.sqlite.writer import SqliteWriter

_log = late_logger(__name__)
_LOCK_SECONDS = 600.0


class SqliteOnlineStore(OnlineStore):
    """A folder of namespaces, ``<root>/<namespace>.sqlite``.

    >>> store = SqliteOnlineStore("online/")  # doctest: +SKIP
    >>> reader = store.reader("weather_v1", columns=["temp"])  # doctest: +SKIP
    >>> reader.get(("JFK",), at_us=1_370_000_000_000_000)  # doctest: +SKIP
    Winner(event_us=1369998000000000, visible_us=1369999800000000, values=(71.6,))
    """

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)
        self._connections = Connections()
        self._open_files: dict[str, OpenFile] = {}

    @property
    def location(self) -> str:
        return str(self.root)

    def __str__(self) -> str:
        return self.location

    def namespaces(self) -> tuple[str, ...]:
        with readable(self.root):
            check_folder(self.root)
        names = [path.stem for path in paths_in(self.root, "*.sqlite")]
        return tuple(name for name in names if is_name(name) and self.about(name) is not None)

    def about(self, namespace: str) -> About | None:
        path = self._file(namespace)
        with readable(path):
            check_folder(self.root)
            if not path.exists():
                check_namespace_file(path)
                return None
        with closing(connect_to_read(path)) as connection:
            return read_about(connection, path)

    @contextmanager
    def writing(self, namespace: str) -> Iterator[SqliteWriter]:
        path = self._file(namespace)
        with readable(path):
            check_folder(self.root)
            check_namespace_file(path)
        with guard_writes(path.parent):
            make_folder(path.parent)
        with hold_lock(path.with_name(f".{namespace}.lock"), _LOCK_SECONDS):
            file = self._open_files.get(namespace)
            if file is not None and not file.is_current():
                file = None
            yield SqliteWriter(path, self._about_to_write(namespace, path, file), file)

    def _about_to_write(self, namespace: str, path: Path, file: OpenFile | None) -> About | None:
        if file is None:
            return readable_or_none(self, namespace)
        try:
            return file.about()
        except DamagedNamespaceError as error:
            file.forget()
            _log.warning("%s", error)
            return None
        except sqlite3.Error as error:
            raise file_error(path, error) from error

    @contextmanager
    def keep_open(self, namespace: str) -> Iterator[None]:
        path = self._file(namespace)
        try:
            file = OpenFile(path)
        except sqlite3.Error as error:
            raise file_error(path, error) from error
        self._open_files[namespace] = file
        try:
            yield
        finally:
            if self._open_files.get(namespace) is file:
                del self._open_files[namespace]
            file.close()

    def readers(
        self, selections: Sequence[tuple[str, Sequence[str] | None]], slots: Sequence[Sequence[int]] = ()
    ) -> NamespacesReader:
        abouts = []
        for namespace, _ in selections:
            about = self.about(namespace)
            if about is None:
                raise absent(self, namespace)
            abouts.append(about)
        reads = SqliteReads([self._file(namespace) for namespace, _ in selections], self._connections)
        reads.forget()
        return NamespacesReader(reads, selections, slots, abouts)

    def everything(self, namespace: str) -> tuple[About, Iterator[tuple[bytes, bytes]]]:
        path = self._file(namespace)
        if self.about(namespace) is None:
            raise absent(self, namespace)
        connection = connect_to_read(path)
        try:
            connection.execute("BEGIN")  # so that what it says of itself and its rows are of one state
            about = read_about(connection, path)
            if about is None:
                raise absent(self, namespace)
        except BaseException:
            connection.close()
            raise

        def rows() -> Iterator[tuple[bytes, bytes]]:
            try:
                with closing(connection):
                    yield from all_whole(
                        connection.execute("SELECT key, blob FROM rows ORDER BY key"), namespace, str(path)
                    )
            except sqlite3.Error as error:
                raise file_error(path, error) from error

        return about, rows()

    def counts(self, namespace: str) -> tuple[int, int]:
        path = self._file(namespace)
        if self.about(namespace) is None:
            raise absent(self, namespace)
        try:
            with closing(connect_to_read(path)) as connection:  # one statement, so of one state
                counts = connection.execute("SELECT keys, (SELECT count(*) FROM rows) FROM about").fetchone()
        except sqlite3.Error as error:
            raise file_error(path, error) from error
        if counts is None:  # it was dropped meanwhile
            raise absent(self, namespace)
        keys, rows = counts
        return int(keys), int(rows)

    def _file(self, namespace: str) -> Path:
        return self.root / f"{checked_namespace(namespace)}.sqlite"
