"""Errors as RFC 9457 problem documents: what happened, why, and what to do next."""

from collections.abc import Mapping

import msgspec
from starlette.responses import Response

from errands.model.errors import ErrandsError

MEDIA_TYPE = "application/problem+json"
STATUS = {
    "arguments_refused": 422,
    "event_refused": 422,
    "function_not_found": 404,
    "invalid_config": 422,
    "job_is_over": 409,
    "job_not_found": 404,
    "not_external": 409,
    "not_repeatable": 409,
    "unavailable": 503,
    "value_not_storable": 422,
    "value_too_large": 413,
}
"""By the error's code; 500 for any other."""
TITLES = {
    400: "Bad request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not found",
    405: "Method not allowed",
    409: "Conflict",
    413: "Too large",
    422: "Not acceptable as it is",
    500: "Internal error",
    503: "Unavailable",
}
RETRY_AFTER_SECONDS = 1


class Mistake(msgspec.Struct, frozen=True, omit_defaults=True):
    """One thing that is wrong with what was sent."""

    pointer: str
    """JSON pointer into the body ("/0/name", empty: all of it), or the parameter's name."""
    detail: str


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """RFC 9457, with the error's stable code, the next move, and what is wrong where."""

    title: str
    status: int
    code: str
    detail: str = ""
    hint: str = ""
    errors: tuple[Mistake, ...] = ()
    type: str = "about:blank"


class Refusal(Exception):
    """Ends a request with a problem document."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        hint: str = "",
        errors: tuple[Mistake, ...] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.problem = Problem(TITLES.get(status, "Error"), status, code, detail, hint, errors)
        self.headers = dict(headers or {})


def refuse_value(pointer: str, why: str, *, hint: str = "", code: str = "invalid_value") -> Refusal:
    """Of what is well formed and says nothing that can be done; `why` begins a sentence."""
    return Refusal(422, code, f"{why}.", hint=hint, errors=(Mistake(pointer, why),))


def of_error(error: ErrandsError) -> Refusal:
    """The answer to an error of ours."""
    status = STATUS.get(error.code, 500)
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else None
    return Refusal(status, error.code, str(error.args[0]), hint=error.hint, headers=headers)


def answer(refusal: Refusal) -> Response:
    return Response(
        msgspec.json.encode(refusal.problem),
        refusal.problem.status,
        headers=refusal.headers,
        media_type=MEDIA_TYPE,
    )
