"""No password, key or signature of an address is shown: not in a repr, an error, a log, a command's output or Dagster's records."""

import logging
import random
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pandas as pd
import pytest
from dagster._core.remote_representation.external_data import RepositorySnap
from dagster._serdes import serialize_value

import fti_assets as fti
from fti_assets.cli.commands import main
from fti_assets.components import StoresComponent
from fti_assets.core.addresses import scrub, secrets_of, show_address
from fti_assets.errors import DeclarationError, FtiError, StoreError
from fti_assets.stores.lake.store import OfflineStore
from fti_assets.stores.models.store import ModelStore
from fti_assets.stores.online.store import online_store
from fti_assets.stores.sources.parquet_files import ParquetFiles
from fti_assets.stores.sources.source import column_types, source_connection
from fti_assets.stores.sources.tables import PostgresTable
from tests.support.examples import repetitions

REDIS = [
    "redis://127.0.0.1:1/0?password=s3cret&prefix=x",
    "redis://:s3cret@127.0.0.1:1/0",
    "redis://ann:s3cret@127.0.0.1:1/0?prefix=x&username=ann",
    "redis://ann:a%2Fs3cret@127.0.0.1:1/0",
    "rediss://ann:s3cret@127.0.0.1:1/0?ssl_cert_reqs=none",
    "unix://:s3cret@/nowhere/redis.sock?db=1",
]
NONE = [  # no addresses that a library can read, in which there is a password nevertheless
    "redis://ann:a/s3cret@h:1/0",
    "redis://ann:12/s3cret@h:1/0",
    "redis://ann:a#s3cret@h:1/0",
    "redis://ann:a?s3cret@h:1/0",
    "redis://ann:s3cret@[::1",
    "redis://ann:s3cret℀@h:1",
    "redis://ann:s3cret",
    "rediss://ann:s3cret@127.0.0.1:1/0?ssl_cert_reqs=s3cret",
    "redis://ann:s3cret@127.0.0.1:1/0?protocol=s3cret",
    "redis://s3cret@[::1/0",
    "redis://s3cret@127.0.0.1:1/0",
    "rediss://s3cret@127.0.0.1:1/0?prefix=x",
    "redis://s3cret@127.0.0.1:x/0",
    "redis://127.0.0.1:1/0?db=s3cretx",
    "redis://127.0.0.1:1/0?socket_timeout=s3cret",
    "redis:/127.0.0.1/s3cret",
    "redis://127.0.0.1:1/s3cret/0",
    "redis://127.0.0.1:1/0/s3cret?db=1",
    "rediss://127.0.0.1:1/s3cret#0",
    "redis://ann:12?s3cret@h:1/0",
    "redis://ann:a@b?s3cret@h:1/0",
    "redis://127.0.0.1:1/0?prefix=a;password=s3cret",
    "redis://h:1/0#password=a@s3cret",
    "redis://h:a?s3cret/0",
    "redis://a#s3cret@h:1/0",
    "unix://anns3cret/@run/redis.sock?db=1",
]
OTHERS = [
    "s3://key:s3cret@bucket/x",
    "s3://s3cret@bucket/x",
    "s3:/key:s3cret@bucket/x",
    "postgresql://ann:s3cret@127.0.0.1:1/d",
    "postgresql://ann:12/s3cret@127.0.0.1:1/d",
    "host=127.0.0.1 port=1 password=s3cret",
    "host=127.0.0.1 port=1 password='s3cret \\' t' sslpassword = s3cret",
    "https://h/x?X-Amz-Signature=s3cret",
    "https://ann:12?s3cret@h:1/x",
    "postgresql://ann:12?s3cret@h:1/d",
    "s3://key:12?s3cret@bucket/x",
    "https://ann:x/s3cret@h:1/x",
    'host=h password="s3cret"',
    'host=h password="a s3cret"',
    "host=h password='a s3cret",
    "host=h password=a\\ s3cret",
    "host=h password=a,s3cret",
    "host=h pwd=s3cret",
    "host=h apikey=s3cret",
    "jdbc:postgresql://h/d?user=ann&password=a@s3cret",
]
MISTYPED = [
    " redis://ann:s3cret@h",
    "\tredis://ann:s3cret@h:1/0",
    "redis:ann:s3cret@h",
    "'redis://ann:s3cret@h:1/0'",
    "jdbc:postgresql://ann:s3cret@h:1/d",
]


def said_of(call: Callable[[], object]) -> str:
    """Whatever a call that fails, and its error with all of its causes, say; without the lines of source code."""
    with pytest.raises(FtiError) as raised:
        call()
    lines = "".join(traceback.format_exception(raised.value)).splitlines()
    return "\n".join(line for line in lines if not line.startswith("  "))


@pytest.mark.parametrize("address", [*REDIS, *NONE, *OTHERS, *MISTYPED])
def test_no_secret_is_shown_or_left_in_a_text(address: str) -> None:
    assert "s3cret" not in show_address(address)
    assert show_address(show_address(address)) == show_address(address)
    assert "s3cret" not in scrub(f"cannot connect to '{address}'", secrets_of(address))


WELL_WRITTEN = [
    "redis://ann:s3cret@h:6379/0", "redis://:s3cret@[::1]:6379/0", "redis://h:6379/0?password=s3cret&prefix=x", "redis://h:12?s3cret/0",
    "rediss://ann:a%2Fs3cret@h:1/0", "unix://ann:s3cret@/run/redis.sock?db=1", "unix:///run/redis.sock?password=s3cret",
    "postgresql://ann:s3cret@h:5432/shop", "postgres://ann@h/shop?sslmode=require&password=s3cret", "s3://key:s3cret@bucket/x.parquet",
    "s3://bucket/x.parquet?s3_secret_access_key=s3cret", "https://ann:s3cret@h/x.parquet", "https://h/x.parquet?a=1&sig=s3cret",
    "https://h/x.parquet#token=s3cret", "host=h port=5 password=s3cret user=ann", "host=h user=ann password='s3cret'",
]  # fmt: skip


def test_no_secret_is_shown_of_an_address_that_is_mistyped_anywhere() -> None:
    draw = random.Random(11)
    for _ in range(repetitions(2_000)):
        written = draw.choice(WELL_WRITTEN)
        at, letter = draw.randrange(len(written)), draw.choice(":/@?#&=;,% '\"x1[]\\-+~!$()*\t\n")
        address = written[:at] + draw.choice(["", letter, letter + written[at]]) + written[at + 1 :]
        assert "s3cret" not in show_address(address), address
        rest = address.partition("://")[2]  # as another library repeats it
        assert (
            "s3cret" not in scrub(f"cannot use '{address}', {rest!r}, {address.upper()}", secrets_of(address)).lower()
        ), address


def test_a_mistyped_address_is_no_folder_of_a_sink() -> None:
    for folder in ("s:3//key:s3cret@bucket/x", "redis$://ann:s3cret@h:1/0", "host=h pssword=s3cret"):
        assert "s3cret" not in said_of(lambda folder=folder: fti.ParquetSink(folder))  # type: ignore[misc]


def test_addresses_that_no_library_reads_are_refused_by_name() -> None:
    assert "is no address of a Redis server" in said_of(lambda: online_store("redis://127..1:1/0"))
    assert "cannot be read" in said_of(lambda: ParquetFiles(path="https://h]x?sig=s3cret"))


@pytest.mark.parametrize(
    "plain",
    [
        "stores/online",
        "/tmp/a=b/c@d",
        "redis://127.0.0.1:6379/0?prefix=x",
        "redis://127.0.0.1:6379/0/",
        "redis://127.0.0.1:6379/?db=2&socket_timeout=0.5",
        "redis://[::1]:6379/0",
        "s3://bucket/2013-0?-*.parquet",
        "https://h/@scope/x.parquet",
        "host=db port=5 user=ann dbname=shop",
    ],
)
def test_an_address_without_secrets_is_shown_as_it_is(plain: str) -> None:
    assert show_address(plain) == plain
    assert list(secrets_of(plain)) == []


@pytest.mark.parametrize("address", [*REDIS, *NONE, *OTHERS, *MISTYPED])
@pytest.mark.parametrize("name", ["lake", "models", "online"])
def test_stores_show_no_secret_however_they_are_shown(name: str, address: str) -> None:
    stores = fti.Stores(**{name: address})
    resource = fti.Stores(**{name: address}).process_config_and_initialize()
    for one in (stores, resource):
        assert "s3cret" not in f"{one!r} {one} {one.model_dump()} {vars(one)}"
    component = StoresComponent(**{name: address})
    assert "s3cret" not in f"{component!r} {component} {component.stores!r}"


@pytest.mark.parametrize("address", REDIS)
def test_the_whole_address_is_used(address: str) -> None:
    stores = fti.Stores(online=address)
    again = stores.process_config_and_initialize()
    assert {one.online_store().location for one in (stores, again, fti.Stores(online=stores.online))} == {address}


def test_two_addresses_that_differ_in_their_passwords_stay_two() -> None:
    one, other = (fti.Stores(online=f"redis://ann:{word}@127.0.0.1:1/7") for word in ("s3cret-1", "s3cret-2"))
    assert one.online != other.online
    assert [stores.online_store().location[12:20] for stores in (one, other)] == ["s3cret-1", "s3cret-2"]


@pytest.mark.soak
def test_what_is_shown_of_address_is_none_in_another_process() -> None:
    text = fti.Stores(online="redis://ann:s3cret@127.0.0.1:1/8").online
    code = f"import fti_assets as fti\nfti.Stores(online={text!r}).online_store()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "whose password this process was not given: give the whole address, or dg.EnvVar of it" in done.stderr


@pytest.mark.parametrize("address", REDIS)
def test_dagster_shows_and_records_no_secret(
    address: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SHOP_ONLINE", address)
    caplog.set_level(logging.DEBUG)

    @dg.asset(required_resource_keys={"fti"})
    def looks(context: dg.AssetExecutionContext) -> None:
        context.log.info(f"{context.resources.fti!r} {context.resources.fti.online_store()}")
        assert context.resources.fti.online_store().location == address
        context.resources.fti.online_store().namespaces()

    for inputs in (address, dg.EnvVar("SHOP_ONLINE")):
        stores = fti.Stores(online=inputs)
        definitions = dg.Definitions(assets=[looks], resources={"fti": stores})
        repository = definitions.get_repository_def()
        assert "s3cret" not in serialize_value(RepositorySnap.from_def(repository))
        with dg.DagsterInstance.ephemeral() as instance:
            result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
                instance=instance, raise_on_error=False
            )
            assert not result.success
            events = [serialize_value(log) for log in instance.all_logs(result.run_id)]
            run = instance.get_run_by_id(result.run_id)
            assert run is not None
            snapshot = instance.get_job_snapshot(str(run.job_snapshot_id))
        assert any("cannot be used" in event for event in events)
        assert "s3cret" not in f"{events} {serialize_value(snapshot)} {serialize_value(run)} {caplog.text}"


@pytest.mark.parametrize("address", [*REDIS, *NONE])
def test_an_unreachable_server_is_named_without_a_secret(address: str) -> None:
    @fti.feature_group(keys=["id"], online=True)
    def things() -> pd.DataFrame:
        return pd.DataFrame({"id": [1]})

    uses: list[Callable[[], Any]] = [
        lambda: online_store(address).namespaces(),
        lambda: fti.Stores(online=address).online_store().snapshot("things_v1"),
        lambda: fti.Predictor.load("net", online=address),
    ]
    for use in uses:
        assert "s3cret" not in said_of(use)


@pytest.mark.parametrize("address", OTHERS)
def test_an_address_is_no_folder(address: str) -> None:
    for make in (OfflineStore, ModelStore, online_store):
        result = said_of(lambda make=make: make(address))  # type: ignore[misc]
        assert "store cannot lie at" in result
        assert "s3cret" not in result


@pytest.mark.parametrize("address", MISTYPED)
def test_a_mistyped_address_is_no_folder_either(address: str) -> None:
    for make in (OfflineStore, ModelStore, online_store):
        result = said_of(lambda make=make: make(address))  # type: ignore[misc]
        assert "looks like a mistyped address" in result
        assert "s3cret" not in result


def test_wrong_arguments_are_told_without_a_secret() -> None:
    address = REDIS[0]
    wrong: list[Callable[[], Any]] = [
        lambda: fti.Stores(online=[address]),  # type: ignore[arg-type]
        lambda: fti.Stores(online={"address": address}),  # type: ignore[arg-type]
        lambda: fti.build_definitions([things], resources={"fti": address}),
        lambda: fti.build_definitions([things], resources={"fti": {"online": address}}),
    ]

    @fti.feature_group(keys=["id"])
    def things() -> pd.DataFrame:
        return pd.DataFrame({"id": [1]})

    for call in wrong:
        assert "s3cret" not in said_of(call)


@pytest.mark.parametrize(
    "path",
    ["https://ann:s3cret@127.0.0.1:1/x.parquet?sig=s3cret", "http://127.0.0.1:1/x.parquet?X-Amz-Signature=s3cret"],
)
def test_a_signed_address_that_cannot_be_read(path: str) -> None:
    source = ParquetFiles(path=path)
    assert "s3cret" not in f"{source!r} {source} {source.place}"
    with source_connection() as connection:
        for use in (lambda: column_types(connection, source), lambda: source.version(connection)):
            assert "s3cret" not in said_of(use)
    with pytest.raises(StoreError) as raised, source_connection() as connection:
        connection.sql(f"FROM {source.scan(connection)}").fetchall()
    assert "s3cret" not in "".join(traceback.format_exception_only(raised.value))
    assert raised.value.__cause__ is None


@pytest.mark.parametrize("path", ["s3://key:s3cret@bucket/x", "s3://bucket/x.parquet?s3_secret_access_key=s3cret"])
def test_the_keys_of_a_bucket_stand_in_no_path(path: str) -> None:
    result = said_of(lambda: ParquetFiles(path=path))
    assert "the AWS_ environment variables have them" in result
    assert "s3cret" not in result


def test_keys_of_bucket_that_cannot_be_reached_are_in_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    for variable in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(variable, "s3cret-'quoted")
    with source_connection() as connection:
        assert "s3cret" not in said_of(lambda: column_types(connection, ParquetFiles(path="s3://bucket/x/")))


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://ann:s3cret@127.0.0.1:1/shop?connect_timeout=2",
        "postgresql://ann@127.0.0.1:1/shop?connect_timeout=2&password=s3cret",
        "host=127.0.0.1 port=1 dbname=shop user=ann password='s3cret' connect_timeout=2",
    ],
)
def test_postgres_that_cannot_be_reached_is_named_without_secret(dsn: str) -> None:
    source = PostgresTable(dsn=dsn, table="t")
    assert "s3cret" not in f"{source!r} {source.place}"
    with source_connection() as connection:
        result = said_of(lambda: column_types(connection, source))
    assert "user=ann" in result
    assert "s3cret" not in result


def test_slash_in_password_of_postgres_is_refused_and_not_repeated() -> None:
    source = PostgresTable(dsn="postgresql://ann:12/s3cret@127.0.0.1:1/shop", table="t")
    with source_connection() as connection, pytest.raises(DeclarationError, match="with %2F for /") as raised:
        column_types(connection, source)
    assert "s3cret" not in str(raised.value)


SYSTEM = """
import os
import fti_assets as fti
import pandas as pd


@fti.feature_group(keys=["id"], online=True)
def things() -> pd.DataFrame:
    return pd.DataFrame({"id": [1]})


weather = fti.external_group(
    name="weather", source=fti.PostgresTable(dsn="postgresql://ann:s3cret@127.0.0.1:1/d?connect_timeout=2", table="t"), keys=["id"]
)
files = fti.external_group(
    name="files", source=fti.ParquetFiles(path="https://ann:s3cret@127.0.0.1:1/x.parquet?sig=s3cret"), keys=["id"]
)
defs = fti.build_definitions([things, weather, files], resources={"fti": fti.Stores(lake="lake", online=os.environ["ADDRESS"])})
"""


@pytest.mark.parametrize(
    "command",
    [
        ["describe"], ["describe", "--json"], ["search", "things"], ["forget", "things", "--key", "id=1"],
        ["forget", "things", "--key", "id=1", "--online", "redis://127.0.0.1:1/0?password=s3cret"],
        ["reset", "things", "--yes"], ["lake", "check"], ["lake", "repair", "--online", "redis://:s3cret@127.0.0.1:1/0"],
        ["models", "--models", "s3://key:s3cret@bucket/x"],
    ],
    ids=lambda command: " ".join(command)[:30],
)  # fmt: skip
def test_no_command_says_a_secret(
    tmp_path: Path, command: list[str], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "definitions.py").write_text(SYSTEM)
    with OfflineStore(tmp_path / "lake").connect():
        pass
    monkeypatch.setenv("ADDRESS", REDIS[2])
    monkeypatch.chdir(tmp_path)
    main(command)
    output = "".join(capfd.readouterr())
    assert output
    assert "s3cret" not in output
