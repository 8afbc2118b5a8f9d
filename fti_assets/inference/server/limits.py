"""What a server takes at most of its clients."""

from dataclasses import dataclass, fields

from fti_assets.core.arguments import checked_arguments
from fti_assets.errors import DeclarationError, excerpt


@checked_arguments(
    itself=["body_bytes", "header_bytes", "header_seconds", "body_seconds", "rows", "requests", "connections"]
)
@dataclass(frozen=True)
class Limits:
    """The limits of one worker; a client that exceeds them is refused, and the others are not affected.

    Args:
        body_bytes: of a request's body, both as declared and as received (413).
        header_bytes: of a request's line and headers together (431).
        header_seconds: for a connection's first headers, and between two of its requests (the connection is closed); over gRPC,
            between two calls, and while a connection has no call.
        body_seconds: from the headers to the end of the body (408).
        rows: of one request (413).
        requests: at the same time (503 with Retry-After).
        connections: open at the same time, over HTTP (503 with Retry-After, and closed) and as many over gRPC (closed, so that a client
            sees ``UNAVAILABLE``).

    Raises:
        DeclarationError: a limit is not above 0.
    """

    body_bytes: int = 16 * 2**20
    header_bytes: int = 32 * 2**10
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    rows: int = 10_000
    requests: int = 256
    connections: int = 1_000

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
                raise DeclarationError(f"the limit {field.name} is {excerpt(value)}: a number above 0 is expected")
