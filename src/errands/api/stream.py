"""Jobs followed live, as server-sent events: each change of each job, until all are final.

A message is the whole JobStatus, so nothing is lost when changes come faster than they are sent.
Its id says what the client has seen of every job of the stream: with `Last-Event-ID` it goes on
from there, at any server of the store. Source: the event stream format of the HTML standard, 9.2.
"""

import asyncio
import hashlib
import weakref
from base64 import urlsafe_b64encode
from collections.abc import Sequence
from typing import Any

import msgspec
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from errands.api.describe import job_status
from errands.api.endpoint import Ask, json
from errands.api.keys import Keys
from errands.api.problems import Refusal
from errands.executors.process import Process
from errands.executors.ticket import Ticket
from errands.model.errors import JobNotFound
from errands.model.job import JobView

HEARTBEAT_SECONDS = 15.0
"""Between two signs of life on a quiet stream: proxies close what is silent for 30 to 60 s."""
PACE_SECONDS = 0.1
"""Least time between two looks of one stream; nobody reads faster."""
JOBS_MAX = 100
RETRY_MS = 1_000
"""How soon a browser that has lost its stream comes again."""
UNSEEN = "-"
HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold messages back
]
_encode = msgspec.json.Encoder().encode
_open: "weakref.WeakSet[EventStream]" = weakref.WeakSet()


def open_streams() -> int:
    """How many are followed in this process."""
    return len(_open)


def end_streams() -> None:
    """This server stops: clients go on elsewhere, from what they have seen. In the loop."""
    for stream in list(_open):
        stream.leave()


class Jobs(msgspec.Struct, forbid_unknown_fields=True):
    """What `GET /api/events/stream` is asked."""

    job: list[str]
    token: list[str] = []


class Token(msgspec.Struct, forbid_unknown_fields=True):
    token: str = ""


async def job_events(ask: Ask) -> Response:
    """Follow one job."""
    return _follow(ask, [ask.path("id")], [ask.query.token])


async def many_events(ask: Ask) -> Response:
    """Follow many on one connection."""
    ids = list(dict.fromkeys(ask.query.job))
    if len(ids) > JOBS_MAX:
        raise Refusal(
            422,
            "too_many_jobs",
            f"{len(ids)} jobs are asked for; a stream follows {JOBS_MAX}.",
            hint="Open another stream for the others.",
        )
    return _follow(ask, ids, ask.query.token)


def _follow(ask: Ask, ids: Sequence[str], tokens: Sequence[str]) -> Response:
    process = ask.process
    _check(ask.keys, ask.request.headers.get("authorization", ""), ids, tokens, process.clock.now())
    followed = [one for id in ids if (one := _find(process, id)) is not None]
    if not followed:
        return json({"error": "Job not found"}, 404)
    _recall(followed, ask.request.headers.get("last-event-id", ""))
    if all(one.is_over for one in followed):
        # Tells a browser not to come again.
        return Response(status_code=204)
    return EventStream(process, followed)


def _find(process: Process, id: str) -> "Followed | None":
    """None: there is none, or it is kept no longer; the others are followed all the same."""
    try:
        return Followed(process, id)
    except JobNotFound:
        return None


def _check(
    keys: Keys, authorization: str, ids: Sequence[str], tokens: Sequence[str], now: int
) -> None:
    """The API token, or for each job a token of its own. Raises Refusal."""
    for id in ids:
        refusal: Refusal | None = None
        for token in tokens or ("",):
            try:
                keys.check_job(authorization, token, [id], now)
                break
            except Refusal as refused:
                refusal = refused
        else:
            assert refusal is not None
            raise refusal


class Followed:
    """One job of a stream: as it was last looked at, and what the client has seen of it."""

    __slots__ = ("id", "is_gone", "run", "seen", "view")

    def __init__(self, process: Process, id: str) -> None:
        self.id, self.run = id, process.run_id(id)
        self.view = process.view(id, self.run)
        self.seen = UNSEEN
        self.is_gone = False
        """Kept no longer, before it was final."""

    def look(self, process: Process) -> bool:
        """Has it changed?"""
        before = self.view
        try:
            self.view = process.view(self.id, self.run)
        except JobNotFound:
            self.is_gone = True
            return True
        return self.view != before

    @property
    def may_change(self) -> bool:
        return not self.view.is_final and not self.is_gone

    @property
    def is_over(self) -> bool:
        """Final, and the client knows it."""
        return self.view.is_final and self.seen == stamp_of(self.view)


def stamp_of(view: JobView) -> str:
    """Differs whenever a client would see a change; the same at every server."""
    digest = hashlib.blake2b(_encode(view), digest_size=6).digest()
    return urlsafe_b64encode(digest).decode()


def _recall(followed: Sequence[Followed], last_event_id: str) -> None:
    """What the client has seen already; an id of another list of jobs says nothing."""
    stamps = last_event_id.split(".")
    if len(stamps) == len(followed):
        for one, stamp in zip(followed, stamps, strict=True):
            one.seen = stamp


class EventStream(Response):
    """The answer that goes on. One task beside the request's own, which hears when the client goes.

    It keeps little: there may be thousands.
    """

    def __init__(self, process: Process, followed: Sequence[Followed]) -> None:
        self.status_code, self.background = 200, None
        self._process, self._followed = process, followed
        self._ticket: Ticket[Any] | None = None
        self._is_left = False

    def leave(self) -> None:
        """End it as it is."""
        self._is_left = True
        if self._ticket is not None:
            self._ticket.settle(None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
        await send(_part(f"retry: {RETRY_MS}\n\n".encode()))
        gone = asyncio.ensure_future(self._hear_going(receive))
        _open.add(self)
        try:
            while not self._is_left and await self._tell(send):
                await self._wait(send)
        finally:
            _open.discard(self)
            gone.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _hear_going(self, receive: Receive) -> None:
        while (await receive())["type"] != "http.disconnect":
            continue
        self.leave()

    async def _tell(self, send: Send) -> bool:
        """Send what the client has not seen; False when nothing more can come."""
        for one in self._followed:
            if one.seen != (stamp := stamp_of(one.view)):
                one.seen = stamp
                id = ".".join([each.seen for each in self._followed]).encode()
                data = _encode(job_status(one.view))
                await send(_part(b"id: %s\nevent: status\ndata: %s\n\n" % (id, data)))
        return any(one.may_change for one in self._followed)

    async def _wait(self, send: Send) -> None:
        """Until one has changed, or the client has gone; with signs of life meanwhile."""
        process, loop = self._process, asyncio.get_running_loop()
        followed = [one for one in self._followed if one.may_change]
        runs = [one.run for one in followed]
        silent_until = loop.time() + HEARTBEAT_SECONDS
        while not self._is_left:
            looked_at = loop.time()
            ticket = self._ticket = process.watchers.watch_any(runs, loop)
            try:
                # Only now: what changes from here on settles the ticket.
                if [one for one in followed if one.look(process)]:
                    return
                await process.hear(ticket, max(0.0, silent_until - looked_at))
            finally:
                process.watchers.forget_any(runs, ticket)
            if not self._is_left and loop.time() >= silent_until:
                await send(_part(b": heartbeat\n\n"))
                silent_until = loop.time() + HEARTBEAT_SECONDS
            await asyncio.sleep(max(0.0, looked_at + PACE_SECONDS - loop.time()))


def _part(data: bytes) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": True}
