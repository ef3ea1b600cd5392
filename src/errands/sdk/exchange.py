"""What is asked of a server, and what its answers mean. No I/O here.

A call is a generator: it yields what to ask, or how long to wait, is told what came of it, and
returns the result. `sdk/carriers.py` drives it, in an event loop or in the calling thread.
"""

import random
import time
from collections.abc import Callable, Generator, Sequence
from typing import Any, TypeAlias, TypeVar
from urllib.parse import quote, urlencode

import msgspec
from msgspec import UNSET, Raw, UnsetType

from errands.model.errors import ErrandsError, JobNotFound, Unavailable
from errands.model.event import NewEvent
from errands.model.external_rules import Change, check_made, checked
from errands.model.function import AppConfig
from errands.model.job import JobState, JobView, NewJob
from errands.model.run import Failure
from errands.sdk.problem import error_of, foreign

T = TypeVar("T")

SEND_PATIENCE = 6.0
"""Seconds for which a server that is away is asked again: it may just be restarting."""
FOLLOW_PATIENCE = 30.0
"""The same, for whoever waits anyway; counted from the last answer."""
HOLD_SECONDS = 25.0
"""How long a server is asked to keep a question, until there is news."""
DELAYS = (0.05, 0.2, 0.4, 0.8, 1.6)
"""Seconds before asking again; then always as the last."""
ID_LENGTH_MAX = 1_000
AWAY = (502, 503, 504)


class Request(msgspec.Struct, frozen=True):
    method: str
    path: str
    """Quoted, with its query."""
    body: bytes | None = None
    """JSON."""
    hold: float = 0.0
    """Seconds that the server may take on purpose."""
    is_repeatable: bool = True
    """Asking twice does nothing that asking once does not."""


class Reply(msgspec.Struct, frozen=True):
    status: int
    body: bytes = b""
    retry_after: float = 0.0
    """Seconds."""
    location: str = ""


class Lost(msgspec.Struct, frozen=True):
    """No answer came."""

    why: str
    may_have_arrived: bool


class Pause(msgspec.Struct, frozen=True):
    seconds: float


Call: TypeAlias = Generator[Request | Pause, Reply | Lost | None, T]


class Look(JobView, frozen=True):
    """A view, and what to say in order to be told of the next one."""

    stamp: str = ""


# -- the wire: api/schemas.py has the other end ----------------------------------------------------


class _SentEvent(
    msgspec.Struct, rename="camel", omit_defaults=True, tag_field="type", tag="event", gc=False
):
    name: str
    data: Raw
    key: str | None = None
    ts: int | None = None
    user: Raw | None = None
    v: str | None = None
    trace: str | None = None


class _SentJob(
    msgspec.Struct, rename="camel", omit_defaults=True, tag_field="type", tag="job", gc=False
):
    app: str
    function: str
    data: Raw
    key: str | None = None
    delay_ms: int | None = None
    at: int | None = None
    retries: Raw | None = None
    start_timeout_ms: int | None = None
    finish_timeout_ms: int | None = None
    tags: tuple[str, ...] = ()
    trace: str | None = None


class _Ids(msgspec.Struct):
    ids: list[str]


class _Id(msgspec.Struct):
    id: str


class _Registered(msgspec.Struct):
    functions: int


class _View(msgspec.Struct, rename="camel"):
    id: str
    status: JobState
    created_at: int
    updated_at: int
    stamp: str
    progress: float | None = None
    message: str | None = None
    result: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET
    cancelled: str | None = None


class _Status(msgspec.Struct, rename="camel"):
    id: str
    status: JobState
    created_at: int
    updated_at: int
    progress: float | None = None
    message: str | None = None
    result: Raw | UnsetType = UNSET
    error: str | None = None


_encode = msgspec.json.Encoder().encode


class Exchange:
    """The calls of one app to one server; `url` without a slash at its end."""

    def __init__(
        self,
        url: str,
        *,
        has_token: bool,
        now: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.url, self._has_token = url, has_token
        self._now, self._chance = now, chance

    # -- apps and sends ------------------------------------------------------------------------

    def register(self, app: AppConfig) -> Call[None]:
        yield from self._told(
            Request("PUT", f"/api/apps/{_segment(app.name)}", _encode(app)), into=_Registered
        )

    def send(self, items: Sequence[NewEvent | NewJob], token: str) -> Call[list[str]]:
        """token: new for each call; it makes sure that a job which is sent again is the same one.

        Why events have none: docs/decisions/0007.
        """
        sent = [
            _event(item) if isinstance(item, NewEvent) else _job(item, f"{token}-{n}")
            for n, item in enumerate(items)
        ]
        request = Request(
            "POST",
            "/api/send",
            _encode({"items": sent}),
            is_repeatable=all(one.key is not None for one in sent),
        )
        told = yield from self._told(request, into=_Ids)
        return told.ids

    def rerun(self, run_id: str) -> Call[str]:
        request = Request("POST", f"/api/runs/{_segment(run_id)}/rerun", is_repeatable=False)
        told = yield from self._told(request, run_id, into=_Id)
        return told.id

    # -- jobs ----------------------------------------------------------------------------------

    def job(self, job_id: str) -> Call[Look]:
        return self._look(job_id, SEND_PATIENCE, {})

    def changed(self, seen: JobView, timeout: float | None) -> Call[Look]:
        until = None if timeout is None else self._now() + timeout
        stamp = seen.stamp if isinstance(seen, Look) else None
        while True:
            hold = 0.0 if stamp is None else self._hold(until)
            asked = {} if stamp is None else {"seen": stamp, "wait": f"{hold:.3f}"}
            look = yield from self._look(seen.id, self._patience(until), asked, hold)
            # A final view is the last: there is nothing to wait for.
            if stamp is None:
                is_news = _plain(look) != _plain(seen)
            else:
                is_news = look.stamp != stamp
            if is_news or look.is_final or self._is_past(until):
                return look
            stamp = look.stamp

    def outcome(self, job_id: str, timeout: float | None) -> Call[Look | None]:
        until = None if timeout is None else self._now() + timeout
        while True:
            hold = self._hold(until)
            asked = {"final": "1", "wait": f"{hold:.3f}"}
            look = yield from self._look(job_id, self._patience(until), asked, hold)
            if look.is_final:
                return look
            if self._is_past(until):
                return None

    def _look(
        self, job_id: str, patience: float, asked: dict[str, str], hold: float = 0.0
    ) -> Call[Look]:
        query = f"?{urlencode(asked)}" if asked else ""
        request = Request("GET", f"/api/jobs/{_segment(job_id)}/view{query}", hold=hold)
        told = yield from self._told(request, job_id, into=_View, patience=patience)
        return Look(
            told.id,
            told.status,
            told.created_at,
            told.updated_at,
            told.progress,
            told.message,
            _bytes(told.result),
            _bytes(told.error),
            told.cancelled,
            told.stamp,
        )

    def cancel(self, job_id: str, reason: str | None) -> Call[None]:
        request = Request(
            "POST", f"/api/jobs/{_segment(job_id)}/cancel", _encode({"reason": reason})
        )
        yield from self._told(request, job_id, into=_Id)

    # -- external jobs -------------------------------------------------------------------------

    def create_job(self, key: str | None, keep_ms: int) -> Call[tuple[JobView, bool]]:
        check_made(key, keep_ms)
        body = {"keep": keep_ms} if key is None else {"id": key, "keep": keep_ms}
        request = Request("POST", "/api/jobs", _encode(body), is_repeatable=key is not None)
        reply = yield from self._reply(request, key or "")
        view = yield from self._viewed(self._read(reply, _Status))
        return view, reply.status == 201

    def update_job(self, job_id: str, change: Change) -> Call[JobView]:
        change = checked(job_id, change)
        given: dict[str, Any] = {
            "status": change.status,
            "progress": change.percent,
            "message": change.note,
            "result": None if change.result is None else Raw(change.result),
            "error": change.error,
        }
        body = _encode({name: value for name, value in given.items() if value is not None})
        # Of a job that has ended by it, a second time would be told that it is over.
        request = Request(
            "PATCH", f"/api/jobs/{_segment(job_id)}", body, is_repeatable=not change.is_end
        )
        told = yield from self._told(request, job_id, into=_Status)
        return (yield from self._viewed(told, change.error))

    def _viewed(self, status: _Status, error: str | None = None) -> Call[JobView]:
        """error: as it was just given; else a status does not say what kind of end it was."""
        failure = None
        if status.status == "failed":
            if error is None:
                return _plain((yield from self.job(status.id)))
            failure = _encode(Failure(error, ""))
        return JobView(
            status.id,
            status.status,
            status.created_at,
            status.updated_at,
            status.progress,
            status.message,
            _bytes(status.result),
            failure,
        )

    # -- asking --------------------------------------------------------------------------------

    def _told(
        self, request: Request, id: str = "", *, into: type[T], patience: float = SEND_PATIENCE
    ) -> Call[T]:
        """The answer as a struct; `id`: of the job that is meant."""
        reply = yield from self._reply(request, id, patience)
        return self._read(reply, into)

    def _read(self, reply: Reply, into: type[T]) -> T:
        try:
            return msgspec.json.decode(reply.body, type=into)
        except msgspec.DecodeError:
            raise foreign(self.url, reply.status, reply.location) from None

    def _reply(self, request: Request, id: str, patience: float = SEND_PATIENCE) -> Call[Reply]:
        """The answer, asked for again as long as that is safe and may help. Raises ErrandsError."""
        until = self._now() + patience
        asked = 0
        while True:
            told = yield request
            assert told is not None
            if isinstance(told, Reply) and told.status not in AWAY:
                break
            wait = DELAYS[min(asked, len(DELAYS) - 1)] * (0.5 + self._chance())
            if isinstance(told, Reply):
                wait = max(wait, told.retry_after)
            if not _may_repeat(request, told) or self._now() + wait > until:
                raise self._away(request, told)
            yield Pause(wait)
            asked += 1
        if not 200 <= told.status < 300:
            raise self._error(told, id)
        return told

    def _error(self, reply: Reply, id: str) -> ErrandsError:
        return error_of(
            self.url, reply.status, reply.body, reply.location, id, has_token=self._has_token
        )

    def _away(self, request: Request, told: Reply | Lost) -> ErrandsError:
        if isinstance(told, Reply) and (told.status == 503 or request.method == "GET"):
            return self._error(told, "")
        why = f"a gateway answered {told.status}" if isinstance(told, Reply) else told.why
        if request.method != "GET" and (isinstance(told, Reply) or told.may_have_arrived):
            return Unavailable(
                f"No answer came from {self.url}: {why}. What was asked may have been done all "
                "the same.",
                hint="Look before you ask again. What has an id of its own (an event's id, a "
                "job's idempotency_key) counts once, however often it is sent.",
            )
        return Unavailable(
            f"errands cannot be reached: {why}.",
            hint=f"Is a server running at {self.url}? Start it (`errands dev`, `errands serve`), "
            "or set ERRANDS_URL to where it is.",
        )

    def _hold(self, until: float | None) -> float:
        return HOLD_SECONDS if until is None else min(HOLD_SECONDS, max(0.0, until - self._now()))

    def _patience(self, until: float | None) -> float:
        """At least a second, so that one lost connection is no failure."""
        if until is None:
            return FOLLOW_PATIENCE
        return min(FOLLOW_PATIENCE, max(1.0, until - self._now()))

    def _is_past(self, until: float | None) -> bool:
        return until is not None and self._now() >= until


def _may_repeat(request: Request, told: Reply | Lost) -> bool:
    if request.is_repeatable:
        return True
    # 503 says that nothing was accepted; a gateway's 502 and 504 say nothing of the kind.
    return told.status == 503 if isinstance(told, Reply) else not told.may_have_arrived


def _segment(id: str) -> str:
    """An id as part of a path. Raises JobNotFound of what nothing can be called."""
    try:
        quoted = quote(id, safe="")
    except UnicodeEncodeError:
        quoted = ""
    if not quoted or len(id) > ID_LENGTH_MAX:
        raise JobNotFound(id)
    # Alone in a path, dots mean another one.
    return quoted.replace(".", "%2E") if set(quoted) == {"."} else quoted


def _event(new: NewEvent) -> _SentEvent:
    return _SentEvent(
        new.name,
        Raw(new.data),
        new.key,
        new.ts,
        None if new.user is None else Raw(new.user),
        new.v,
        new.trace,
    )


def _job(new: NewJob, key: str) -> _SentJob:
    return _SentJob(
        new.app,
        new.function,
        Raw(new.data),
        new.key or key,
        new.delay_ms,
        new.at,
        None if new.retries is None else Raw(new.retries),
        new.start_timeout_ms,
        new.finish_timeout_ms,
        new.tags,
        new.trace,
    )


def _plain(view: JobView) -> JobView:
    """Without the stamp, which a view of another backend does not have."""
    if type(view) is JobView:
        return view
    return JobView(*(getattr(view, name) for name in JobView.__struct_fields__))


def _bytes(value: Raw | UnsetType) -> bytes | None:
    # A copy: else a small result would keep all of its answer in memory.
    return None if value is UNSET else bytes(value)
