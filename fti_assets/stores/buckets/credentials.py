"""Whose key an object store is asked with, in the order of Amazon's own clients: the environment, a profile, a role.

A role's keys end after some hours, and are asked for again some minutes before. They come from a web identity (Kubernetes' service
accounts), from the address that a container was given, or, on a machine of EC2 alone, from its metadata service.
"""

from __future__ import annotations

import configparser
import json
import os
import threading
import time
from collections.abc import Callable
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from fti_assets.core.records import record
from fti_assets.errors import StoreError

_EARLY_SECONDS = 300.0
_ANSWER_SECONDS = 2.0
_CONTAINER_HOST = "http://169.254.170.2"
_INSTANCE_HOST = "http://169.254.169.254"
_VENDOR = Path("/sys/devices/virtual/dmi/id/sys_vendor")

_keys_of_roles: dict[tuple[str, ...], Credentials] = {}
_asking = threading.Lock()


@record(frozen=True)
class Credentials:
    """A key, whose it is, and when it ends, in seconds since 1970; 0 for one that does not end. Empty texts are no key."""

    key_id: str = ""
    secret: str = ""
    session_token: str = ""
    of: str = "access without a key (AWS_ACCESS_KEY_ID is not set, and there is neither a profile nor a role)"
    ends_at: float = 0.0

    def __repr__(self) -> str:
        return "Credentials(...)"


def credentials() -> Credentials:
    """The key of this process, as it is now; without any, access is anonymous.

    Raises:
        StoreError: a profile, a role or a service that is named gives none.
    """
    if key_id := os.environ.get("AWS_ACCESS_KEY_ID"):
        secret, token = os.environ.get("AWS_SECRET_ACCESS_KEY", ""), os.environ.get("AWS_SESSION_TOKEN", "")
        return Credentials(key_id, secret, token, "the key in AWS_ACCESS_KEY_ID")
    if (of_profile := _of_profile()) is not None:
        return of_profile
    if (source := _role()) is None:
        return Credentials()
    of, ask = source
    with _asking:
        key = _keys_of_roles.get(of)
        if key is None or key.ends_at - _EARLY_SECONDS < time.time():
            key = _keys_of_roles[of] = ask()
        return key


def profile_region() -> str:
    """The region that the profile names; empty without one."""
    return str(_profile().get("region", ""))


def _profile_name() -> str:
    return os.environ.get("AWS_PROFILE") or os.environ.get("AWS_DEFAULT_PROFILE") or "default"


def _profile() -> dict[str, str]:
    """What the two files say of the profile; a profile that nobody named may be absent."""
    name = _profile_name()
    values: dict[str, str] = {}
    places = (
        ("AWS_CONFIG_FILE", "config", name if name == "default" else f"profile {name}"),
        ("AWS_SHARED_CREDENTIALS_FILE", "credentials", name),
    )
    for variable, file, section in places:
        path = Path(os.environ.get(variable) or Path("~") / ".aws" / file).expanduser()
        values |= _section(path, section)
    if not values and name != "default":
        raise StoreError(
            f"AWS_PROFILE is {name!r}, and neither ~/.aws/credentials nor ~/.aws/config has such a profile: name one that is there, "
            "or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        )
    return values


def _section(path: Path, section: str) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        with path.open(encoding="utf-8") as file:
            parser.read_file(file)
    except OSError:
        return {}
    except (configparser.Error, UnicodeDecodeError):
        # Its text may hold the key.
        raise StoreError(f"{path} cannot be read as a file of profiles: mend it, or name another one") from None
    return dict(parser[section]) if parser.has_section(section) else {}


def _of_profile() -> Credentials | None:
    values = _profile()
    if not values.get("aws_access_key_id"):
        if beyond := [
            name for name in ("role_arn", "credential_process", "sso_start_url", "sso_session") if name in values
        ]:
            raise StoreError(
                f"the profile of AWS_PROFILE names a {beyond[0]}, which is not followed here: run aws configure export-credentials "
                "--format env, or give a profile with a key"
            )
        return None
    secret, token = values.get("aws_secret_access_key", ""), values.get("aws_session_token", "")
    return Credentials(values["aws_access_key_id"], secret, token, f"the key of the profile {_profile_name()!r}")


def _role() -> tuple[tuple[str, ...], Callable[[], Credentials]] | None:
    """What gives a role's keys here, by what names it; None without a role."""
    environ = os.environ
    if (file := environ.get("AWS_WEB_IDENTITY_TOKEN_FILE")) and (role := environ.get("AWS_ROLE_ARN")):
        return ("web identity", file, role), lambda: _of_web_identity(file, role)
    if relative := environ.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI"):
        return ("container", relative), lambda: _of_container(f"{_CONTAINER_HOST}{relative}")
    if whole := environ.get("AWS_CONTAINER_CREDENTIALS_FULL_URI"):
        return ("container", whole), lambda: _of_container(whole)
    endpoint = environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT", "").rstrip("/")
    if environ.get("AWS_EC2_METADATA_DISABLED", "").lower() != "true" and (endpoint or _is_of_ec2()):
        host = endpoint or _INSTANCE_HOST
        return ("instance", host), lambda: _of_instance(host)
    return None


@lru_cache(maxsize=1)
def _is_of_ec2() -> bool:
    """Elsewhere nothing is asked: the address may lead anywhere."""
    try:
        return _VENDOR.read_text(encoding="ascii", errors="replace").strip() == "Amazon EC2"
    except OSError:
        return False


def _of_web_identity(file: str, role: str) -> Credentials:
    from urllib.parse import urlencode
    from xml.etree import ElementTree

    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    host = os.environ.get("AWS_ENDPOINT_URL_STS", "").rstrip("/") or f"https://sts.{region}.amazonaws.com"
    try:
        token = Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        raise StoreError(f"AWS_WEB_IDENTITY_TOKEN_FILE {file} cannot be read: {error.strerror}") from error
    fields = {
        "Action": "AssumeRoleWithWebIdentity",
        "Version": "2011-06-15",
        "RoleArn": role,
        "RoleSessionName": os.environ.get("AWS_ROLE_SESSION_NAME") or "fti-assets",
        "WebIdentityToken": token,
    }
    text = _ask(f"{host}/", f"the role {role}", data=urlencode(fields).encode())
    fields_of_answer = {one.tag.rpartition("}")[2]: one.text or "" for one in ElementTree.fromstring(text).iter()}
    return _from(fields_of_answer, f"the role {role}", key="AccessKeyId", token="SessionToken")


def _of_container(address: str) -> Credentials:
    token = os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN", "")
    if file := os.environ.get("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"):
        try:
            token = Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise StoreError(
                f"AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE {file} cannot be read: {error.strerror}"
            ) from error
    text = _ask(address, "the container's role", headers={"Authorization": token} if token else {})
    return _from(_json(text, "the container's role"), "the container's role", key="AccessKeyId", token="Token")


def _of_instance(host: str) -> Credentials:
    what, root = "the machine's role", f"{host}/latest/meta-data/iam/security-credentials/"
    seconds = {"X-aws-ec2-metadata-token-ttl-seconds": "300"}
    token = _ask(f"{host}/latest/api/token", what, headers=seconds, method="PUT")
    headers = {"X-aws-ec2-metadata-token": token}
    role = _ask(root, what, headers=headers).split("\n")[0].strip()
    return _from(_json(_ask(f"{root}{role}", what, headers=headers), what), what, key="AccessKeyId", token="Token")


def _ask(
    address: str,
    what: str,
    *,
    headers: dict[str, str] | None = None,
    data: bytes | None = None,
    method: str | None = None,
) -> str:
    from urllib.error import HTTPError
    from urllib.request import ProxyHandler, Request, build_opener

    request = Request(address, data=data, headers=headers or {}, method=method)
    # No proxy may see a key.
    opener = build_opener(ProxyHandler({})) if address.startswith("http://") else build_opener()
    try:
        with opener.open(request, timeout=_ANSWER_SECONDS if address.startswith("http://") else 10.0) as answer:
            return str(answer.read(1 << 20).decode(errors="replace"))
    except HTTPError as error:
        raise StoreError(
            f"the keys of {what} are refused at {address} (HTTP {error.code}): see that it may be used here"
        ) from None
    except (OSError, ValueError) as error:
        raise StoreError(
            f"the keys of {what} cannot be asked for at {address} ({getattr(error, 'reason', error)}): see that it answers, or set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"
        ) from None


def _json(text: str, what: str) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise StoreError(f"what was answered for the keys of {what} are none: see what answers there")
    return values


def _from(values: dict[str, Any], what: str, *, key: str, token: str) -> Credentials:
    try:
        ends_at = datetime.fromisoformat(str(values["Expiration"])).timestamp()
        return Credentials(
            str(values[key]), str(values["SecretAccessKey"]), str(values[token]), f"the key of {what}", ends_at
        )
    except (KeyError, ValueError):
        raise StoreError(f"what was answered for the keys of {what} are none: see what answers there") from None
