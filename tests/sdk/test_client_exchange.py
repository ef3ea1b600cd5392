"""What a client asks again, when, and what it makes of each answer. No I/O: calls are driven."""

from collections.abc import Sequence
from typing import Any

import msgspec
import pytest

from errands.model import errors
from errands.model.errors import (
    ErrandsError,
    EventRefused,
    InternalError,
    InvalidConfig,
    JobNotFound,
    Unavailable,
)
from errands.model.event import NewEvent
from errands.model.external_rules import Change
from errands.model.job import JobView, NewJob
from errands.sdk.exchange import Call, Exchange, Look, Lost, Pause, Reply, Request
from errands.sdk.problem import KINDS

REFUSED = Lost("Connection refused", may_have_arrived=False)
CUT = Lost("the connection broke", may_have_arrived=True)
BUSY = Reply(
    503,
    b'{"code":"unavailable","detail":"The queue is full.","hint":"Send slower."}',
    retry_after=1,
)
IDS = Reply(200, b'{"ids":["a"]}')
EVENT, NAMED, JOB = NewEvent("e", b"{}"), NewEvent("e", b"{}", key="e1"), NewJob("a", "j", b"{}")


class Driven:
    """Drives a call with these answers, in a time of its own."""

    def __init__(self, told: Sequence[Reply | Lost], *, seconds: float = 0.0) -> None:
        self.told, self.seconds = list(told), seconds
        self.time = 0.0
        self.asked: list[Request] = []
        self.pauses: list[float] = []
        self.exchange = Exchange(
            "http://h:1", has_token=False, now=lambda: self.time, chance=lambda: 0.5
        )

    def drive(self, call: Call[Any]) -> Any:
        try:
            step = next(call)
            while True:
                if isinstance(step, Pause):
                    self.pauses.append(step.seconds)
                    self.time += step.seconds
                    step = call.send(None)
                else:
                    self.asked.append(step)
                    self.time += self.seconds
                    step = call.send(self.told.pop(0) if len(self.told) > 1 else self.told[0])
        except StopIteration as stop:
            return stop.value

    def send(self, *items: NewEvent | NewJob) -> Any:
        return self.drive(self.exchange.send(items, "token"))

    def fail(self, call: Call[Any], kind: type[ErrandsError] = Unavailable) -> ErrandsError:
        with pytest.raises(kind) as raised:
            self.drive(call)
        assert type(raised.value) is kind
        return raised.value


# -- asking again ----------------------------------------------------------------------------------


@pytest.mark.parametrize("item", [EVENT, NAMED, JOB])
@pytest.mark.parametrize("told", [REFUSED, BUSY])
def test_what_was_not_accepted_is_sent_again(item: NewEvent | NewJob, told: Reply | Lost) -> None:
    driven = Driven([told, told, IDS])

    assert driven.send(item) == ["a"]
    assert len(driven.asked) == 3


@pytest.mark.parametrize("told", [CUT, Reply(502), Reply(504)])
@pytest.mark.parametrize("items", [[NAMED], [JOB], [JOB, NAMED]])
def test_what_may_have_been_accepted_is_sent_again_where_it_counts_once(
    items: list[NewEvent | NewJob], told: Reply | Lost
) -> None:
    driven = Driven([told, IDS])

    assert driven.send(*items) == ["a"]
    assert driven.asked[0] == driven.asked[1]


@pytest.mark.parametrize("told", [CUT, Reply(502), Reply(504)])
@pytest.mark.parametrize("items", [[EVENT], [JOB, EVENT]])
def test_an_event_that_may_have_been_accepted_is_not_sent_again(
    items: list[NewEvent | NewJob], told: Reply | Lost
) -> None:
    driven = Driven([told, IDS])

    error = driven.fail(driven.exchange.send(items, "token"))

    assert len(driven.asked) == 1
    assert "may have been done all the same" in str(error)
    assert "idempotency_key" in error.hint


def test_each_job_of_a_send_has_a_key_of_its_own_unless_it_was_given_one() -> None:
    driven = Driven([IDS])
    driven.send(JOB, msgspec.structs.replace(JOB, key="mine"), JOB, EVENT)

    items = msgspec.json.decode(driven.asked[0].body or b"")["items"]

    assert [item.get("key") for item in items] == ["token-0", "mine", "token-2", None]


def test_patience_ends_and_the_hint_names_the_url() -> None:
    driven = Driven([REFUSED])

    error = driven.fail(driven.exchange.job("j1"))

    assert str(error).startswith("errands cannot be reached: Connection refused.")
    assert "http://h:1" in error.hint
    assert "ERRANDS_URL" in error.hint
    assert 4 < driven.time <= 6
    assert driven.pauses == sorted(driven.pauses)


def test_a_full_server_is_given_the_time_that_it_asks_for_and_has_the_last_word() -> None:
    driven = Driven([BUSY])

    error = driven.fail(driven.exchange.send([EVENT], "token"))

    assert str(error) == "The queue is full. Send slower."
    assert min(driven.pauses) == 1.0


def test_a_slow_answer_that_is_lost_is_not_waited_for_twice() -> None:
    driven = Driven([CUT], seconds=30.0)

    driven.fail(driven.exchange.job("j1"))

    assert len(driven.asked) == 1


def test_who_waits_for_a_job_outlasts_a_restart() -> None:
    done = msgspec.json.encode(
        {"id": "j1", "status": "completed", "createdAt": 1, "updatedAt": 2, "stamp": "s"}
        | {"result": {"a": [1.50, "ü"]}}
    )
    driven = Driven([*[REFUSED] * 10, Reply(200, done)])

    look = driven.drive(driven.exchange.outcome("j1", None))

    assert look.result == '{"a":[1.5,"ü"]}'.encode()
    assert driven.time > 10


def test_who_waits_for_a_while_is_told_within_it() -> None:
    driven = Driven([REFUSED])

    driven.fail(driven.exchange.outcome("j1", 2.0))

    assert driven.time <= 2.0


@pytest.mark.parametrize(
    "given", [{"result": b"1"}, {"error": "x"}, {"status": "completed"}, {"status": "failed"}]
)
def test_the_end_of_an_external_job_is_told_once(given: dict[str, Any]) -> None:
    driven = Driven([CUT])

    driven.fail(driven.exchange.update_job("j1", Change(**given)))

    assert len(driven.asked) == 1


# -- waiting ---------------------------------------------------------------------------------------


def look(progress: float, stamp: str) -> Reply:
    view = {"id": "j1", "status": "processing", "createdAt": 1, "updatedAt": 2}
    return Reply(200, msgspec.json.encode(view | {"progress": progress, "stamp": stamp}))


def test_a_change_is_waited_for_by_stamp_until_there_is_one() -> None:
    driven = Driven([look(1, "a"), look(1, "a"), look(2, "b")], seconds=25.0)
    first = driven.drive(driven.exchange.job("j1"))

    second = driven.drive(driven.exchange.changed(first, None))

    assert (second.progress, second.stamp) == (2.0, "b")
    assert [request.path for request in driven.asked] == [
        "/api/jobs/j1/view",
        "/api/jobs/j1/view?seen=a&wait=25.000",
        "/api/jobs/j1/view?seen=a&wait=25.000",
    ]
    assert [request.hold for request in driven.asked] == [0.0, 25.0, 25.0]


def test_a_view_without_a_stamp_is_compared() -> None:
    seen = JobView("j1", "processing", 1, 2, 1.0)
    driven = Driven([look(1, "a"), look(2, "b")])

    assert driven.drive(driven.exchange.changed(seen, None)).progress == 2.0
    assert driven.asked[1].path == "/api/jobs/j1/view?seen=a&wait=25.000"
    driven = Driven([look(2, "b")])
    assert driven.drive(driven.exchange.changed(seen, None)).progress == 2.0


def test_after_the_time_it_is_given_as_it_is() -> None:
    driven = Driven([look(1, "a")], seconds=1.0)
    seen = Look("j1", "processing", 1, 2, 1.0, stamp="a")

    assert driven.drive(driven.exchange.changed(seen, 2.5)).progress == 1.0
    assert driven.drive(driven.exchange.outcome("j1", 1.5)) is None
    assert [request.hold for request in driven.asked] == [2.5, 1.5, 0.5, 1.5, 0.5]


# -- paths -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("id", "path"),
    [
        ("a/b?c#d e", "/api/jobs/a%2Fb%3Fc%23d%20e/view"),
        ("ü%", "/api/jobs/%C3%BC%25/view"),
        (".", "/api/jobs/%2E/view"),
        ("..", "/api/jobs/%2E%2E/view"),
        ("a..b", "/api/jobs/a..b/view"),
    ],
)
def test_an_id_is_one_segment_of_the_path(id: str, path: str) -> None:
    driven = Driven([look(1, "a")])
    driven.drive(driven.exchange.job(id))

    assert driven.asked[0].path == path


@pytest.mark.parametrize("id", ["", "\ud800", "x" * 2_000])
def test_what_no_path_can_hold_is_no_job(id: str) -> None:
    driven = Driven([IDS])

    driven.fail(driven.exchange.job(id), JobNotFound)

    assert driven.asked == []


# -- errors ----------------------------------------------------------------------------------------


def test_each_of_our_errors_has_its_code_to_itself() -> None:
    own = [
        kind
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, ErrandsError) and "code" in vars(kind)
    ]
    assert list(KINDS.values()) == own


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("event_refused", EventRefused),
        ("internal_error", InternalError),
        ("invalid_config", InvalidConfig),
        ("invalid_value", InvalidConfig),
        ("body_too_large", InvalidConfig),
    ],
)
def test_a_problem_is_raised_as_what_it_is(code: str, kind: type[ErrandsError]) -> None:
    body = msgspec.json.encode({"code": code, "detail": "So it is.", "hint": "Do this."})
    driven = Driven([Reply(500 if code == "internal_error" else 422, body)])

    error = driven.fail(driven.exchange.send([EVENT], "token"), kind)

    assert (str(error), error.hint) == ("So it is. Do this.", "Do this.")
    assert len(driven.asked) == 1


@pytest.mark.parametrize(
    ("reply", "told"),
    [
        (Reply(200, b"<html>"), "http://h:1 is no errands server: its answer was 200"),
        (Reply(200, b"{}"), "http://h:1 is no errands server"),
        (Reply(404, b"<html>"), "http://h:1 is no errands server: its answer was 404"),
        (Reply(404, b'{"detail":"Not Found"}'), "Not Found"),
        (Reply(301, b"", location="https://h/"), "http://h:1 leads elsewhere, to https://h/"),
        (Reply(401, b""), "needs its API token, and none is set.*ERRANDS_API_TOKEN"),
    ],
)
def test_what_is_no_answer_of_errands_is_said_to_be_none(reply: Reply, told: str) -> None:
    driven = Driven([reply])

    with pytest.raises(InvalidConfig, match=told):
        driven.send(EVENT)


def test_a_server_that_stops_is_unavailable() -> None:
    driven = Driven([Reply(503, b'{"code":"stopping","detail":"This server is stopping."}')])

    assert str(driven.fail(driven.exchange.job("j1"))) == "This server is stopping."


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_gateway_with_nothing_behind_it_is_unavailable(status: int) -> None:
    driven = Driven([Reply(status, b"<html>")])

    error = driven.fail(driven.exchange.job("j1"))

    assert f"a gateway at http://h:1 answered {status}" in str(error)
    assert len(driven.asked) > 1
