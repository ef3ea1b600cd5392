"""Stands between a store and its server, and cuts the connection around a COMMIT."""

import contextlib
import socket
import threading
from pathlib import Path

COMMIT = b"COMMIT"


class Proxy:
    """Listens on a port of this machine. `cut`: None, "before" the server hears of the COMMIT, or
    "after" it has answered, which its client does not hear. `commits`: how many to let through
    before.
    """

    def __init__(self, server_socket: Path) -> None:
        self._target = str(server_socket)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.cut: str | None = None
        self.cuts = 0
        self._pairs: list[tuple[socket.socket, socket.socket]] = []
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            self._pairs.append((client, server))
            swallow = threading.Event()
            for source, target, is_client in ((client, server, True), (server, client, False)):
                given = (source, target, is_client, swallow)
                threading.Thread(target=self._pump, args=given, daemon=True).start()

    def _pump(
        self,
        source: socket.socket,
        target: socket.socket,
        is_client: bool,
        swallow: threading.Event,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                if is_client and COMMIT in data and self.cut is not None:
                    how, self.cut = self.cut, None
                    self.cuts += 1
                    if how == "before":
                        break
                    swallow.set()
                elif not is_client and swallow.is_set():
                    # The server has answered: it is committed by now.
                    break
                target.sendall(data)
        for end in (source, target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._listener.close()
        for pair in self._pairs:
            for end in pair:
                end.close()
