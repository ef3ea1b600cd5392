"""The socket on which a server listens."""

import errno
import ipaddress
import socket
from collections.abc import Generator
from contextlib import contextmanager

from errands.model.errors import InvalidConfig

HOST, PORT = "127.0.0.1", 8288
"""8288 is where Inngest's SDKs look for a development server."""
BACKLOG = 2048
"""Connections that wait to be accepted; also while a process takes over from another."""


@contextmanager
def listen(host: str, port: int) -> Generator[socket.socket]:
    """A listening socket, closed after the block. Raises InvalidConfig."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, OverflowError) as error:
        what, hint = _cannot_listen(host, port, error)
        raise InvalidConfig(what, hint=hint) from None
    with listener:
        # Connections inherit it; asyncio's own loop sets it only where it made the socket itself,
        # and every answer would wait 40 ms for the client's acknowledgement.
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield listener


def _cannot_listen(host: str, port: int, error: OSError | OverflowError) -> tuple[str, str]:
    """What happened, and what to do."""
    place = f"{host}:{port}"
    match getattr(error, "errno", None):
        case errno.EADDRINUSE:
            return (
                f"{place} is in use: another program listens there.",
                "Is errands running already? End it, or take another --port.",
            )
        case errno.EACCES:
            return f"{place} needs more rights than yours.", "Take a --port above 1023."
        case _:
            return f"Cannot listen on {place}: {error}.", "Look at --host and --port."


def address(listener: socket.socket) -> str:
    """As a URL."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def is_loopback(host: str) -> bool:
    """Can only this machine reach it? A name in a URL, or an address; without the port."""
    name = host.lower().strip("[]")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")
