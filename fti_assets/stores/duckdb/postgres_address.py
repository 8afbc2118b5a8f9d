"""A Postgres connection string without its password, which goes into a DuckDB secret and so into no error."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from typing import Any

import duckdb

from fti_assets.core.addresses import scrub
from fti_assets.core.extras import named_extras
from fti_assets.core.sql import literal, quote
from fti_assets.errors import DeclarationError, StoreError
from fti_assets.stores.duckdb.extensions import load_extension

_SECRETS = ("password", "sslpassword")


@dataclass(frozen=True)
class PostgresAddress:
    """Where a Postgres database is: what may be shown, and what may not.

    Args:
        parameters: libpq's parameters and their values, without passwords.
        password: the password, or None.
    """

    parameters: dict[str, str]
    password: str | None

    def __repr__(self) -> str:
        return f"PostgresAddress({self.parameters!r})"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no error may repeat."""
        return (self.password,) if self.password else ()

    @property
    def text(self) -> str:
        """The connection string, without passwords."""
        from psycopg.conninfo import make_conninfo

        return make_conninfo(**self.parameters)

    def attach(self, connection: duckdb.DuckDBPyConnection, alias: str) -> None:
        """Attach the database to a connection, read-only, under an alias; once.

        Raises:
            StoreError: the database cannot be reached.
        """
        load_extension(connection, "postgres_scanner")
        # The password goes into a secret of this connection: DuckDB repeats the text of ATTACH in its errors.
        secret = ""
        try:
            if self.password is not None:
                connection.execute(
                    f"CREATE OR REPLACE TEMPORARY SECRET {quote(alias)} (TYPE postgres, PASSWORD {literal(self.password)})"
                )
                secret = f", SECRET {quote(alias)}"
            connection.execute(
                f"ATTACH IF NOT EXISTS {literal(self.text)} AS {quote(alias)} (TYPE postgres, READ_ONLY{secret})"
            )
        except duckdb.Error as error:
            # Not chained: libpq may repeat what it was given.
            raise StoreError(
                f"Postgres at {scrub(self.text)!r} cannot be attached: {scrub(str(error), self.secrets)}"
            ) from None


def postgres_address(dsn: Any, *, what: str) -> PostgresAddress:
    """Read a connection string: a URL, ``name=value`` pairs, or a ``dg.EnvVar`` that holds one of the two.

    libpq itself reads it, so it means here what it means to every other client.

    Raises:
        MissingExtraError: psycopg is not installed.
        StoreError: the environment variable is not set.
        DeclarationError: the text is neither. It is not repeated, since it can hold a password.

    >>> postgres_address("postgresql://ann:pw@db:5433/shop?sslmode=require", what="orders").text
    'user=ann dbname=shop host=db port=5433 sslmode=require'
    """
    variable = getattr(dsn, "env_var_name", None)
    text = os.environ.get(variable, "") if variable is not None else str(dsn)
    if variable is not None and not text:
        raise StoreError(
            f"{what}: the environment variable {variable} is not set; set it to the connection string of the database"
        )
    with named_extras("a Postgres address"):
        from psycopg import ProgrammingError
        from psycopg.conninfo import conninfo_to_dict
    try:
        pairs = {name: str(value) for name, value in conninfo_to_dict(text).items()}
    except ProgrammingError:
        pairs = {}
    if not pairs or _holds_misread_password(pairs):
        # Not chained: libpq repeats a part of what it was given.
        raise DeclarationError(
            f"{what}: the connection string is neither a URL, postgresql://user:password@host/database with %2F for / and %40 for @ in "
            "its parts, nor name=value pairs of libpq's parameters"
        ) from None
    parameters = {name: value for name, value in pairs.items() if name not in _SECRETS}
    return PostgresAddress(parameters, pairs.get("password"))


def database_in_words(dsn: Any, *, what: str) -> str:
    """Where a database is, without secrets: its connection string, or the variable that holds it. Raises as ``postgres_address``."""
    variable = getattr(dsn, "env_var_name", None)
    return (
        f"the database of ${variable}" if variable is not None else repr(scrub(postgres_address(dsn, what=what).text))
    )


def _holds_misread_password(pairs: dict[str, str]) -> bool:
    """Whether a part of a password stands elsewhere, since its slash is not written %2F or its at sign not %40.

    libpq takes what stands before a slash for a port and what follows for a database, and what follows an at sign for a host. A host
    may begin with one, as the name of a socket.
    """
    hosts = [host for name in ("host", "hostaddr") for host in pairs.get(name, "").split(",")]
    is_port = re.fullmatch(r"[\d,]*", pairs.get("port", "")) is not None
    return not is_port or "@" in pairs.get("dbname", "") or any("@" in host[1:] for host in hosts)
