"""How requests end when their server stops."""

import asyncio
from typing import Any

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from errands.api.problems import Refusal, answer
from errands.api.stream import end_streams

GOING = {"Connection": "close", "Cache-Control": "no-store"}
LAST_LOOK_SECONDS = 0.2
"""When a server stops: until requests that only wait are told to ask elsewhere."""


class Draining:
    """An ASGI app whose requests that only wait can be ended: streams, and long polls.

    What has not been answered yet is told to ask again, which is safe for a GET alone.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._unanswered: dict[asyncio.Task[Any], None] = {}
        self._is_ending = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET":
            await self._get(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _get(self, scope: Scope, receive: Receive, send: Send) -> None:
        task = asyncio.current_task()
        assert task is not None

        async def answering(message: Message) -> None:
            self._unanswered.pop(task, None)
            await send(message)

        self._unanswered[task] = None
        try:
            if not self._is_ending:
                await self._app(scope, receive, answering)
                return
        except asyncio.CancelledError:
            # By us if it still waits; else its client has gone.
            if not self._is_ending or task not in self._unanswered:
                raise
            task.uncancel()
        finally:
            self._unanswered.pop(task, None)
        await _stopping(scope)(scope, receive, send)

    async def end(self) -> None:
        """From now on, until everything has ended."""
        self._is_ending = True
        while True:
            end_streams()
            await asyncio.sleep(LAST_LOOK_SECONDS)
            for task in list(self._unanswered):
                task.cancel()


def _stopping(scope: Scope) -> Response:
    """Ask again: another server answers, or this one when it is back."""
    if b"text/event-stream" in dict(scope["headers"]).get(b"accept", b""):
        # A browser's EventSource comes again after a stream that ends, and gives up at an error.
        return Response(b"retry: 1000\n\n", media_type="text/event-stream", headers=GOING)
    return answer(
        Refusal(
            503,
            "stopping",
            "This server is stopping.",
            hint="Ask again: another one answers, or this one when it is back.",
            headers={**GOING, "Retry-After": "1"},
        )
    )
