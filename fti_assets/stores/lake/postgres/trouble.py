"""What DuckDB's errors say of a database or a bucket that cannot be used, in words that say what to do."""

from __future__ import annotations

import re

import duckdb

from fti_assets.core.addresses import scrub
from fti_assets.stores.buckets.access import s3_access
from fti_assets.stores.buckets.client import REMEDY_OF_REFUSAL

_LOST = re.compile(
    r"server closed the connection|could not (?:connect|send|receive)|terminating connection|no connection to the server|broken pipe|"
    r"Failed to execute query \"(?:ROLLBACK|COMMIT|BEGIN[^\"]*)\"|"
    r"connection (?:to server|failed|refused|reset|timed out|already closed)|the database system is|SSL (?:connection|SYSCALL)",
    re.IGNORECASE,
)
_OVERTAKEN = "maximum retry count"
_HTTP = re.compile(r"\bHTTP (?:Error|[A-Z]+ error)|HTTP code (\d{3})|\(HTTP (\d{3})")
_NOT_THERE, _REFUSED = 404, (401, 403)


def trouble_of(error: Exception, secrets: tuple[str, ...] = ()) -> str | None:
    """What an error says of the database or the bucket, and what to do; None if it is about something else.

    >>> trouble_of(duckdb.IOException("Failed to execute query: server closed the connection unexpectedly"))[:61]
    'the connection to the database was lost (server closed the co'
    """
    text = " ".join(str(error).split())
    if isinstance(error, duckdb.HTTPException) or (isinstance(error, duckdb.Error) and _HTTP.search(text)):
        return _of_bucket(error, text)
    if isinstance(error, duckdb.Error) and (match := _LOST.search(text)) is not None:
        words = scrub(text[match.start() :][:120], secrets)
        return f"the connection to the database was lost ({words}). Check that Postgres runs and is reached from here"
    if _OVERTAKEN in text:
        return (
            "another writer has committed since this one began, so this one had lost the writers' lock, such as with its connection to "
            "the database"
        )
    return None


def _of_bucket(error: Exception, text: str) -> str | None:
    number = re.search(r"HTTP(?: code)? (\d{3})", text)
    status = int(getattr(error, "status_code", 0) or (number[1] if number else 0))
    if status == _NOT_THERE:  # a file that is gone, which is damage of the lake
        return None
    access = s3_access()
    where = access.endpoint or "Amazon S3"
    if status in _REFUSED:
        return f"the object store {where} refuses it (HTTP {status}). {REMEDY_OF_REFUSAL}"
    words = scrub(text[:160], access.secrets)
    return f"the object store {where} cannot be used ({words}). Check that it runs and that AWS_ENDPOINT_URL names it"
