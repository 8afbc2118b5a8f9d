"""DuckDB extensions without a network: already installed, else from a wheel, else installed, else a clear error."""

import importlib.util
from pathlib import Path

import duckdb

from fti_assets.errors import MissingExtraError
from fti_assets.stores.sql import literal

_EXTRAS = {"postgres_scanner": "postgres", "httpfs": "s3"}


def load_extension(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    """Load an extension into a connection.

    Raises:
        MissingExtraError: it is not installed, no wheel carries it, and it cannot be downloaded.
    """
    connection.execute("SET autoinstall_known_extensions = false")  # else LOAD itself asks the network first
    attempts = (lambda: connection.execute(f"LOAD {name}"), lambda: _load_wheel(connection, name),
                lambda: connection.execute(f"INSTALL {name}; LOAD {name}"))  # fmt: skip
    problems = []
    for attempt in attempts:
        try:
            attempt()
        except (duckdb.Error, FileNotFoundError) as problem:
            problems.append(str(problem).splitlines()[0])
        else:
            return
    wheel = f"duckdb-extension-{name.replace('_', '-')}=={duckdb.__version__}"
    raise MissingExtraError(
        f"DuckDB {duckdb.__version__} cannot load its extension {name!r}: pip install '{wheel}', which "
        f"fti-assets[{_EXTRAS.get(name, 'pipelines')}] brings. Tried: {'; '.join(problems)}"
    )


def _load_wheel(connection: duckdb.DuckDBPyConnection, name: str) -> None:
    spec = importlib.util.find_spec(f"duckdb_extension_{name}")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(f"no wheel duckdb_extension_{name}")
    file = Path(spec.origin).parent / "extensions" / f"v{duckdb.__version__}" / f"{name}.duckdb_extension"
    if not file.exists():
        raise FileNotFoundError(f"no {file.name} for DuckDB {duckdb.__version__} in its wheel")
    connection.execute(f"LOAD {literal(str(file))}")
