"""Whose key a bucket is asked with: the environment's, a profile's or a role's, as services on the loopback give it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import duckdb
import pytest

from fti_assets.errors import StoreError
from fti_assets.stores.buckets import credentials as module
from fti_assets.stores.buckets.access import s3_access
from fti_assets.stores.buckets.credentials import credentials
from fti_assets.stores.buckets.path import BucketPath
from fti_assets.stores.duckdb.s3_secret import read_s3
from tests.support.buckets import KEY, SECRET, BucketServer, bucket_server

ROLE = "arn:aws:iam::123456789012:role/flights"
VARIABLES = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_DEFAULT_REGION",
)


class Roles:
    """The services that give a role's keys: of the machine, of a container, and for a web identity. It counts what it was asked."""

    def __init__(self) -> None:
        roles = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: Any) -> None: ...

            def do_GET(self) -> None:
                self._answer(roles.get(self.path, dict(self.headers)))

            def do_PUT(self) -> None:
                self._answer("the-token" if self.path == "/latest/api/token" else None)

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                self._answer(roles.post(parse_qs(body)))

            def _answer(self, text: str | None) -> None:
                self.send_response(403 if text is None else 200)
                self.end_headers()
                self.wfile.write((text or "").encode())

        self.asked = 0
        self.lasts = timedelta(hours=1)
        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    @property
    def expiration(self) -> str:
        return (datetime.now(UTC) + self.lasts).strftime("%Y-%m-%dT%H:%M:%SZ")

    def get(self, path: str, headers: dict[str, str]) -> str | None:
        root = "/latest/meta-data/iam/security-credentials/"
        if path.startswith("/latest/") and headers.get("X-Aws-Ec2-Metadata-Token".title()) != "the-token":
            return None
        if path == "/container" and headers.get("Authorization") != "of the pod":
            return None
        if path == root:
            return "flights\n"
        self.asked += 1
        keys = {"AccessKeyId": KEY, "SecretAccessKey": SECRET, "Token": "session", "Expiration": self.expiration}
        return json.dumps(keys) if path in (f"{root}flights", "/container") else None

    def post(self, fields: dict[str, list[str]]) -> str | None:
        if (fields["RoleArn"], fields["WebIdentityToken"]) != ([ROLE], ["of the pod"]):
            return None
        self.asked += 1
        return (
            '<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult>'
            f"<Credentials><AccessKeyId>{KEY}</AccessKeyId><SecretAccessKey>{SECRET}</SecretAccessKey><SessionToken>session</SessionToken>"
            f"<Expiration>{self.expiration}</Expiration></Credentials></AssumeRoleWithWebIdentityResult>"
            "</AssumeRoleWithWebIdentityResponse>"
        )


@pytest.fixture(scope="module")
def server() -> Iterator[BucketServer]:
    with bucket_server("team") as server:
        yield server


@pytest.fixture
def roles() -> Iterator[Roles]:
    roles = Roles()
    yield roles
    roles.server.shutdown()
    roles.server.server_close()


@pytest.fixture(autouse=True)
def _nobody(server: BucketServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, and a bucket that wants one."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setattr(module, "_keys_of_roles", {})


def write_and_read() -> None:
    """Through the client of the model store, and through DuckDB."""
    place = BucketPath.of("s3://team/place/of.txt")
    place.write_bytes(b"x\n1\n")
    with closing(duckdb.connect()) as connection:
        read_s3(connection)
        assert connection.execute("FROM read_csv('s3://team/place/of.txt')").fetchall() == [(1,)]
    place.unlink()


def named_by(of: str, roles: Roles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the service that gives the keys."""
    token = tmp_path / "token"
    token.write_text("of the pod\n")
    match of:
        case "machine":
            monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
            monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", roles.url)
        case "container":
            monkeypatch.setenv("AWS_CONTAINER_CREDENTIALS_FULL_URI", f"{roles.url}/container")
            monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", str(token))
        case "web identity":
            monkeypatch.setenv("AWS_ENDPOINT_URL_STS", roles.url)
            monkeypatch.setenv("AWS_WEB_IDENTITY_TOKEN_FILE", str(token))
            monkeypatch.setenv("AWS_ROLE_ARN", ROLE)


@pytest.mark.parametrize("of", ["machine", "container", "web identity"])
def test_a_role_writes_and_reads_and_is_asked_anew_before_its_keys_end(
    of: str, roles: Roles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named_by(of, roles, tmp_path, monkeypatch)
    write_and_read()
    assert credentials().session_token == "session"
    assert roles.asked == 1
    roles.lasts = timedelta(minutes=4)
    monkeypatch.setattr(module, "_keys_of_roles", {})
    for asked in (2, 3):
        assert credentials().key_id == KEY
        assert roles.asked == asked


@pytest.mark.parametrize("of", ["machine", "container", "web identity"])
def test_a_role_that_is_refused_or_does_not_answer_is_named(
    of: str, roles: Roles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named_by(of, roles, tmp_path, monkeypatch)
    monkeypatch.setattr(roles, "get", lambda *_: None)
    monkeypatch.setattr(roles, "post", lambda *_: None)
    with pytest.raises(
        StoreError, match=r"the keys of the (machine|container|role).* are refused at http.*\(HTTP 403\)"
    ):
        write_and_read()
    roles.server.shutdown()
    roles.server.server_close()
    with pytest.raises(StoreError, match="cannot be asked for at http.*Connection refused"):
        write_and_read()


def test_a_profile_is_taken_before_a_role_and_after_the_environment(
    roles: Roles, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    named_by("machine", roles, tmp_path, monkeypatch)
    (tmp_path / "credentials").write_text(
        f"[default]\naws_access_key_id = other\naws_secret_access_key = x\n[team]\naws_access_key_id = {KEY}\n"
        f"aws_secret_access_key = {SECRET}\n"
    )
    (tmp_path / "config").write_text("[profile team]\nregion = eu-north-1\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    assert s3_access().key_id == "other"
    with pytest.raises(OSError, match="refuses it to the key of the profile 'default'"):
        BucketPath.of("s3://team/place/of.txt").write_bytes(b"x")
    monkeypatch.setenv("AWS_PROFILE", "team")
    write_and_read()
    assert (s3_access().region, roles.asked) == ("eu-north-1", 0)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "of the environment")
    assert s3_access().key_id == "of the environment"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[default]\nregion = x\n", "AWS_PROFILE is 'team', and neither"),
        (
            "[team]\nrole_arn = arn:aws:iam::1:role/x\nsource_profile = default\n",
            "names a role_arn, which is not followed here",
        ),
        ("aws_access_key_id = s3cret\n", "cannot be read as a file of profiles"),
    ],
)
def test_a_profile_that_gives_no_key_is_named(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "credentials").write_text(text)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "team")
    with pytest.raises(StoreError, match=said) as caught:
        s3_access()
    assert "s3cret" not in str(caught.value)


def test_no_machine_that_is_none_of_ec2_is_asked_for_a_role(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("AWS_EC2_METADATA_DISABLED")
    monkeypatch.setattr(module, "_VENDOR", tmp_path / "absent")
    module._is_of_ec2.cache_clear()
    monkeypatch.setattr(module, "_ask", lambda *_, **__: pytest.fail("it was asked"))
    assert credentials().key_id == ""
    assert "access without a key" in credentials().of
    module._is_of_ec2.cache_clear()
