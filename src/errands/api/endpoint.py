"""One operation of the API: what it takes and answers, told once, for routes and document."""

import enum
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope

from errands.api.keys import Keys
from errands.api.problems import Mistake, Refusal
from errands.executors.process import Process
from errands.settings import Settings

BODY_BYTES_MAX = 16 * 1024 * 1024
"""The largest body, mostly of a batch of events; each event has its own limit as well."""
ITEMS_MAX = 20_000
"""Events or jobs of one request: it is decoded in one go, and written in one transaction."""
DEPTH_MAX = 100
"""Objects and arrays within one another: of what is deeper, its next reader may be unable."""
# Possessive, and content with a string that never ends: nothing is looked at twice.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[{}\]]")
_UNKNOWN = re.compile("unknown field `(.+)`")
_TRACE = re.compile(rb"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
_JSON = (b"content-type", b"application/json")
_encode = msgspec.json.Encoder().encode


def check_count(count: int) -> None:
    """Raises Refusal."""
    if count > ITEMS_MAX:
        raise Refusal(
            413,
            "too_many_items",
            f"{count:,} events or jobs in one request; {ITEMS_MAX:,} are allowed.",
            hint="Nothing of it was accepted. Send them in several requests.",
        )


class Access(enum.Enum):
    PUBLIC = "public"
    EVENT_KEY = "event key"
    """In the path."""
    TOKEN = "token"
    """The API token, as a bearer."""
    JOB = "job"
    """The API token, or a token for the jobs that are asked for; the handler checks it."""


class Ask:
    """A request, checked and read."""

    __slots__ = ("_request", "body", "keys", "process", "query", "receive", "scope", "settings")

    def __init__(
        self, scope: Scope, receive: Receive, process: Process, keys: Keys, settings: Settings
    ) -> None:
        self.scope, self.receive = scope, receive
        self.process, self.keys, self.settings = process, keys, settings
        self._request: Request | None = None
        self.query: Any = None
        """Of the endpoint's `query`."""
        self.body: Any = None
        """Of the endpoint's `body`."""

    @property
    def request(self) -> Request:
        if self._request is None:
            self._request = Request(self.scope, self.receive)
        return self._request

    def path(self, name: str) -> str:
        value: str = self.scope["path_params"][name]
        # See `app.SLASH`.
        return value.replace("\0", "/")

    def header(self, name: bytes) -> str:
        """Empty if it is not there. name: in lower case."""
        return find_header(self.scope, name).decode("latin-1")

    @property
    def trace(self) -> str | None:
        """The W3C traceparent that the request came with."""
        given = find_header(self.scope, b"traceparent")
        return given.decode() if given and _TRACE.fullmatch(given) else None


Handler = Callable[[Ask], Awaitable[Response]]


class Answer(msgspec.Struct, frozen=True):
    what: str
    """For the document."""
    body: Any = None
    """Type of the JSON; None: there is none, or it is of another kind."""
    media_type: str = "application/json"


class Endpoint(msgspec.Struct, frozen=True):
    method: str
    path: str
    """As Starlette has it: "/api/runs/{id}"."""
    handler: Handler
    summary: str
    answers: Mapping[int, Answer]
    """Without those that any may give: 401 where a key is needed, 422, 500, 503 …"""
    access: Access = Access.TOKEN
    query: type[Any] | None = None
    """A struct; its fields are the parameters."""
    body: Any = None
    """Type of the JSON body; None: it takes none."""
    is_body_optional: bool = False
    """Without one, it is as if it were an empty object."""
    body_limit: int = BODY_BYTES_MAX
    reads_body: bool = True
    """False: the handler reads it, by rules of its own."""
    problems: tuple[int, ...] = ()
    """Statuses of the problems that it may answer, beside those of all."""
    has_head: bool = True
    """A GET without the body makes sense: the answer ends by itself."""


def json(value: Any, status: int = 200) -> Response:
    return _Json(_encode(value), status)


class _Json(Response):
    """A response without the options that none of ours has: it is made for each event sent."""

    media_type = "application/json"
    background = None

    def __init__(self, body: bytes, status: int) -> None:
        self.body, self.status_code = body, status
        self.raw_headers = [(b"content-length", b"%d" % len(body)), _JSON]


def find_header(scope: Scope, name: bytes) -> bytes:
    """Empty if it is not there."""
    for key, value in scope["headers"]:
        if key == name:
            found: bytes = value
            return found
    return b""


def read_query(request: Request, into: type[Any]) -> Any:
    """Raises Refusal."""
    given: dict[str, Any] = {}
    for name in request.query_params:
        values = request.query_params.getlist(name)
        given[name] = values if len(values) > 1 or _is_list(into, name) else values[0]
    try:
        return msgspec.convert(given, into, strict=False)
    except msgspec.ValidationError as error:
        mistake = _mistake(error)
        name = mistake.pointer.removeprefix("/")
        what = f"The query parameter {name!r}" if name else "The query"
        raise Refusal(
            422,
            "invalid_value",
            f"{what} is not as it should be: {mistake.detail}.",
            errors=(Mistake(name, mistake.detail),),
        ) from None


def _is_list(into: type[Any], name: str) -> bool:
    kind = into.__annotations__.get(name)
    return getattr(kind, "__origin__", None) in (list, tuple)


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes:
    """No more than that is ever held. Raises Refusal."""
    said = find_header(scope, b"content-length")
    if said.isdigit() and int(said[:20]) > limit:
        raise _too_large(limit)
    message = await receive()
    if not message.get("more_body") and message["type"] == "http.request":
        body: bytes = message.get("body", b"")
        return _checked(body, limit)
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] == "http.disconnect":
            raise Refusal(400, "incomplete_body", "The client left before all of the body came.")
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise _too_large(limit)
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()


def _checked(body: bytes, limit: int) -> bytes:
    if len(body) > limit:
        raise _too_large(limit)
    return body


def decode_body(data: bytes, decoder: msgspec.json.Decoder[Any]) -> Any:
    """Raises Refusal."""
    if len(data) > 2 * DEPTH_MAX:
        check_depth(data)
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        mistake = _mistake(error)
        where = f" at {mistake.pointer}" if mistake.pointer else ""
        raise Refusal(
            422,
            "invalid_value",
            f"The body is not as it should be{where}: {mistake.detail}.",
            errors=(mistake,),
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise invalid_json(data, error) from None


def invalid_json(data: bytes, error: Exception) -> Refusal:
    why = "it is empty" if not data else str(error)
    if "truncated" in why and rb"\ud" in data.lower():
        why = "it ends too early, or has half of a surrogate pair (\\ud800 to \\udfff)"
    return Refusal(
        400,
        "invalid_json",
        f"The body is no JSON: {why}.",
        hint="Send one JSON value, in UTF-8.",
    )


def check_depth(data: bytes) -> None:
    """Raises Refusal."""
    if data.count(b"[") + data.count(b"{") <= DEPTH_MAX:
        return
    depth = 0
    for bracket in _BRACKET.findall(_STRING.sub(b"", data)):
        depth += 1 if bracket in b"[{" else -1
        if depth > DEPTH_MAX:
            raise Refusal(
                422,
                "too_deep",
                f"The body has more than {DEPTH_MAX} objects and arrays within one another.",
            )


def _mistake(error: msgspec.ValidationError) -> Mistake:
    """What is wrong, and a JSON pointer to it."""
    text, _, path = str(error).partition(" - at `")
    # A value in a map has no name there: the pointer ends at the map.
    path = path.rstrip("`").removeprefix("$").partition("[...]")[0]
    pointer = path.replace("[", "/").replace("]", "").replace(".", "/")
    if unknown := _UNKNOWN.search(text):
        pointer = f"{pointer}/{unknown[1].replace('~', '~0').replace('/', '~1')}"
    return Mistake(pointer, text)


def _too_large(limit: int) -> Refusal:
    return Refusal(
        413,
        "body_too_large",
        f"The body is larger than {limit:,} bytes.",
        hint="Send it in several requests, or keep the large part where it belongs (a file, an "
        "object store) and send its key.",
    )
