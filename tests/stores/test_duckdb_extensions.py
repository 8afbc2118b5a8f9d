"""Extensions load in an order: what is installed, then a wheel, then the network, else an error that says what to do."""

import socket
from typing import Any

import duckdb
import pytest

from fti_assets.errors import MissingExtraError
from fti_assets.stores import duckdb_extensions
from fti_assets.stores.duckdb_extensions import load_extension


class Recorded:
    """A connection that answers to some statements and refuses the others."""

    def __init__(self, *answered: str) -> None:
        self.answered = answered
        self.asked: list[str] = []

    def execute(self, sql: str) -> None:
        if sql.startswith("SET"):
            return
        self.asked.append(sql)
        if not sql.startswith(self.answered or ("-",)):
            raise duckdb.IOException(f"no: {sql}\nand more that nobody reads")


def test_the_lake_extensions_load_without_a_network(tmp_path: Any) -> None:
    with duckdb.connect(config={"extension_directory": str(tmp_path)}) as connection:
        connection.execute("SET custom_extension_repository = 'http://127.0.0.1:1'")
        for name in ("sqlite_scanner", "ducklake"):
            load_extension(connection, name)
        loaded = connection.execute("SELECT extension_name FROM duckdb_extensions() WHERE loaded").fetchall()
    assert {("sqlite_scanner",), ("ducklake",)} <= set(loaded)
    assert not list(tmp_path.rglob("*.duckdb_extension"))


def test_nothing_is_asked_of_the_network_while_a_wheel_will_do(tmp_path: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as repository, duckdb.connect() as connection:
        repository.settimeout(0)
        connection.execute(f"SET extension_directory = '{tmp_path}'")
        connection.execute(f"SET custom_extension_repository = 'http://127.0.0.1:{repository.getsockname()[1]}'")
        load_extension(connection, "sqlite_scanner")
        with pytest.raises(BlockingIOError):
            repository.accept()


def test_an_installed_extension_is_taken_first() -> None:
    connection = Recorded("LOAD ducklake")
    load_extension(connection, "ducklake")  # type: ignore[arg-type]
    assert connection.asked == ["LOAD ducklake"]


def test_then_the_wheel() -> None:
    connection = Recorded("LOAD '")
    load_extension(connection, "ducklake")  # type: ignore[arg-type]
    assert len(connection.asked) == 2
    assert connection.asked[1].endswith(f"/v{duckdb.__version__}/ducklake.duckdb_extension'")


def test_then_the_network() -> None:
    connection = Recorded("INSTALL")
    load_extension(connection, "no_such_thing")  # type: ignore[arg-type]
    assert connection.asked == ["LOAD no_such_thing", "INSTALL no_such_thing; LOAD no_such_thing"]


def test_an_extension_that_is_nowhere_names_the_wheel_to_install() -> None:
    with pytest.raises(MissingExtraError) as caught:
        load_extension(Recorded(), "no_such_thing")  # type: ignore[arg-type]
    text = str(caught.value)
    assert f"pip install 'duckdb-extension-no-such-thing=={duckdb.__version__}'" in text
    assert "no: LOAD no_such_thing; no wheel duckdb_extension_no_such_thing; no: INSTALL" in text
    assert "nobody reads" not in text


def test_a_wheel_for_another_duckdb_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duckdb_extensions.duckdb, "__version__", "99.0.0")
    with pytest.raises(MissingExtraError, match=r"no ducklake\.duckdb_extension for DuckDB 99\.0\.0 in its wheel"):
        load_extension(Recorded(), "ducklake")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "extra"), [("postgres_scanner", "postgres"), ("httpfs", "s3"), ("ducklake", "pipelines")]
)
def test_the_extra_that_brings_it_is_named(name: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(duckdb_extensions.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(MissingExtraError, match=rf"which fti-assets\[{extra}\] brings"):
        load_extension(Recorded(), name)  # type: ignore[arg-type]
