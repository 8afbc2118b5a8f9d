"""Where a team's lake is: a Postgres database with the catalog, and a bucket with the Parquet files."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from fti_assets.core.addresses import show_address
from fti_assets.errors import StoreError
from fti_assets.stores.buckets.path import SCHEME, BucketPath
from fti_assets.stores.duckdb.postgres_address import PostgresAddress, postgres_address

SCHEMES = ("postgresql://", "postgres://")
_DATA = "data"
_KEEPALIVE = {
    "connect_timeout": "10",
    # A connection that a machine in between has dropped is noticed, by both ends.
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
}
_OF_SERVER = "-c tcp_keepalives_idle=30 -c tcp_keepalives_interval=10 -c tcp_keepalives_count=3"


@dataclass(frozen=True)
class LakeAddress:
    """``postgresql://user:password@host/database?data=s3://bucket/folder``.

    Args:
        location: the whole address, with its password.
        database: the database.
        data: where the Parquet files lie.
    """

    location: str
    database: PostgresAddress
    data: BucketPath

    def __str__(self) -> str:
        dsn = urlsplit(show_address(_without_data(self.location)[0]))
        query = "&".join(filter(None, (dsn.query, f"{_DATA}={self.data}")))
        return f"{dsn.scheme}://{dsn.netloc}{dsn.path}?{query}"

    def __repr__(self) -> str:
        return f"LakeAddress({str(self)!r})"


def is_lake_address(location: object) -> bool:
    """Whether a location is that of a lake with a Postgres catalog.

    >>> is_lake_address("postgresql://db/lake?data=s3://team/lake"), is_lake_address("stores/lake")
    (True, False)
    """
    return isinstance(location, str) and location.lstrip().lower().startswith(SCHEMES)


def lake_address(location: str) -> LakeAddress:
    """Read the address of a lake.

    >>> address = lake_address("postgresql://ann:pw@db/lake?data=s3://team/lake")
    >>> str(address), str(address.data)
    ('postgresql://ann:***@db/lake?data=s3://team/lake', 's3://team/lake')

    Raises:
        MissingExtraError: psycopg is not installed.
        StoreError: it does not say where the files lie.
        DeclarationError: libpq cannot read it.
    """
    dsn, data = _without_data(location.strip())
    if data is None or not data.startswith(SCHEME):
        masked = show_address(dsn)
        raise StoreError(
            f"the offline store at {masked} does not say in which bucket its files lie: write {masked}{'&' if '?' in masked else '?'}"
            "data=s3://bucket/folder"
        )
    address = postgres_address(dsn, what="the offline store")
    parameters = {**_KEEPALIVE, **address.parameters}
    parameters["options"] = " ".join(filter(None, (_OF_SERVER, address.parameters.get("options"))))
    return LakeAddress(
        location.strip(), PostgresAddress(parameters, address.password), BucketPath.of(data, what="offline store")
    )


def _without_data(location: str) -> tuple[str, str | None]:
    """The address of the database alone, and what ``data`` says."""
    parts = urlsplit(location)
    options = parse_qsl(parts.query, keep_blank_values=True)
    data = next((value for name, value in options if name == _DATA), None)
    query = urlencode([(name, value) for name, value in options if name != _DATA], quote_via=quote)
    return urlunsplit(parts._replace(query=query)), data
