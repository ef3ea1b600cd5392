"""A mail server that accepts everything and keeps it: every message is a file.

python -m examples.shop.inbox --folder .errands/shop/inbox --port 1025
"""

import argparse
import asyncio
import email.policy
import time
from email.message import EmailMessage
from pathlib import Path

from aiosmtpd.smtp import SMTP, Envelope, Session


class Keeper:
    """aiosmtpd calls it for each message."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep the message, then say so: what was accepted is on disk."""
        content = envelope.content
        assert isinstance(content, bytes)
        path = self.folder / f"{time.time_ns()}.eml"
        unfinished = path.with_suffix(".part")
        unfinished.write_bytes(content)
        unfinished.rename(path)
        return "250 kept"


def messages(folder: Path) -> list[EmailMessage]:
    """All messages in an inbox's folder, in the order of arrival."""
    return [
        email.message_from_bytes(
            path.read_bytes(), _class=EmailMessage, policy=email.policy.default
        )
        for path in sorted(folder.glob("*.eml"))
    ]


async def serve(folder: Path, port: int) -> None:
    """Accept mail until the process is ended.

    port: 0 takes a free one. The first line printed is the address.
    """
    folder.mkdir(parents=True, exist_ok=True)
    keeper = Keeper(folder)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(keeper, loop=loop), "127.0.0.1", port)
    host, port = server.sockets[0].getsockname()
    print(f"{host}:{port}", flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser(
        description="A mail server that keeps what it gets in a folder."
    )
    parser.add_argument("--folder", type=Path, default=Path(".errands/shop/inbox"))
    parser.add_argument(
        "--port", type=int, default=1025, help="0: a free one (default: %(default)s)"
    )
    given = parser.parse_args()
    try:
        asyncio.run(serve(given.folder, given.port))
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main()
