"""How an object store is reached, from the environment, a profile or a role."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from fti_assets.core.records import record
from fti_assets.stores.buckets.credentials import credentials, profile_region


@record(frozen=True)
class S3Access:
    """How an object store is reached; empty texts for what the environment does not say."""

    key_id: str
    secret: str
    session_token: str
    region: str
    endpoint: str
    """Of a store that is not Amazon's: host and port."""
    scheme: str
    key_of: str = ""
    """Whose key it is, for errors."""

    def __repr__(self) -> str:
        return f"S3Access(region={self.region!r}, endpoint={self.endpoint!r}, scheme={self.scheme!r})"

    @property
    def secrets(self) -> tuple[str, ...]:
        """What no error may repeat."""
        return tuple(filter(None, (self.secret, self.session_token, self.key_id)))

    @property
    def url(self) -> str:
        """The endpoint as a URL; empty for Amazon's."""
        return f"{self.scheme or 'https'}://{self.endpoint}" if self.endpoint else ""


def s3_access() -> S3Access:
    """What the usual ``AWS_`` variables, a profile or a role say.

    ``AWS_REGION`` or ``AWS_DEFAULT_REGION``, ``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL`` for a store that is not Amazon's, and the key
    that ``credentials`` finds. Without a key the access is anonymous.

    Raises:
        StoreError: a profile, a role or a service that is named gives no key.
    """
    endpoint, key = _first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"), credentials()
    url = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    return S3Access(
        key_id=key.key_id,
        secret=key.secret,
        session_token=key.session_token,
        region=_first("AWS_REGION", "AWS_DEFAULT_REGION") or profile_region() or "us-east-1",
        endpoint=url.netloc,
        scheme=url.scheme,
        key_of=key.of,
    )


def _first(*names: str) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")
