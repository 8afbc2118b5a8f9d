"""The client of an object store, and its errors as those of an operating system, which name what to do."""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from fti_assets.stores.buckets.access import S3Access, s3_access

_SECONDS, _RETRIES, _RETRY_SECONDS = 20, 4, 30
REMEDY_OF_REFUSAL = (
    "Give this key the right to list, read, write and delete there, or set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY to one that has "
    "it; if the signature is refused, compare this machine's clock with the store's"
)
_making = threading.Lock()


class BucketError(OSError):
    """An object store could not be reached, or refused something.

    ``remedy`` is what to do, as a sentence's rest.
    """

    def __init__(self, number: int, message: str, path: str, remedy: str) -> None:
        super().__init__(number, message, path)
        self.remedy = remedy


class ChangedError(BucketError):
    """What a write was to replace is not there any more, or is another one by now."""


def client_of(bucket: str) -> Any:
    """The client of a bucket of the object store that the ``AWS_`` variables name now.

    Raises:
        StoreError: a profile, a role or a service that is named gives no key.
        MissingExtraError: obstore is not installed.
    """
    with _making:  # it is one for all threads
        return _client(bucket, s3_access())


@lru_cache(maxsize=64)
def _client(bucket: str, access: S3Access) -> Any:
    from fti_assets.core.extras import named_extras  # not at the top: an app on a folder does not wait for it

    with named_extras(f"the bucket {bucket}"):
        from obstore.store import S3Store
    from datetime import timedelta

    options: dict[str, Any] = {
        "region": access.region,
        "endpoint": access.url,
        "access_key_id": access.key_id,
        "secret_access_key": access.secret,
        "session_token": access.session_token,
    }
    return S3Store(
        bucket,
        **{name: value for name, value in options.items() if value},
        skip_signature=not access.key_id,
        client_options={
            "allow_http": access.scheme == "http",
            "timeout": f"{_SECONDS}s",
            "connect_timeout": f"{_SECONDS // 4}s",
        },
        retry_config={
            "max_retries": _RETRIES,
            "retry_timeout": timedelta(seconds=_RETRY_SECONDS),
            "backoff": {
                "init_backoff": timedelta(milliseconds=100),
                "max_backoff": timedelta(seconds=5),
                "base": 2,
            },
        },
    )


@contextmanager
def bucket_errors(path: str) -> Iterator[None]:
    """Raise an object store's errors as an OSError that names the path.

    Raises:
        FileNotFoundError: there is no such object, or no such bucket.
        ChangedError: what was to be replaced is another one by now.
        BucketError: the store cannot be reached, or refuses it.
    """
    from obstore import exceptions as of

    try:
        yield
    except FileNotFoundError as error:
        if "NoSuchBucket" not in str(error):
            raise FileNotFoundError(errno.ENOENT, "there is no such object", path) from None
        raise BucketError(
            errno.ENODEV, "there is no such bucket", path, "Make the bucket, or name another one"
        ) from None
    except (of.AlreadyExistsError, of.PreconditionError):
        raise ChangedError(errno.EEXIST, "somebody else has written it meanwhile", path, "Do it again") from None
    except (of.BaseError, ValueError) as error:
        raise _as_bucket_error(error, path) from None  # its text may repeat a signed address


def _as_bucket_error(error: Exception, path: str) -> BucketError:
    from fti_assets.core.addresses import scrub

    access, text = s3_access(), str(error)
    words = scrub(" ".join(text.partition("Debug source")[0].split())[:300], access.secrets)
    where = access.endpoint or "Amazon S3"
    if type(error).__name__ in ("PermissionDeniedError", "UnauthenticatedError") or "403 Forbidden" in text:
        return BucketError(
            errno.EACCES,
            f"{where} refuses it to {access.key_of}: {_code(text) or words}",
            path,
            REMEDY_OF_REFUSAL,
        )
    if "HTTP error" in text or "timed out" in text or "error sending request" in text:
        return BucketError(
            errno.EHOSTUNREACH,
            f"{where} does not answer",
            path,
            "Check that the object store runs and that AWS_ENDPOINT_URL names it",
        )
    return BucketError(errno.EIO, f"{where} says: {_code(text) or words}", path, "Mend that, and do it again")


def _code(text: str) -> str:
    """The code and message in the XML of an S3 error, empty without any."""
    from fti_assets.core.addresses import scrub

    code, message = (
        text.partition(f"<{name}>")[2].partition(f"</{name}>")[0] if f"<{name}>" in text else ""
        for name in ("Code", "Message")
    )
    return scrub(": ".join(filter(None, (code, message)))[:200], s3_access().secrets)
