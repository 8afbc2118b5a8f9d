"""A proxy before a server on 127.0.0.1 that cuts connections at a word that a client says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class CuttingProxy:
    """It passes everything on, until it is told to cut.

    ``cut_after`` are words that one connection must have said one after another; the last of them is passed on to the server, if
    ``last_arrives``, and the client gets no answer. Each cut happens once. ``closed`` refuses every new
    connection, ``closes_after_cut`` from the cut on.
    """

    def __init__(self, host: str, port: int) -> None:
        self._server = host, port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.cut_after: tuple[bytes, ...] = ()
        self.last_arrives = False
        self.closed = self.closes_after_cut = False
        self.cuts = 0
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_all(self) -> None:
        """Cut every connection that is open."""
        with self._lock:
            for one in self._open:
                _close(one)
            self._open.clear()

    def close(self) -> None:
        self.closed = True
        self._listener.close()
        self.cut_all()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.closed:
                _close(client)
                continue
            server = socket.create_connection(self._server)
            with self._lock:
                self._open += [client, server]
            threading.Thread(target=self._to_server, args=(client, server), daemon=True).start()
            threading.Thread(target=self._to_client, args=(server, client), daemon=True).start()

    def _to_server(self, client: socket.socket, server: socket.socket) -> None:
        result = 0
        with suppress(OSError):
            while data := client.recv(1 << 16):
                if result < len(self.cut_after) and self.cut_after[result] in data:
                    result += 1
                    if result == len(self.cut_after):
                        self.cut_after, self.cuts = (), self.cuts + 1
                        self.closed = self.closes_after_cut
                        if self.last_arrives:
                            _close(client)  # first, so that no answer passes
                            server.sendall(data)
                            server.recv(1 << 16)
                        break
                server.sendall(data)
        _close(client)
        _close(server)

    def _to_client(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(1 << 16):
                client.sendall(data)
        _close(client)


def _close(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


@contextmanager
def cutting_proxy(host: str, port: int) -> Iterator[CuttingProxy]:
    """A proxy before a server, for a block."""
    proxy = CuttingProxy(host, port)
    try:
        yield proxy
    finally:
        proxy.close()
