"""How an object store is reached, from the environment alone."""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from fti_assets.core.records import record


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
    """What the usual ``AWS_`` variables say.

    ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``, ``AWS_SESSION_TOKEN``, ``AWS_REGION`` or ``AWS_DEFAULT_REGION``, and
    ``AWS_ENDPOINT_URL_S3`` or ``AWS_ENDPOINT_URL`` for a store that is not Amazon's. Without a key the access is anonymous.
    """
    endpoint = _first("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
    url = urlsplit(endpoint if "//" in endpoint else f"//{endpoint}")
    return S3Access(
        key_id=_first("AWS_ACCESS_KEY_ID"),
        secret=_first("AWS_SECRET_ACCESS_KEY"),
        session_token=_first("AWS_SESSION_TOKEN"),
        region=_first("AWS_REGION", "AWS_DEFAULT_REGION") or "us-east-1",
        endpoint=url.netloc,
        scheme=url.scheme,
    )


def _first(*names: str) -> str:
    return next((os.environ[name] for name in names if os.environ.get(name)), "")
