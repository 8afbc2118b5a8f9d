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

    def head(self, status_line: bytes, headers: bytes, request_id: str) -> bytes:
        """What stands before the body on the wire: the status, headers of the server, and ``all_headers``."""
        if self.headers or self.close:
            own = b"".join([b"%b: %b\r\n" % one for one in self.all_headers(request_id)])
            return b"%b%b%b\r\n" % (status_line, headers, own)
        return b"%b%bcontent-type: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n\r\n" % (
            status_line,
            headers,
            self.content_type,
            len(self.body),
            request_id.encode(),
        )
