"""Lambdas become CEL that means the same, or are refused; equalities taken from CEL are sound."""

import dataclasses
import enum
import itertools
import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Generic, TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from errands import Event, InvalidConfig, field
from errands.engine.match import event_object, holds, keys_of, wait_key
from errands.model.cel import compile_cel
from errands.model.event import Event as StoredEvent
from errands.model.ids import EventId
from errands.model.step import ShapeOf
from errands.sdk.event import new_event
from errands.sdk.expression import to_condition
from errands.sdk.shape import Equality, Own, equalities, shape_of

T = TypeVar("T")


class Plan(enum.Enum):
    PRO = "pro"
    FREE = "free"


@dataclasses.dataclass
class Address:
    city: str
    zip: int | None = None


class Model(BaseModel):
    model_config = {"populate_by_name": True}
    count: int = Field(default=1, alias="theCount")


class Box(msgspec.Struct, Generic[T]):
    inside: T


class Ordered(Event, name="order/created"):
    order_id: str
    plan: Plan = Plan.FREE
    items: int = 0
    score: float = 0.0
    paid: bool = False
    amount: Decimal = Decimal(0)
    at: datetime | None = None
    day: date = date(2026, 1, 1)
    address: Address | None = None
    model: Model = field(default_factory=Model)
    tags: dict[str, str] = field(default_factory=dict[str, str])
    lines: list[Address] = field(default_factory=list[Address])
    anything: dict[str, Any] = field(default_factory=dict[str, Any])
    box: Box[int] | None = None
    customer_id: str = field(default="", name="customerId")
    order_class: str = field(default="", name="class-name")
    in_: str = field(default="", name="in")
    note: str | None = None


Condition = Callable[[Ordered], Any]
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def translated(condition: Any) -> str:
    return to_condition(condition, "event", Ordered)


def subject(event: Ordered) -> dict[str, Any]:
    new = new_event(event, {})
    return event_object(StoredEvent(EventId(1), new.name, new.data, 0), "01J")


EVENTS = [
    Ordered(order_id="o1"),
    Ordered(order_id="o1", plan=Plan.PRO, items=3, score=2.5, paid=True, amount=Decimal("10.50")),
    Ordered(order_id='o"2\\', at=NOON, day=date(2026, 2, 1), address=Address("Rome", 118)),
    Ordered(order_id="o3", items=-7, model=Model(theCount=5), tags={"a": "b"}, note=""),
    Ordered(order_id="\x7f\u2028é\n", customer_id="c1", order_class="x", in_="y", note="n"),
    Ordered(order_id="o4", lines=[Address("Rome")], anything={"x": {"y-z": [1]}}, box=Box(4)),
]


# -- what is translated
# ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "condition",
    [
        lambda e: e.order_id == "o1",
        lambda e: e.order_id == 'o"2\\',
        lambda e: e.order_id == "\x7f\u2028é\n",
        lambda e: "o1" == e.order_id,  # noqa: SIM300
        lambda e: e.order_id != "o1",
        lambda e: (e.items > 1) & (e.order_id != "x"),
        lambda e: (e.items < 0) | e.paid,
        lambda e: e.paid,
        lambda e: e.items + 1 >= 4,
        lambda e: 10 - e.items * 2 <= 4,
        lambda e: e.items > -8,
        lambda e: e.score > 2,
        lambda e: e.score == 2.5,
        lambda e: e.items == 3.0,
        lambda e: e.plan == Plan.PRO,
        lambda e: e.amount > 10,
        lambda e: e.amount == Decimal("10.5"),
        lambda e: e.day > date(2026, 1, 15),
        lambda e: e.model.count == 5,
        lambda e: e.customer_id == "c1",
        lambda e: e.order_class == "x",
        lambda e: e.in_ == "y",
        lambda e: e.note == None,  # noqa: E711
        lambda e: e.note != None,  # noqa: E711
        lambda e: e.note == "n",
        lambda e: e.order_id == str(3) + "x",  # captured values are Python's
        lambda e: (e.items == 3) & ((e.score > 1) | e.paid) & (e.plan == Plan.PRO),
    ],
)
def test_a_translated_lambda_says_the_same_as_the_lambda(condition: Condition) -> None:
    cel = translated(condition)

    for event in EVENTS:
        assert holds(cel, event=subject(event)) == condition(event), (cel, event)


def test_a_tilde_is_not() -> None:
    cel = translated(lambda e: ~e.paid & ~(e.items > 1))

    for event in EVENTS:
        assert holds(cel, event=subject(event)) == (not event.paid and not event.items > 1)


@pytest.mark.parametrize(
    ("condition", "matching"),
    [
        (lambda e: e.at == NOON, 2),
        (lambda e: e.at > datetime(2025, 1, 1, tzinfo=UTC), 2),
        (lambda e: e.address.city == "Rome", 2),
        (lambda e: e.address.zip == 118, 2),
        (lambda e: e.tags["a"] == "b", 3),
        (lambda e: e.anything["x"]["y-z"][0] == 1, 5),
        (lambda e: e.box.inside == 4, 5),
    ],
)
def test_what_is_missing_does_not_match(condition: Condition, matching: int) -> None:
    cel = translated(condition)

    assert [n for n, event in enumerate(EVENTS) if holds(cel, event=subject(event))] == [matching]


def test_captured_values_become_constants() -> None:
    order = EVENTS[1]

    assert translated(lambda e: e.order_id == order.order_id) == 'event.data.order_id == "o1"'


def test_the_awaited_event_is_called_async() -> None:
    cel = to_condition(lambda e: e.customer_id == "c1", "async", Ordered)

    assert cel == 'async.data.customerId == "c1"'


@pytest.mark.parametrize(
    ("condition", "why"),
    [
        (lambda e: e.paid and e.items > 1, "use &, |, ~"),
        (lambda e: not e.paid, "use &, |, ~"),
        (lambda e: 1 < e.items < 3, "use &, |, ~"),
        (lambda e: e.order_id in ("a", "b"), "use &, |, ~"),
        (lambda e: "a" in e.tags, "`in` has no translation"),
        (lambda e: len(e.lines) == 1, "`len` has no translation"),
        (lambda e: list(e.lines), "loops"),
        (lambda e: f"{e.order_id}" == "x", "f-strings"),
        (lambda e: str(e.items) == "3", "`str`"),
        (lambda e: e.order_id.lower() == "x", "a str has no field 'lower'"),
        (lambda e: e.anything["f"](1), "methods and functions"),
        (lambda e: e.ordr_id == "x", "an? Ordered has no field 'ordr_id'; it has order_id, plan"),
        (lambda e: e.address.town == "x", "an? Address has no field 'town'"),
        (lambda e: e.items & 4, "joins conditions"),
        (lambda e: e.order_id == "a" & e.paid, "joins conditions"),
        (lambda e: e.items % 2 == 0, "%"),
        (lambda e: e.items / 2 == 1, "/"),
        (lambda e: e.address == Address("x"), "Address"),
        (lambda e: e.amount + 1 > 3, "a Decimal, with which CEL does not calculate"),
        (lambda e: e.at == datetime(2026, 1, 1), "time zone"),  # noqa: DTZ001
        (lambda e: e.order_id == object(), "a object has no form"),
        (lambda e: e.order_id == "\ud800", "Unicode"),
        (lambda e: e.items == 2**63, "too large"),
        (lambda e: e.score == float("inf"), "no form in CEL"),
        (lambda e: True, "for every event"),
        (lambda e: e is not None, "for every event"),
        (lambda e: e.items.bit_length, "has no field"),
        (lambda: True, "translation"),
        (3, "no condition"),
    ],
)
def test_what_cannot_be_translated_is_refused_with_the_cure(condition: Any, why: str) -> None:
    with pytest.raises(InvalidConfig, match=why) as caught:
        translated(condition)

    assert "CEL string" in caught.value.hint


@pytest.mark.parametrize(
    ("cel", "why"),
    [
        ("event.data.a ==", "no CEL"),
        ("", "0 characters"),
        ("x" * 5_000, "5000 characters"),
        ("evnt.data.a == 1", "speaks of evnt"),
        ("async.data.a == 1", "speaks of async"),
    ],
)
def test_cel_is_checked_when_it_is_registered(cel: str, why: str) -> None:
    with pytest.raises(InvalidConfig, match=why):
        translated(cel)


@pytest.mark.parametrize("cel", ["event.data.l.exists(x, x > 1)", "has(event.data.a)", "true"])
def test_any_cel_is_taken_as_it_is(cel: str) -> None:
    assert translated(cel) == cel


# -- equalities
# --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "found"),
    [
        ("async.data.a == 1", [("data.a", 1)]),
        ("1 == async.data.a.b", [("data.a.b", 1)]),
        ("async.data.a == -1.5 && async.data.b == true", [("data.a", -1.5), ("data.b", True)]),
        ("async.data.a == event.data.x", [("data.a", Own("data.x"))]),
        ("event.name == async.data.a", [("data.a", Own("name"))]),
        (
            "(async.data.a == 1 && (async.data.b == 'x')) && async.data.c > 3",
            [("data.a", 1), ("data.b", "x")],
        ),
        ('async.data.a == "i\\u0041\\n"', [("data.a", "iA\n")]),
        ('"a && async.data.n == 1" == async.data.s', [("data.s", "a && async.data.n == 1")]),
        ("size(async.data.a) == 1 && async.data.b == 2", [("data.b", 2)]),
        ("async.data.a == 1 && (async.data.z == 1 || async.data.y == 2)", [("data.a", 1)]),
    ],
)
def test_equalities_are_found(condition: str, found: list[tuple[str, Any]]) -> None:
    compile_cel(condition)

    assert equalities(condition) == [Equality(*one) for one in found]


@pytest.mark.parametrize(
    "condition",
    [
        "async.data.a == 1 || true",
        "async.data.a == 1 ? true : false",
        "true ? async.data.a == 1 : true && async.data.b == 2",
        'event.data.x == """a" && async.data.n == 5 && "b"""',
        'event.data.x == r"a\\" && async.data.n == 5 && event.data.y != "b"',
        "!(async.data.a == 1)",
        "async.data.a == 1 == true",
        "async.data.a == 1u",
        "async.data.a == 0x10",
        'async.data["a"] == 1',
        "async.data.a == 'i\\'t'",
        'async.data.a == b"x"',
        'async.name == "x"',
        "async.data.a + 1 == 2",
        "async.data.a == 1 + 1",
        "-async.data.a == 2",
        "async.data.a == null",
        "async.data.l.exists(x, x == 1)",
        "async.data.a == 1 // && async.data.b == 2",
        "async.data.a == 1e400",
        "",
        "((",
    ],
)
def test_what_is_not_surely_an_equality_is_left_out(condition: str) -> None:
    assert equalities(condition) == []


_values: st.SearchStrategy[Any] = st.sampled_from(
    [0, 1, -1, 1.5, 2.0, "", "a", '"', "\\", True, False]
)
_atoms = st.one_of(
    st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["==", "!=", ">"]), _values).map(
        lambda t: f"async.data.{t[0]} {t[1]} {json.dumps(t[2])}"
    ),
    st.tuples(_values, st.sampled_from(["a", "b"])).map(
        lambda t: f"{json.dumps(t[0])} == async.data.{t[1]}"
    ),
    st.sampled_from(
        ["async.data.a == event.data.x", "event.data.y == async.data.b", "true", "async.data.flag"]
    ),
)
_conditions = st.recursive(
    _atoms,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["&&", "||"]), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        st.tuples(inner, st.sampled_from([" && ", " || "]), inner).map("".join),
        inner.map(lambda one: f"!({one})"),
        st.tuples(inner, inner, inner).map(lambda t: f"({t[0]} ? {t[1]} : {t[2]})"),
    ),
    max_leaves=5,
)
_data = st.dictionaries(st.sampled_from(["a", "b", "c", "flag"]), _values)
_own = st.dictionaries(st.sampled_from(["x", "y"]), _values)


@given(_conditions, _data, _own)
def test_an_event_is_found_by_its_key_exactly_when_the_condition_holds(
    condition: str, data: dict[str, Any], own: dict[str, Any]
) -> None:
    awaited = {"name": "paid", "data": data}
    run_event = {"name": "ordered", "data": own}

    shape = shape_of("paid", None, condition, run_event)

    assert is_found(shape, awaited) == holds(condition, **{"async": awaited, "event": run_event})


def is_found(shape: ShapeOf, awaited: dict[str, Any]) -> bool:
    """As the engine looks: by key, then by what remains."""
    key = keys_of(awaited, shape.event, shape.paths)
    if key != wait_key(shape.event, shape.paths, shape.values):
        return False
    own = json.loads(shape.context) if shape.context is not None else {}
    return holds(shape.condition, **{"async": awaited, "event": own})


# -- shapes
# ------------------------------------------------------------------------------------------

RUN_EVENT: dict[str, Any] = {"name": "o", "data": {"x": 3, "order_id": "q", "none": None, "d": {}}}
CONTEXT = msgspec.json.encode(RUN_EVENT)


@pytest.mark.parametrize(
    ("match", "condition", "shape"),
    [
        (None, None, ShapeOf("p")),
        ("data.order_id", None, ShapeOf("p", ("data.order_id",), ("q",))),
        ("data.none", None, ShapeOf("p", ("data.none",), (None,))),
        (None, "async.data.b == event.data.x", ShapeOf("p", ("data.b",), (3,))),
        ("data.x", "async.data.a == 'k'", ShapeOf("p", ("data.a", "data.x"), ("k", 3))),
        ("data.x", "async.data.x == 3", ShapeOf("p", ("data.x",), (3,))),
        ("data.x", "async.data.x == 4", ShapeOf("p", ("data.x",), (3,), "async.data.x == 4")),
        (None, "async.data.c > 1", ShapeOf("p", condition="async.data.c > 1")),
        (
            None,
            "async.data.c > event.data.x",
            ShapeOf("p", (), (), "async.data.c > event.data.x", CONTEXT),
        ),
        (
            None,
            "async.data.c == event.data.missing",
            ShapeOf("p", (), (), "async.data.c == event.data.missing", CONTEXT),
        ),
        (None, "async.data.c == 'event'", ShapeOf("p", ("data.c",), ("event",))),
    ],
)
def test_shapes(match: str | None, condition: str | None, shape: ShapeOf) -> None:
    assert shape_of("p", match, condition, RUN_EVENT) == shape


@pytest.mark.parametrize("match", ["data.missing", "data.d", "data.x.y"])
def test_a_match_without_a_value_says_so(match: str) -> None:
    with pytest.raises(InvalidConfig, match="so no event can be equal to it there"):
        shape_of("p", match, None, RUN_EVENT)


def test_true_is_not_one() -> None:
    pairs = itertools.permutations([True, 1], 2)

    for own, other in pairs:
        shape = shape_of(
            "p", "data.x", f"async.data.x == {json.dumps(other)}", {"data": {"x": own}}
        )
        assert shape.condition is not None
