"""Extensions load in an order: what is installed, then a wheel, then the network, else an error that says what to do."""

import shutil
import socket
from pathlib import Path

import duckdb
import pytest

from fti_assets.errors import MissingExtraError
from fti_assets.stores.duckdb import extensions as duckdb_extensions
from fti_assets.stores.duckdb.extensions import connect_in_memory, load_extension


class Recorded:
    """A connection that answers to some statements and refuses the others."""

    def __init__(self, *answered: str) -> None:
        self.answered = answered
        self.asked: list[str] = []

    def execute(self, sql: str) -> "Recorded":
        if sql.startswith(("SET", "SELECT install_path")):
            return self
        self.asked.append(sql)
        if not sql.startswith(self.answered or ("-",)):
            raise duckdb.IOException(f"no: {sql}\nand more that nobody reads")
        return self

    def fetchall(self) -> list[tuple[str]]:
        return [("/somewhere/it.duckdb_extension",)]


@pytest.fixture(autouse=True)
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test knows what another has checked."""
    monkeypatch.setattr(duckdb_extensions, "_files_by_name", {})


@pytest.fixture
def no_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is installed for the user."""
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def loaded(connection: duckdb.DuckDBPyConnection) -> set[str]:
    results = connection.execute("SELECT extension_name FROM duckdb_extensions() WHERE loaded").fetchall()
    return {name for (name,) in results}


@pytest.mark.usefixtures("no_home")
def test_the_lake_extensions_load_without_a_network(tmp_path: Path) -> None:
    with connect_in_memory() as connection:
        for name in ("sqlite_scanner", "ducklake"):
            load_extension(connection, name)
        assert {"sqlite_scanner", "ducklake"} <= loaded(connection)
    assert not list(tmp_path.rglob("*.duckdb_extension"))


def test_nothing_is_asked_of_network_while_wheel_will_do(no_home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as repository, duckdb.connect() as connection:
        repository.settimeout(0)
        connection.execute(f"SET custom_extension_repository = 'http://127.0.0.1:{repository.getsockname()[1]}'")
        duckdb_extensions._load_signed(connection, "sqlite_scanner")
        with pytest.raises(BlockingIOError):
            repository.accept()


@pytest.mark.soak
def test_a_file_is_checked_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with duckdb.connect() as connection:
        wheel = duckdb_extensions._load_wheel(connection, "sqlite_scanner")
    file, checks = tmp_path / "sqlite_scanner.duckdb_extension", []
    shutil.copy(wheel, file)

    def signed(connection: duckdb.DuckDBPyConnection, name: str) -> Path:
        connection.execute(f"LOAD '{file}'")
        checks.append(name)
        return file

    monkeypatch.setattr(duckdb_extensions, "_load_signed", signed)
    for _ in range(3):
        with connect_in_memory() as connection:
            load_extension(connection, "sqlite_scanner")
            assert "sqlite_scanner" in loaded(connection)
    assert checks == ["sqlite_scanner"]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.unlink()
    file.write_bytes(content)
    with connect_in_memory() as connection, pytest.raises(duckdb.Error, match="signature"):
        load_extension(connection, "sqlite_scanner")
    assert checks == ["sqlite_scanner"]


def test_an_installed_extension_is_taken_first() -> None:
    connection = Recorded("LOAD ducklake")
    file = duckdb_extensions._load_signed(connection, "ducklake")  # type: ignore[arg-type]
    assert connection.asked == ["LOAD ducklake"]
    assert file == Path("/somewhere/it.duckdb_extension")


def test_then_the_wheel() -> None:
    connection = Recorded("LOAD '")
    duckdb_extensions._load_signed(connection, "ducklake")  # type: ignore[arg-type]
    assert len(connection.asked) == 2
    assert connection.asked[1].endswith(f"/v{duckdb.__version__}/ducklake.duckdb_extension'")


def test_then_the_network() -> None:
    connection = Recorded("INSTALL")
    duckdb_extensions._load_signed(connection, "no_such_thing")  # type: ignore[arg-type]
    assert connection.asked == ["LOAD no_such_thing", "INSTALL no_such_thing; LOAD no_such_thing"]


def test_extension_that_is_nowhere_names_wheel_to_install() -> None:
    with pytest.raises(MissingExtraError) as caught:
        duckdb_extensions._load_signed(Recorded(), "no_such_thing")  # type: ignore[arg-type]
    text = str(caught.value)
    assert f"pip install 'duckdb-extension-no-such-thing=={duckdb.__version__}'" in text
    assert "no: LOAD no_such_thing; no wheel duckdb_extension_no_such_thing; no: INSTALL" in text
    assert "nobody reads" not in text


def test_a_wheel_for_another_duckdb_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duckdb_extensions.duckdb, "__version__", "99.0.0")
    with pytest.raises(MissingExtraError, match=r"no ducklake\.duckdb_extension for DuckDB 99\.0\.0 in its wheel"):
        duckdb_extensions._load_signed(Recorded(), "ducklake")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "extra"), [("postgres_scanner", "postgres"), ("httpfs", "s3"), ("ducklake", "pipelines")]
)
def test_the_extra_that_brings_it_is_named(name: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duckdb_extensions.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=rf"which fti-assets\[{extra}\] brings"):
        duckdb_extensions._load_signed(Recorded(), name)  # type: ignore[arg-type]
