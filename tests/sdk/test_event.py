import enum
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pydantic
import pytest

import errands.pydantic
from errands import AnyEvent, Event, EventRefused, InvalidConfig, NotInRun, field
from errands.model.event import NewEvent
from errands.sdk.event import EventLike, EventMeta, new_event, read_event, unix_ms

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NOW_MS = 1_767_225_600_000


class Plan(enum.Enum):
    PRO = "pro"


@dataclass
class Address:
    city: str


class Model(pydantic.BaseModel):
    n: int


class Shared(Event):
    user_id: str


class SignedUp(Shared, name="user/signed.up", v="2"):
    email: str = "?"
    id: int = 7  # a field called id is no problem: the envelope is elsewhere
    plan_name: str = field(name="planName", default="free")


class Rich(Event, name="user/rich"):
    plan: Plan = Plan.PRO
    amount: Decimal = Decimal(0)
    at: datetime | None = None
    address: Address | None = None
    model: Model | None = None
    tags: dict[str, str] = field(default_factory=dict[str, str])


class PydanticSignedUp(errands.pydantic.Event, name="user/signed.up", v="2"):
    user_id: str
    email: str = pydantic.Field(default="?", pattern=r"\?|.+@.+")
    plan_name: str = pydantic.Field(default="free", alias="planName")


REGISTRY: dict[str, type[EventLike]] = {"user/signed.up": SignedUp, "user/rich": Rich}


def sent(event: Any, registry: dict[str, type[EventLike]] = REGISTRY) -> NewEvent:
    return new_event(event, registry)


# -- classes
# -----------------------------------------------------------------------------------------


def test_fields_are_keyword_only_and_frozen() -> None:
    make: Any = SignedUp
    with pytest.raises(TypeError):
        make("u1")
    with pytest.raises(TypeError):
        make()
    with pytest.raises(AttributeError):
        make(user_id="u1").user_id = "u2"


def test_events_are_equal_by_their_data() -> None:
    assert SignedUp(user_id="u1") == SignedUp(user_id="u1").with_options(id="only-once")
    assert SignedUp(user_id="u1") != SignedUp(user_id="u2")


@pytest.mark.parametrize("taken", ["envelope", "with_options", "event_name"])
def test_reserved_fields_are_refused_with_the_cure(taken: str) -> None:
    make: Any = EventMeta
    with pytest.raises(InvalidConfig, match=f'field\\(name="{taken}"\\)'):
        make("X", (Event,), {"__annotations__": {taken: str}, "__module__": __name__}, name="x")


def test_a_reserved_name_may_be_used_on_the_wire() -> None:
    class Odd(Event, name="odd"):
        envelope_: str = field(name="envelope")

    assert sent(Odd(envelope_="x")).data == b'{"envelope":"x"}'


def test_a_misspelt_class_keyword_is_refused() -> None:
    make: Any = EventMeta
    with pytest.raises(InvalidConfig, match="unknown keyword 'nam'"):
        make("X", (Event,), {"__module__": __name__}, nam="x")


@pytest.mark.parametrize("name", ["", "x" * 257, "a\nb", "a\x00", "user/*", "*x", "errands/x"])
def test_names_that_cannot_be_are_refused(name: str) -> None:
    make: Any = EventMeta
    with pytest.raises(InvalidConfig):
        make("X", (Event,), {"__module__": __name__}, name=name)
    with pytest.raises(EventRefused):
        sent({"name": name})


# -- sending
# -----------------------------------------------------------------------------------------


def test_an_event_is_its_fields_as_json() -> None:
    new = sent(SignedUp(user_id="u1"))

    assert new == NewEvent(
        "user/signed.up", b'{"user_id":"u1","email":"?","id":7,"planName":"free"}', v="2"
    )


def test_rich_types_go_through_json() -> None:
    event = Rich(
        amount=Decimal("9.90"), at=NOW, address=Address("Rome"), model=Model(n=1), tags={"a": "b"}
    )

    back = read_event(Rich, "user/rich", sent(event).data, "id", NOW_MS, None, None)

    assert back == event


def test_options_travel_in_the_envelope() -> None:
    event = SignedUp(user_id="u1").with_options(id="k").with_options(ts=NOW, user={"ip": "::1"})

    new = sent(event)

    assert (new.key, new.ts, new.user) == ("k", NOW_MS, b'{"ip":"::1"}')
    assert (event.envelope.id, event.envelope.ts, event.envelope.user) == ("k", NOW, {"ip": "::1"})


def test_times_are_rounded_up_so_that_nothing_is_early() -> None:
    assert unix_ms(NOW + timedelta(microseconds=1)) == NOW_MS + 1
    assert unix_ms(NOW.astimezone(timezone(timedelta(hours=5)))) == NOW_MS
    assert unix_ms(datetime(1960, 1, 1, tzinfo=UTC)) == 0


def test_an_unsent_event_has_no_id_yet() -> None:
    envelope = SignedUp(user_id="u1").envelope

    assert (envelope.name, envelope.v, dict(envelope.user)) == ("user/signed.up", "2", {})
    with pytest.raises(NotInRun):
        print(envelope.id)
    with pytest.raises(NotInRun):
        print(envelope.ts)


WRONG_TYPE: Any = SignedUp(user_id=3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (WRONG_TYPE, "user_id"),
        (Rich(tags={"a": object()}), "user/rich"),  # type: ignore[dict-item]  # pyright: ignore[reportArgumentType]
        (SignedUp(user_id="\ud800"), "user/signed.up"),
        (Shared(user_id="u1"), "Shared has no event name"),
        (SignedUp, "the class SignedUp"),
        (3, "a int"),
        ("user/signed.up", "a str"),
        (None, "a NoneType"),
        ({}, "needs a name"),
        ({"name": 3}, "needs a name"),
        ({"name": "x", "dta": {}}, "unknown field 'dta'"),
        ({"name": "x", "data": [1]}, "data must be a JSON object"),
        ({"name": "x", "data": {"a": object()}}, "data"),
        ({"name": "x", "user": "ada"}, "user must be"),
        ({"name": "x", "id": ""}, "id ''"),
        ({"name": "x", "id": 3}, "id 3"),
        ({"name": "x", "id": "a\nb"}, "id"),
        ({"name": "x", "ts": "now"}, "ts must be"),
        ({"name": "x", "ts": True}, "ts must be"),
        ({"name": "x", "ts": -1}, "ts must be"),
        ({"name": "x", "ts": 10**15}, "ts must be"),
        ({"name": "x", "v": 2}, "v must be"),
        ({"name": "user/signed.up", "data": {}}, "user_id"),
        ({"name": "user/signed.up", "data": {"user_id": 3}}, "user_id"),
        ({"name": "user/signed.up", "data": {"user_id": "u", "plan_name": "x"}}, "'plan_name'"),
        (SignedUp(user_id="u").with_options(ts=datetime(2026, 1, 1)), "time zone"),  # noqa: DTZ001
        (SignedUp(user_id="u").with_options(id=""), "id ''"),
        (SignedUp(user_id="u" * 300_000), "300,0.. bytes"),
        ({"name": "x", "data": {"a": "b" * 300_000}}, "bytes"),
    ],
)
def test_what_cannot_be_sent_is_refused_and_named(event: Any, why: str) -> None:
    with pytest.raises(EventRefused, match=why):
        sent(event)


def test_a_dict_is_kept_as_given() -> None:
    new = sent({"name": "user/signed.up", "data": {"user_id": "u1"}, "id": "k", "ts": 5, "v": "1"})

    assert new == NewEvent("user/signed.up", b'{"user_id":"u1"}', key="k", ts=5, v="1")


def test_a_dict_gets_the_version_of_its_class() -> None:
    assert sent({"name": "user/signed.up", "data": {"user_id": "u1"}}).v == "2"


def test_a_dict_of_an_unknown_name_is_free() -> None:
    assert sent({"name": "x/y"}).data == b"{}"
    assert sent({"name": "x/y", "data": {"at": NOW}}).data == b'{"at":"2026-01-01T00:00:00Z"}'


# -- receiving
# ---------------------------------------------------------------------------------------


def test_a_received_event_knows_its_envelope_and_defaults() -> None:
    event = read_event(
        SignedUp, "user/signed.up", b'{"user_id":"u1"}', "01J", NOW_MS, b'{"a":1}', "2"
    )

    assert event == SignedUp(user_id="u1")
    assert (event.envelope.id, event.envelope.ts, event.envelope.user) == ("01J", NOW, {"a": 1})


def test_fields_of_a_newer_sender_are_left_out() -> None:
    data = b'{"user_id":"u1","new_field":1}'

    assert read_event(SignedUp, "user/signed.up", data, "01J", 0, None, None).user_id == "u1"


def test_any_event_has_all_of_the_data() -> None:
    event = read_event(AnyEvent, "user/x", b'{"a":{"b":1}}', "01J", 0, None, None)

    assert event.data == {"a": {"b": 1}}
    assert event.envelope.name == "user/x"


def test_a_received_event_is_sent_on_as_a_new_one() -> None:
    event = read_event(SignedUp, "user/signed.up", b'{"user_id":"u1"}', "01J", NOW_MS, None, "2")

    new = sent(event)

    assert (new.key, new.ts) == (None, None)
    assert sent(event.with_options(id="k")).key == "k"
    assert sent(event.with_options(id="k")).ts is None


def test_any_event_is_sent_on_under_its_name() -> None:
    event = read_event(AnyEvent, "user/x", b'{"a":1}', "01J", NOW_MS, None, None)

    assert sent(event) == NewEvent("user/x", b'{"a":1}')


def test_a_made_up_any_event_has_no_name_to_be_sent_under() -> None:
    with pytest.raises(EventRefused):
        sent(AnyEvent(data={}))


# -- on pydantic
# -------------------------------------------------------------------------------------


def test_a_pydantic_event_is_the_same_on_the_wire() -> None:
    event = PydanticSignedUp(user_id="u1", planName="pro").with_options(id="k", ts=NOW)

    new = sent(event)

    assert new == NewEvent(
        "user/signed.up", b'{"user_id":"u1","email":"?","planName":"pro"}', "k", NOW_MS, v="2"
    )
    back = read_event(PydanticSignedUp, new.name, new.data, "k", NOW_MS, None, "2")
    assert back.plan_name == "pro"
    assert back.envelope.id == "k"
    assert PydanticSignedUp.event_name == "user/signed.up"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        ({"user_id": 3}, "user_id"),
        ({"user_id": "u", "email": "x"}, "email"),
        ({"user_id": "u", "nope": 1}, "'nope'"),
        ({"user_id": "u", "plan_name": "x"}, "'plan_name'"),
    ],
)
def test_a_dict_is_validated_by_the_pydantic_class(data: dict[str, Any], why: str) -> None:
    with pytest.raises(EventRefused, match=why):
        sent({"name": "user/signed.up", "data": data}, {"user/signed.up": PydanticSignedUp})


def test_an_unvalidated_pydantic_event_is_refused_at_send() -> None:
    wrong: Any = PydanticSignedUp.model_construct(user_id="u", email="nonsense")

    with pytest.raises(EventRefused, match="email"):
        sent(wrong)


@pytest.mark.filterwarnings("ignore:Field name:UserWarning")
def test_a_pydantic_event_with_a_reserved_field_is_refused() -> None:
    with pytest.raises(InvalidConfig, match='alias="event_name"'):

        class Bad(errands.pydantic.Event, name="x"):  # pyright: ignore[reportUnusedClass]
            event_name: str  # type: ignore[misc]  # pyright: ignore
