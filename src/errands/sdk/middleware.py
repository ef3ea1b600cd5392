"""Middleware: three doors, each wrapped like an onion."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

from errands.sdk.event import EventLike
from errands.sdk.run import Run

Next: TypeAlias = Callable[[], Awaitable[object]]
Send: TypeAlias = "Callable[[Sequence[EventLike]], Awaitable[list[str]]]"


class Middleware:
    """Override what you need; call `await proceed()` once.

    Raise to refuse; return something else to replace the result.
    """

    async def start(self) -> None:
        """Once, when a server, worker or web app starts."""

    async def stop(self) -> None:
        """Once, when it stops."""

    async def on_send(self, events: "Sequence[EventLike]", proceed: Send) -> list[str]:
        """Around every send; may replace the events. Enqueued jobs pass here as events too."""
        return await proceed(events)

    async def on_run(self, run: "Run", proceed: Next) -> object:
        """Around each attempt of a function or job; not around memoized steps."""
        return await proceed()

    async def on_step(self, run: "Run", proceed: Next) -> object:
        """Around each attempt of a step that really executes. `run.step_id` names it."""
        return await proceed()


def wrap_send(middleware: Sequence[Middleware], send: Send) -> Send:
    """`send` with these around it, the first outermost.

    Those that do not care about sending are left out.
    """
    for one in reversed(middleware):
        if type(one).on_send is not Middleware.on_send:
            send = _around(one, send)
    return send


def _around(one: Middleware, inner: Send) -> Send:
    async def outer(events: "Sequence[EventLike]") -> list[str]:
        return await one.on_send(events, inner)

    return outer
