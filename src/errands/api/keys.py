"""Who may do what: the event key sends, the API token does everything, a job token sees one job."""

import base64
import hashlib
import hmac
from collections.abc import Sequence

import msgspec

from errands.api.problems import Refusal

PREFIX = "errands-job-v1"
UNTIL_DIGITS_MAX = 15


class Keys(msgspec.Struct, frozen=True):
    """The secrets of a server. None of them is ever logged, and each is compared in constant time.

    `OPEN`: there are none, and everybody who reaches the socket may do everything; for loopback.
    """

    event_keys: tuple[str, ...] = ()
    api_tokens: tuple[str, ...] = ()
    signing_key: str = ""
    """Without one, no job token is good."""
    is_open: bool = False

    def __repr__(self) -> str:
        return "Keys(open)" if self.is_open else "Keys(…)"

    def check_event_key(self, given: str) -> None:
        """Raises Refusal."""
        if not self.is_open and not _is_one_of(given, (*self.event_keys, *self.api_tokens)):
            raise _unauthorized("The event key in the path is none of this server's.")

    def check_token(self, authorization: str) -> None:
        """The value of the Authorization header. Raises Refusal."""
        if not self.is_open and not _is_one_of(_bearer(authorization), self.api_tokens):
            raise _unauthorized("This needs `Authorization: Bearer` with the server's API token.")

    def check_job(self, authorization: str, token: str, jobs: Sequence[str], now: int) -> None:
        """The API token, or a token made for exactly these jobs. Raises Refusal."""
        if self.is_open or _is_one_of(_bearer(authorization), self.api_tokens):
            return
        said = token.partition(".")[0]
        until = int(said) if said.isdecimal() and len(said) <= UNTIL_DIGITS_MAX else None
        wanted = "" if until is None or not self.signing_key else self.job_token(jobs, until)
        if until is None or not _is_one_of(token, (wanted,)):
            raise _unauthorized("This needs the server's API token, or a token made for this job.")
        if until < now:
            raise _unauthorized("This job token has expired.")

    def job_token(self, jobs: Sequence[str], until: int) -> str:
        """Lets its bearer follow these jobs until then (Unix ms): for a browser."""
        said = msgspec.json.encode((PREFIX, until, sorted(jobs)))
        mac = hmac.new(self.signing_key.encode(), said, hashlib.sha256).digest()
        return f"{until}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}"


OPEN = Keys(is_open=True)


def _bearer(authorization: str) -> str:
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _is_one_of(given: str, wanted: Sequence[str]) -> bool:
    """Each is compared, by its hash, so that time tells nothing. An empty key opens nothing."""
    said = _hash(given)
    is_known = False
    for key in wanted:
        is_same = hmac.compare_digest(said, _hash(key))
        is_known |= is_same and bool(key)
    return is_known


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode(errors="surrogatepass")).digest()


def _unauthorized(why: str) -> Refusal:
    return Refusal(
        401,
        "unauthorized",
        why,
        hint="`errands keys new` prints a set, and how to use it.",
        headers={"WWW-Authenticate": "Bearer"},
    )
