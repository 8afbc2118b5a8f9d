"""What a client is answered over HTTP."""

from dataclasses import dataclass

JSON = b"application/json"


@dataclass
class Response:
    """What the client is answered."""

    body: bytes
    status: int = 200
    content_type: bytes = JSON
    headers: tuple[tuple[bytes, bytes], ...] = ()
    close: bool = False

    def all_headers(self, request_id: str) -> list[tuple[bytes, bytes]]:
        """All headers, with the id of the request."""
        results = [
            (b"content-type", self.content_type),
            (b"content-length", b"%d" % len(self.body)),
            (b"x-request-id", request_id.encode()),
            *self.headers,
        ]
        if self.close:
            results.append((b"connection", b"close"))
        return results
