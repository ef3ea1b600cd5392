"""The errors of a server as what they are: of the same class, with the same text."""

import re

import msgspec

from errands.model import errors
from errands.model.errors import (
    ErrandsError,
    FunctionNotFound,
    InvalidConfig,
    JobIsOver,
    JobNotFound,
    NotExternal,
    NotRepeatable,
    Unavailable,
)

KINDS: dict[str, type[ErrandsError]] = {
    kind.code: kind
    for kind in vars(errors).values()
    if isinstance(kind, type) and issubclass(kind, ErrandsError) and "code" in vars(kind)
}
"""By code."""
_QUOTED = re.compile(r"'([^']*)'")
NOT_FOUND = ("job_not_found", "run_not_found")


class _Problem(msgspec.Struct):
    """RFC 9457, as far as it tells what to raise. See api/problems.py."""

    code: str = ""
    detail: str = ""
    hint: str = ""
    error: str = ""
    """ "Job not found": what browsers are told of one."""


def error_of(
    url: str, status: int, body: bytes, location: str, id: str, *, has_token: bool
) -> ErrandsError:
    """id: of the job or run that was meant; "" if none was."""
    try:
        problem = msgspec.json.decode(body, type=_Problem)
    except msgspec.DecodeError:
        problem = _Problem()
    if status == 401:
        return _unauthorized(url, has_token=has_token)
    if problem.code in NOT_FOUND or (status == 404 and problem.error):
        return JobNotFound(id)
    if not problem.detail:
        return foreign(url, status, location)
    if problem.code == JobIsOver.code:
        return JobIsOver(id)
    # What there is no class for is a request that this server does not take as it is.
    kind = KINDS.get(problem.code) or (InvalidConfig if status < 500 else ErrandsError)
    if status == 503:
        kind = Unavailable
    return _restored(kind, problem, id)


def _restored(kind: type[ErrandsError], problem: _Problem, id: str) -> ErrandsError:
    error = kind.__new__(kind)
    # The classes take what they make their text of; here the text is made already.
    ErrandsError.__init__(error, problem.detail, hint=problem.hint)
    if isinstance(error, NotExternal):
        error.job_id = id
    elif isinstance(error, NotRepeatable):
        error.run_id = id
    if isinstance(error, NotExternal | FunctionNotFound):
        # The one thing that only the server knows; its text ends with it in quotes.
        error.function_id = (_QUOTED.findall(problem.detail) or [""])[-1]
    return error


def foreign(url: str, status: int, location: str) -> ErrandsError:
    """What is no answer of errands."""
    if status in (502, 503, 504):
        return Unavailable(
            f"errands cannot be reached: a gateway at {url} answered {status}.",
            hint="Is the server behind it running?",
        )
    if location:
        return InvalidConfig(
            f"{url} leads elsewhere, to {location}.",
            hint="Set ERRANDS_URL, or App(url=…), to where errands itself is.",
        )
    return InvalidConfig(
        f"What answers at {url} is no errands server: its answer was {status}, and none of ours.",
        hint="Set ERRANDS_URL, or App(url=…), to the server's address, for example "
        "http://127.0.0.1:8288.",
    )


def _unauthorized(url: str, *, has_token: bool) -> ErrandsError:
    what = "none is set" if not has_token else "the one that is set is another one"
    return InvalidConfig(
        f"The server at {url} needs its API token, and {what}.",
        hint="Set ERRANDS_API_TOKEN to the token that the server was started with.",
    )
