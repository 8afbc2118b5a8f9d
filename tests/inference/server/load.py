"""A client of eight connections, in a process of its own: it asks until it is ended, and checks every answer.

``python load.py PORT PATH BODIES VALUES OUT``: BODIES and VALUES are JSON, the requests' bodies and the value of each build. Each answer
goes to OUT: when its request was sent (``time.monotonic``) and how many seconds it took. What is wrong goes to OUT.wrong, a line each, and
which builds answered to OUT.seen.
"""

import json
import signal
import socket
import sys
import threading
import time
from array import array
from pathlib import Path
from typing import Any

CONNECTIONS = 8


class Asking:
    """What the connections share."""

    def __init__(self, port: int, path: str, bodies: list[Any], values: dict[str, float]) -> None:
        head = "POST {} HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{}"
        texts = [json.dumps(body) for body in bodies]
        self.port = port
        self.requests = [head.format(path, len(text), text).encode() for text in texts]
        self.values = values
        self.order = {build: place for place, build in enumerate(values)}
        self.is_over = threading.Event()
        self.wrong: list[str] = []
        self.taken = array("d")
        self.seen: set[str] = set()

    def ask(self, first: int) -> None:
        newest = number = 0
        with socket.create_connection(("127.0.0.1", self.port), timeout=30) as connection:
            while not self.is_over.is_set():
                start = time.monotonic()
                try:
                    connection.sendall(self.requests[(first + number) % len(self.requests)])
                    status, body = answer(connection)
                except OSError as error:
                    self.wrong.append(f"connection {first} after {number} answers: {error!r}")
                    return
                self.taken.extend((start, time.monotonic() - start))
                number += 1
                if problem := self.problem(status, body):
                    self.wrong.append(problem)
                    continue
                place = self.order[rows_of(body)[0]["build"]]
                if place < newest:
                    self.wrong.append(f"build {place} answers after build {newest}")
                newest = place

    def problem(self, status: bytes, body: Any) -> str:
        """What is wrong with an answer: every row of it is of one build, and has that build's value."""
        if status != b"200":
            return f"{status!r}: {body}"
        rows = {(row["build"], row["value"]) for row in rows_of(body)}
        [(build, value), *others] = rows
        self.seen.add(build)
        return f"the rows of one answer: {rows}" if others or self.values.get(build) != value else ""


def rows_of(body: Any) -> list[Any]:
    """The predictions of an answer to a list, or the one of an answer to a single request."""
    return body.get("predictions", [body])


def answer(connection: socket.socket) -> tuple[bytes, Any]:
    """The status and body of one answer, by its length."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += received(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    [length] = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    while len(body) < length:
        body += received(connection)
    return head[9:12], json.loads(body)


def received(connection: socket.socket) -> bytes:
    part = connection.recv(65536)
    if not part:
        raise ConnectionError("the server closed the connection")
    return part


def main() -> None:
    port, path, bodies, values, out = sys.argv[1:]
    asking = Asking(int(port), path, json.loads(bodies), json.loads(values))
    signal.signal(signal.SIGTERM, lambda *_: asking.is_over.set())
    threads = [threading.Thread(target=asking.ask, args=(number,)) for number in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    Path(out).write_bytes(asking.taken.tobytes())
    Path(f"{out}.wrong").write_text("\n".join(asking.wrong))
    Path(f"{out}.seen").write_text(json.dumps(sorted(asking.seen)))


if __name__ == "__main__":
    main()
