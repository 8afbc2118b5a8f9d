"""A Postgres connection string without its password, which goes into a DuckDB secret and so into no error."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import duckdb

from fti_assets.core.addresses import scrubbed
from fti_assets.core.sql import literal, quoted
from fti_assets.errors import DeclarationError, StoreError
from fti_assets.stores.duckdb.extensions import load_extension

_PAIR = re.compile(r"\s*(\w+)\s*=\s*('(?:[^'\\]|\\.)*'|[^\s']+)")
_SECRETS = ("password", "sslpassword")


@dataclass(frozen=True)
class PostgresAddress:
    """Where a Postgres database is: what may be shown, and what may not.

    Args:
        shown: libpq's parameters and their values, without passwords.
        password: the password, or None.
    """

    shown: dict[str, str]
    password: str | None

    def __repr__(self) -> str:
        return f"PostgresAddress({self.shown!r})"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no error may repeat."""
        return (self.password,) if self.password else ()

    @property
    def text(self) -> str:
        """The connection string, without passwords."""
        return " ".join(f"{name}={_as_value(value)}" for name, value in self.shown.items())

    def attach(self, connection: duckdb.DuckDBPyConnection, alias: str) -> None:
        """Attach the database to a connection, read-only, under an alias; once.

        Raises:
            StoreError: the database cannot be reached.
        """
        load_extension(connection, "postgres_scanner")
        secret = ""
        try:
            if self.password is not None:
                connection.execute(
                    f"CREATE OR REPLACE TEMPORARY SECRET {quoted(alias)} (TYPE postgres, PASSWORD {literal(self.password)})"
                )
                secret = f", SECRET {quoted(alias)}"
            connection.execute(
                f"ATTACH IF NOT EXISTS {literal(self.text)} AS {quoted(alias)} (TYPE postgres, READ_ONLY{secret})"
            )
        except duckdb.Error as error:
            # Not chained: libpq may repeat what it was given.
            raise StoreError(
                f"Postgres at {scrubbed(self.text)!r} cannot be attached: {scrubbed(str(error), self.secrets)}"
            ) from None


def postgres_address(dsn: Any, *, what: str) -> PostgresAddress:
    """Read a connection string: a URL, ``name=value`` pairs, or a ``dg.EnvVar`` that holds one of the two.

    Raises:
        StoreError: the environment variable is not set.
        DeclarationError: the text is neither. It is not repeated, since it can hold a password.

    >>> postgres_address("postgresql://ann:pw@db:5433/shop?sslmode=require", what="orders").text
    'user=ann host=db port=5433 dbname=shop sslmode=require'
    """
    variable = getattr(dsn, "env_var_name", None)
    text = os.environ.get(variable, "") if variable is not None else str(dsn)
    if variable is not None and not text:
        raise StoreError(
            f"{what}: the environment variable {variable} is not set; set it to the connection string of the database"
        )
    pairs = _of_url(text) if re.match(r"postgres(ql)?://", text) else _of_pairs(text)
    if pairs is None:
        raise DeclarationError(
            f"{what}: the connection string is neither a URL, postgresql://user:password@host/database with %2F for / and %40 for @ in "
            "its parts, nor name=value pairs"
        )
    shown = {name: value for name, value in pairs.items() if name not in _SECRETS}
    return PostgresAddress(shown, pairs.get("password"))


def _of_url(text: str) -> dict[str, str] | None:
    try:
        url = urlsplit(text)
        results = {"user": url.username, "password": url.password, "host": url.hostname, "port": url.port}
    except ValueError:
        return None
    if "@" in url.path + url.fragment:  # of a password with a slash that is not written %2F
        return None
    pairs = {name: unquote(str(value)) for name, value in results.items() if value is not None}
    if url.path.strip("/"):
        pairs["dbname"] = unquote(url.path.strip("/"))
    return pairs | dict(parse_qsl(url.query))


def _of_pairs(text: str) -> dict[str, str] | None:
    results, rest = _PAIR.findall(text), _PAIR.sub("", text)
    if not results or rest.strip():
        return None
    return {name: re.sub(r"\\(.)", r"\1", value[1:-1]) if value[0] == "'" else value for name, value in results}


def _as_value(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return escaped if re.fullmatch(r"[^\s'\\]+", value) else f"'{escaped}'"
