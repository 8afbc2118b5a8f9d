"""DuckDB extensions without a network: already installed, else from a wheel, else installed, else a clear error.

To check an extension's signature, DuckDB hashes its whole file, which takes a quarter of a second of CPU: longer than to open a lake
and read a partition. Here each file is checked once in a process, and loaded unchecked as long as it stays as it was.
"""

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path

import duckdb

from fti_assets.core.sql import literal
from fti_assets.errors import MissingExtraError

_EXTRAS = {"postgres_scanner": "postgres", "httpfs": "s3"}
_files_by_name: dict[str, tuple[Path, tuple[int, ...]]] = {}


def connect_in_memory(config: Mapping[str, str] | None = None) -> duckdb.DuckDBPyConnection:
    """A connection to a database in memory, of DuckDB's options, into which ``load_extension`` loads fast."""
    return duckdb.connect(":memory:", config={"allow_unsigned_extensions": "true", **(config or {})})


def load_extension(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Load an extension into a connection, its signature checked.

    Raises:
        MissingExtraError: it is not installed, no wheel carries it, and it cannot be downloaded.
    """
    connection.execute("SET autoinstall_known_extensions = false")  # else what is missing is asked of the network
    file, stamp = _files_by_name.get(name, (None, None))
    if file is None or not file.exists() or _stamp(file) != stamp:
        with duckdb.connect(":memory:") as checking:
            file = _load_signed(checking, name)
            _files_by_name[name] = file, _stamp(file)
    connection.execute(f"LOAD {literal(str(file))}")


def _stamp(file: Path) -> tuple[int, ...]:
    status = file.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _load_signed(connection: duckdb.DuckDBPyConnection, name: str) -> Path:
    """Load an extension into a connection that checks its signature, and tell its file."""
    connection.execute("SET autoinstall_known_extensions = false")  # else LOAD itself asks the network first
    attempts: tuple[Callable[[], Path], ...] = (
        lambda: _load_installed(connection, name),
        lambda: _load_wheel(connection, name),
        lambda: _load_installed(connection, name, install=True),
    )
    problems = []
    for attempt in attempts:
        try:
            return attempt()
        except (duckdb.Error, FileNotFoundError) as problem:
            problems.append(str(problem).splitlines()[0])
    wheel = f"duckdb-extension-{name.replace('_', '-')}=={duckdb.__version__}"
    raise MissingExtraError(
        f"DuckDB {duckdb.__version__} cannot load its extension {name!r}: pip install '{wheel}', which "
        f"fti-assets[{_EXTRAS.get(name, 'pipelines')}] brings. Tried: {'; '.join(problems)}"
    )


def _load_installed(connection: duckdb.DuckDBPyConnection, name: str, *, install: bool = False) -> Path:
    connection.execute(f"INSTALL {name}; LOAD {name}" if install else f"LOAD {name}")
    query = f"SELECT install_path FROM duckdb_extensions() WHERE extension_name = {literal(name)}"
    ((file,),) = connection.execute(query).fetchall()
    return Path(file)


def _load_wheel(connection: duckdb.DuckDBPyConnection, name: str) -> Path:
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"no wheel duckdb_extension_{name}")
    file = Path(spec.origin).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    if not file.exists():
        raise FileNotFoundError(f"no {file.name} for DuckDB {duckdb.__version__} in its wheel")
    connection.execute(f"LOAD {literal(str(file))}")
    return file
